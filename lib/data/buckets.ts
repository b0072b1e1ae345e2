import { Philox } from '../tensors/random';

/** First random stream of the orders of buckets; lower ones belong to the shuffles of `fit` and to weight initializers. */
const BUCKET_STREAM = 0xc0000000;

/** How sequences become batches. */
export interface Bucketing {
  readonly lengths: Int32Array;
  /** Ascending lengths up to which the buckets go; one more bucket takes what is longer. */
  readonly boundaries: readonly number[];
  readonly batchSize: number;
  readonly dropRemainder: boolean;
  /** Of the shuffle; without one sequences keep their order inside a bucket, and buckets follow each other. */
  readonly seed: number | undefined;
  /** In the first epochs: batches in order of their longest sequences, or only the shortest sequences, more from epoch to epoch. */
  readonly curriculum: 'shortFirst' | 'growingLength' | undefined;
  readonly curriculumEpochs: number;
}

/** The longest sequences that an epoch has. */
function longestIn({ lengths, curriculum, curriculumEpochs }: Bucketing, epoch: number): number {
  if (curriculum !== 'growingLength' || epoch >= curriculumEpochs) return Number.POSITIVE_INFINITY;
  const sorted = Int32Array.from(lengths).sort();
  return sorted[Math.ceil(((epoch + 1) * sorted.length) / (curriculumEpochs + 1)) - 1] as number;
}

/** Boundaries of at most `buckets` buckets with about as many sequences each. */
export function quantileBoundaries(lengths: Int32Array, buckets: number): number[] {
  const sorted = Int32Array.from(lengths).sort();
  const parts = Math.min(buckets, sorted.length);
  const boundaries = Array.from(
    { length: parts - 1 },
    (_, i) => sorted[Math.ceil(((i + 1) * sorted.length) / parts) - 1] as number,
  );
  // Lengths that many sequences share would make buckets that nothing falls into.
  return [...new Set(boundaries)];
}

/** The length of a batch's longest sequence. */
export function longestOf(lengths: Int32Array, rows: ArrayLike<number>): number {
  let longest = 0;
  for (let i = 0; i < rows.length; i++) longest = Math.max(longest, lengths[rows[i] as number] as number);
  return longest;
}

/** The batches of an epoch, each as the places of its sequences; the same for the same (seed, epoch). */
export function bucketedBatches(bucketing: Bucketing, epoch: number): Uint32Array[] {
  const { lengths, boundaries, batchSize, dropRemainder, seed, curriculum, curriculumEpochs } = bucketing;
  const longest = longestIn(bucketing, epoch);
  const random = seed === undefined ? undefined : new Philox(seed, BUCKET_STREAM + epoch);
  const order = random?.permutation(lengths.length) ?? Uint32Array.from(lengths, (_, n) => n);
  const buckets: number[][] = Array.from({ length: boundaries.length + 1 }, () => []);
  for (const n of order) {
    if ((lengths[n] as number) > longest) continue;
    const found = boundaries.findIndex((boundary) => (lengths[n] as number) <= boundary);
    (buckets.at(found) as number[]).push(n);
  }
  let batches: Uint32Array[] = [];
  for (const bucket of buckets) {
    for (let begin = 0; begin < bucket.length; begin += batchSize) {
      const batch = Uint32Array.from(bucket.slice(begin, begin + batchSize));
      if (!dropRemainder || batch.length === batchSize) batches.push(batch);
    }
  }
  if (random)
    batches = Array.from(random.permutation(batches.length), (place) => batches[place] as Uint32Array);
  if (curriculum !== 'shortFirst' || epoch >= curriculumEpochs) return batches;
  return batches
    .map((batch) => ({ batch, longest: longestOf(lengths, batch) }))
    .sort((a, b) => a.longest - b.longest)
    .map(({ batch }) => batch);
}
