import { mkdirSync } from 'node:fs';
import path from 'node:path';
import {
  type Layer,
  layers,
  loadModel,
  optimizers,
  type Sequential,
  schedules,
  sequential,
  type Tensor,
  toCategorical,
} from 'deeprnn';
import { type Digits, drawDigit } from './mnist';

export interface HandwritingPlan {
  readonly name: string;
  readonly cells: readonly [Layer, Layer];
  readonly epochs: number;
  readonly learningRate: number;
}

/** The seed's simple stack: SimpleRNN 64 → 32. */
export function simpleRnnPlan(): HandwritingPlan {
  return {
    name: 'simple-rnn-64-32',
    cells: [
      layers.simpleRNN({ units: 64, returnSequences: true, inputShape: [28, 28] }),
      layers.simpleRNN({ units: 32 }),
    ],
    epochs: 14,
    learningRate: 3e-3,
  };
}

/** The same stack of LSTM layers. */
export function lstmPlan(): HandwritingPlan {
  return {
    name: 'lstm-64-32',
    cells: [
      layers.lstm({ units: 64, returnSequences: true, inputShape: [28, 28] }),
      layers.lstm({ units: 32 }),
    ],
    epochs: 8,
    learningRate: 5e-3,
  };
}

export interface HandwritingResult {
  readonly accuracy: number;
  readonly loss: number;
  readonly secondsPerEpoch: number;
  readonly file: string;
}

/** preprocess → build → compile → fit → evaluate → predict → save → load, on handwritten digits read row by row. */
export async function recogniseDigits(
  plan: HandwritingPlan,
  train: Digits,
  test: Digits,
  folder: string,
): Promise<HandwritingResult> {
  const batchSize = 64;
  const steps = Math.ceil((train.x.shape[0] as number) / batchSize) * plan.epochs;

  const model = sequential([...plan.cells, layers.dense({ units: 10, activation: 'softmax' })], {
    name: plan.name,
    seed: 7,
  });
  model.compile({
    loss: 'categoricalCrossentropy',
    optimizer: optimizers.adam({
      learningRate: schedules.cosineDecay({ initialLearningRate: plan.learningRate, decaySteps: steps }),
      globalClipNorm: 1,
    }),
    metrics: ['accuracy'],
  });
  console.log(model.summary());

  const yTrain = toCategorical(train.labels, 10);
  const yTest = toCategorical(test.labels, 10);
  const start = performance.now();
  const watch = watchEventLoop();
  await model.fit(train.x, yTrain, { epochs: plan.epochs, batchSize, verbose: 1 });
  const delay = watch();
  const seconds = (performance.now() - start) / 1000;

  const { loss, accuracy } = (await model.evaluate(test.x, yTest, { batchSize: 500 })) as {
    loss: number;
    accuracy: number;
  };
  console.log(
    `test loss ${loss.toFixed(4)}, test accuracy ${(100 * accuracy).toFixed(2)} % of ${test.labels.size} digits`,
  );
  console.log(
    `trained ${plan.epochs} epochs in ${seconds.toFixed(1)} s, ${(seconds / plan.epochs).toFixed(2)} s an epoch`,
  );

  console.log(`the event loop stayed free: a 10 ms timer was ${delay.toFixed(1)} ms late at worst`);

  await showPredictions(model, test);

  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, `${plan.name}.safetensors`);
  await model.save(file);
  await provePersistence(model, file, test.x.rows(0, 1000));
  model.dispose();
  return { accuracy, loss, secondsPerEpoch: seconds / plan.epochs, file };
}

/** Runs a 10 ms timer; the function it gives stops it and tells by how much it was late at worst, in ms. */
function watchEventLoop(): () => number {
  let worst = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    worst = Math.max(worst, now - last - 10);
    last = now;
  }, 10);
  // Must not keep a job alive that has failed.
  timer.unref();
  return () => {
    clearInterval(timer);
    return worst;
  };
}

/** A few digits, drawn, with what the model says and the truth. */
async function showPredictions(model: Sequential, test: Digits): Promise<void> {
  const shown = 5;
  const probabilities = await model.predict(test.x.rows(0, shown));
  const pictures = Array.from({ length: shown }, (_, i) => drawDigit(test.x.rows(i, i + 1).data).split('\n'));
  for (let line = 0; line < (pictures[0]?.length ?? 0); line++)
    console.log(pictures.map((p) => p[line]).join('  '));
  const captions = pictures.map((_, i) => {
    const row = [...probabilities.rows(i, i + 1).data];
    const best = row.indexOf(Math.max(...row));
    return `said ${best} (${(100 * (row[best] as number)).toFixed(1)} %), is ${test.labels.data[i]}`.padEnd(
      20,
    );
  });
  console.log(captions.join('  '));
}

/** Shows that the file gives the same model: the reloaded one predicts the same bits. */
export async function provePersistence(model: Sequential, file: string, x: Tensor): Promise<void> {
  const before = await model.predict(x);
  const again = await loadModel(file);
  const after = await again.predict(x);
  again.dispose();
  const bits = (t: Tensor) => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength);
  if (!bits(before).equals(bits(after)))
    throw new Error(`${file}: the reloaded model predicts other numbers`);
  console.log(`saved to ${file}; reloaded, it predicts the same ${before.size} numbers, bit for bit`);
}
