import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { type Shape, sizeOf, Tensor, type TensorData } from '../tensors/tensor';
import { type Batch, type DataContract, requireValues } from './batches';
import { positiveInteger } from './callOptions';
import { stateSizes } from './contract';
import { type Graph, layersOf, outputKeys, outputsOf } from './graph';
import { requireStepwise } from './stepwise';

/** Truncated backpropagation through time (Williams & Peng, 1990). */
export interface TruncatedBPTT {
  /** Long sequences are trained on in chunks of so many steps (k1), an optimizer step each; the states go on from chunk to chunk. */
  readonly steps: number;
  /**
   * Steps before a chunk that are read again, so that its error goes back through them too: through `steps` + `overlap` steps (k2) from the
   * last one. They are not scored again. Default 0.
   */
  readonly overlap?: number;
}

export function readTruncation(given: unknown): Required<TruncatedBPTT> | undefined {
  if (given === undefined) return undefined;
  const subject = 'fit: truncatedBPTT';
  const o = readConfig(given, ['steps', 'overlap'], subject);
  if (o.steps === undefined)
    refuse('ERR_VALUE', `${subject}: steps`, 'the number of steps of a chunk', 'none');
  const overlap = o.overlap ?? 0;
  if (!Number.isSafeInteger(overlap) || (overlap as number) < 0)
    refuse('ERR_VALUE', `${subject}: overlap`, 'an integer, 0 or more', quoted(overlap));
  return { steps: positiveInteger(`${subject}: steps`, o.steps, 1), overlap: overlap as number };
}

/** @throws ERR_VALUE for a model whose sequences cannot come in parts, or that is not scored on every step */
export function requireTruncatable(graph: Graph, { overlap = 0 }: TruncatedBPTT): void {
  const caller = 'fit: truncatedBPTT';
  requireStepwise(caller, graph);
  const stateful = layersOf(graph).find((layer) => layer.carriesState);
  if (stateful && overlap > 0)
    refuse('ERR_VALUE', `${caller}: ${stateful.subject}`, 'overlap 0 beside a stateful layer', overlap);
  const keys = outputKeys(graph);
  for (const [i, { sequence, shape }] of outputsOf(graph).entries()) {
    if (sequence) continue;
    const shown = `[N${shape.map((n) => `, ${n ?? 'any'}`).join('')}]`;
    const wanted = 'an output for every step [N, T, …]';
    const wayOut =
      'Only the last chunk would have an error to learn from: give the recurrent layers returnSequences: true.';
    refuse('ERR_VALUE', `${caller}: output '${keys[i]?.name}'`, wanted, shown, wayOut);
  }
}

/** Steps `begin` … `end` − 1 of the sequences of a batch. */
export interface Chunk {
  readonly begin: number;
  readonly end: number;
  /** The first step that is scored. */
  readonly first: number;
  /** Where the next chunk begins; undefined for the last one. */
  readonly next: number | undefined;
  /** The part of all steps of the batch that count. */
  readonly share: number;
}

/** The chunks of a batch, up to the end of its longest sequence. @throws ERR_SHAPE for inputs of different numbers of steps */
export function chunksOf(
  { inputs, caller }: DataContract,
  batch: Batch,
  { steps, overlap = 0 }: TruncatedBPTT,
): Chunk[] {
  const { examples, indices } = batch;
  const lengths = inputs.map(({ key }) => examples.inputs.get(key)?.shape[1] as number);
  const T = lengths[0] as number;
  const other = lengths.find((n) => n !== T);
  if (other !== undefined)
    refuse(
      'ERR_SHAPE',
      `${caller}: x`,
      'sequences of equally many steps in all inputs (truncatedBPTT)',
      `${T} and ${other}`,
    );
  const own = examples.lengths;
  const counted = (first: number, end: number): number => {
    if (!own) return indices.length * (end - first);
    let sum = 0;
    for (const row of indices) sum += Math.max(0, Math.min(own.data[row] as number, end) - first);
    return sum;
  };
  const all = counted(0, T);
  const scored: { first: number; end: number; share: number }[] = [];
  for (let first = 0; first < T; first += steps) {
    const end = Math.min(T, first + steps);
    const share = all === 0 ? 1 : counted(first, end) / all;
    // Where every sequence is over there is nothing more to learn.
    if (share > 0) scored.push({ first, end, share });
    if (all === 0) break;
  }
  return scored.map((chunk, i) => {
    const next = scored[i + 1]?.first;
    const begin = Math.max(0, chunk.first - overlap);
    return { ...chunk, begin, next: next === undefined ? undefined : Math.max(0, next - overlap) };
  });
}

/**
 * The part of a batch that a chunk is, with the states to begin it from. All of its arrays are sequences: what a truncatable model gives at
 * every step can come from such alone.
 */
export function chunkOf(
  { examples, indices }: Batch,
  { begin, first, end, next }: Chunk,
  initialStates: ReadonlyMap<string, Tensor>,
): Batch {
  const parts = (arrays: ReadonlyMap<string, Tensor>) =>
    new Map([...arrays].map(([key, array]) => [key, stepsOf(array, indices, begin, end)]));
  return {
    examples: {
      count: indices.length,
      inputs: parts(examples.inputs),
      targets: parts(examples.targets),
      weights: parts(examples.weights),
      initialStates,
      lengths: examples.lengths && lengthsOf(examples.lengths, indices, begin, end),
      ...(first > begin
        ? { scored: new Tensor(new Int32Array(indices.length).fill(end - first), [indices.length]) }
        : {}),
    },
    statesAfter: next === undefined || next === end ? undefined : next - begin,
    indices: Uint32Array.from(indices, (_, n) => n),
    placed: ([row, step, ...place]) => [indices[row as number] as number, (step as number) + begin, ...place],
  };
}

/**
 * The states that the first chunk of a batch begins with: those given, and zeros elsewhere, so that one plan fits all chunks. Stateful layers
 * carry theirs themselves, and learned ones have to be learned.
 */
export function firstStates(graph: Graph, { examples, indices }: Batch): Map<string, Tensor> {
  const states = new Map<string, Tensor>();
  for (const layer of layersOf(graph)) {
    for (const { name, size } of layer.states) {
      const key = `${layer.name}/${name}`;
      const given = examples.initialStates.get(key);
      const shape = [indices.length, size];
      if (given) states.set(key, rowsOf(given, indices));
      else if (!layer.carriesState && layer.initialWeight(name) === undefined)
        states.set(key, new Tensor(new Float32Array(sizeOf(shape)), shape));
    }
  }
  return states;
}

/** The states that go on from chunk to chunk by way of the caller. */
export function carriedStates(graph: Graph): Map<string, number> {
  const stateful = new Set(
    layersOf(graph)
      .filter((layer) => layer.carriesState)
      .map(({ name }) => name),
  );
  return new Map([...stateSizes(graph)].filter(([key]) => !stateful.has(key.slice(0, key.indexOf('/')))));
}

function like(data: TensorData, size: number): TensorData {
  return new (data.constructor as new (size: number) => TensorData)(size);
}

function rowsOf(source: Tensor, indices: Uint32Array): Tensor {
  requireValues(source);
  const width = source.size / (source.shape[0] as number);
  const data = like(source.data, indices.length * width);
  for (const [n, row] of indices.entries())
    data.set(source.data.subarray(row * width, (row + 1) * width), n * width);
  return new Tensor(data, [indices.length, ...source.shape.slice(1)]);
}

/** Steps of some rows of an array `[N, T, …]`. */
function stepsOf(source: Tensor, indices: Uint32Array, first: number, end: number): Tensor {
  requireValues(source);
  const [, T, ...rest] = source.shape as [number, number, ...Shape];
  const width = sizeOf(rest);
  const own = (end - first) * width;
  const data = like(source.data, indices.length * own);
  for (const [n, row] of indices.entries()) {
    const at = (row * T + first) * width;
    data.set(source.data.subarray(at, at + own), n * own);
  }
  return new Tensor(data, [indices.length, end - first, ...rest]);
}

function lengthsOf(lengths: Tensor, indices: Uint32Array, first: number, end: number): Tensor {
  const data = Int32Array.from(indices, (row) =>
    Math.max(0, Math.min(lengths.data[row] as number, end) - first),
  );
  return new Tensor(data, [indices.length]);
}
