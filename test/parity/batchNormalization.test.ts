import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sequentialFromConfig, tensor } from '../../lib';
import { devices } from '../../lib/engines/devices';
import { relativeError, tolerance } from './harness';

/*
 * Batch normalization in whole models, as Keras trains them, from test/fixtures: a training step and what is predicted before and after it,
 * on every engine that this machine has.
 */
interface Values {
  readonly shape: number[];
  readonly data: number[];
}
interface Case {
  readonly name: string;
  readonly limit?: number;
  readonly config: { class_name: string; config: object };
  readonly learningRate: number;
  readonly weights: Record<string, Values>;
  readonly x: Values;
  readonly target: Values;
  readonly y: number[];
  readonly loss: number;
  readonly gradients: Record<string, Values>;
  readonly weightsAfter: Record<string, Values>;
  readonly yAfter: number[];
}
const file = join(__dirname, '..', 'fixtures', 'keras-batch-normalization.json');
const cases = JSON.parse(readFileSync(file, 'utf8')) as Case[];
const real = ({ data, shape }: Values) => tensor(Float64Array.from(data), shape);

const usable = new Set(devices().flatMap(({ device, available }) => (available ? [device] : [])));
const asked = process.env['DEEPRNN_TEST_DEVICE'];

describe.each(['reference', asked ?? 'cpu'])('%s', (device) => {
  const onDevice = usable.has(device) || device === asked ? test : test.skip;

  onDevice.each(cases)('$name', async (c) => {
    const model = sequentialFromConfig(c.config);
    const optimizer = { type: 'sgd', learningRate: c.learningRate };
    model.compile({ loss: 'meanSquaredError', optimizer, device });
    await model.setWeights(new Map(Object.entries(c.weights).map(([name, w]) => [name, real(w)])));
    const close = (what: string, actual: ArrayLike<number>, expected: ArrayLike<number>) => {
      const exact = c.limit ?? 1e-11;
      const limit = device === 'reference' ? exact : Math.max(exact, tolerance(400));
      const error = relativeError(actual, expected);
      if (!(error <= limit)) throw new Error(`${what}: relative error ${error} is above ${limit}`);
    };
    const [x, target] = [real(c.x), real(c.target)];
    close('y', (await model.predict(x)).data, c.y);
    const untouched = await model.getWeights();
    const { loss, gradients } = await model.computeGradients(x, target);
    close('loss', [loss], [c.loss]);
    expect([...gradients.keys()].sort()).toEqual(Object.keys(c.gradients).sort());
    for (const [name, expected] of Object.entries(c.gradients))
      close(`gradient of ${name}`, gradients.get(name)?.data ?? [], expected.data);
    // Asking for gradients moves no statistics.
    expect(await model.getWeights()).toEqual(untouched);
    await model.trainOnBatch(x, target);
    const trained = await model.getWeights();
    expect([...trained.keys()].sort()).toEqual(Object.keys(c.weightsAfter).sort());
    for (const [name, expected] of Object.entries(c.weightsAfter))
      close(`${name} after the step`, trained.get(name)?.data ?? [], expected.data);
    close('y after the step', (await model.predict(x)).data, c.yAfter);
  });
});
