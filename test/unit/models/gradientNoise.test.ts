import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { callbacks, loadModel, optimizers, type Tensor } from '../../../lib';
import { real, runOp, scalar } from '../reference/runOp';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-gradient-noise-'));
afterAll(() => rmSync(folder, { recursive: true }));
const x = randomSequences(12, 6, 4, 1);
const y = whichThird(x);
const [eta, gamma] = [0.09, 0.8];

const compiled = (optimizer: object, device = 'reference') =>
  smallModel(4).compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'sgd', learningRate: 0.5, ...optimizer } as never,
    device,
  });

test.each([
  ['reference', 1e-12],
  ['cpu', 3e-7],
] as const)('the noise of step t has variance eta / (1 + t)^gamma on %s', async (device, tolerance) => {
  const [noisy, plain] = [compiled({ gradientNoise: { eta, gamma } }, device), compiled({}, device)];
  for (let t = 0; t < 4; t++) {
    await plain.setWeights(await noisy.getWeights());
    for (const model of [noisy, plain]) await model.trainOnBatch(x, y);
    const [found, wanted] = [await noisy.getWeights(), await plain.getWeights()];
    const all: number[] = [];
    [...found].forEach(([name, { data, shape }], place) => {
      const attrs = { seed: 4, stream: 2 ** 30 + place, stddev: 0.3 * (1 + t) ** -0.4 };
      const [noise] = runOp('noise', attrs, [real(Array(data.length).fill(0), [...shape]), scalar(t)]);
      data.forEach((v, i) => {
        const moved = ((wanted.get(name) as Tensor).data[i] as number) - v;
        all.push(moved / 0.5);
        expect(Math.abs(moved - 0.5 * (noise?.[i] as number))).toBeLessThan(tolerance);
      });
    });
    const variance = all.reduce((sum, v) => sum + v * v, 0) / all.length;
    const expected = eta / (1 + t) ** gamma;
    // Five standard deviations of a mean of squares.
    expect(Math.abs(variance / expected - 1)).toBeLessThan(5 * Math.sqrt(2 / all.length));
  }
});

test('it comes before the clip', async () => {
  const model = compiled({ gradientNoise: { eta: 100 }, globalClipNorm: 0.25 });
  const before = await model.getWeights();
  await model.trainOnBatch(x, y);
  const moved = [...(await model.getWeights())].flatMap(([name, { data }]) =>
    Array.from(data, (v, i) => v - ((before.get(name) as Tensor).data[i] as number)),
  );
  expect(Math.hypot(...moved)).toBeCloseTo(0.5 * 0.25, 6);
});

test('gradients that are asked for have none', async () => {
  const [noisy, plain] = [compiled({ gradientNoise: { eta } }), compiled({})];
  expect(await noisy.computeGradients(x, y)).toEqual(await plain.computeGradients(x, y));
});

test('training that is resumed goes on with the same bits, and files keep the options', async () => {
  const optimizer = optimizers.adam({ learningRate: 0.01, gradientNoise: { eta: 0.01 } });
  const start = () => compiled(optimizer.getConfig(), 'cpu');
  const whole = start();
  await whole.fit(x, y, { epochs: 3, batchSize: 4, verbose: 0 });
  const file = path.join(folder, 'checkpoint');
  const saving = callbacks.modelCheckpoint({ path: file });
  await start().fit(x, y, { epochs: 2, batchSize: 4, verbose: 0, callbacks: [saving] });
  const resumed = start();
  await resumed.fit(x, y, { epochs: 3, batchSize: 4, verbose: 0, resumeFrom: file });
  expect(await resumed.getWeights()).toEqual(await whole.getWeights());
  const saved = path.join(folder, 'saved.safetensors');
  await whole.save(saved);
  expect((await loadModel(saved)).optimizer.getConfig()).toEqual(optimizer.getConfig());
  expect(optimizer.getConfig()['gradientNoise']).toEqual({ eta: 0.01, gamma: 0.55 });
});

test.each([
  [0.3, 'gradientNoise: expected an object of options, got 0.3.'],
  [{}, 'gradientNoise: eta: expected a finite number above 0, got nothing.'],
  [{ eta: 0 }, 'gradientNoise: eta: expected a finite number above 0, got 0.'],
  [{ eta: 1, gamma: -0.5 }, 'gradientNoise: gamma: expected a finite number, 0 or more, got -0.5.'],
])('%j is refused', async (gradientNoise, message) => {
  expect(await refusal(() => optimizers.adam({ gradientNoise } as never))).toBe(
    `ERR_VALUE optimizers.adam: ${message}`,
  );
});
