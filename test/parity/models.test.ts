import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sequentialFromConfig, tensor } from '../../lib';
import { devices } from '../../lib/engines/devices';
import { relativeError, tolerance } from './harness';

/*
 * Whole models as Keras writes and computes them, and cells as PyTorch does, from test/fixtures, through the public face, on every engine that this machine has.
 */
interface Values {
  readonly shape: number[];
  readonly data: number[];
}
interface Case {
  readonly name: string;
  readonly config: Parameters<typeof sequentialFromConfig>[0];
  readonly weights: Record<string, Values>;
  readonly x: Values;
  readonly target: Values;
  readonly y: number[];
  readonly loss: number;
  readonly gradients: Record<string, Values>;
}

const cases = [
  'keras-bidirectional',
  'keras-shapes',
  'keras-normalization',
  'keras-activation-layers',
  'keras-convolutions',
  'pytorch-cells',
  'keras-video',
].flatMap(
  (file) => JSON.parse(readFileSync(join(__dirname, '..', 'fixtures', `${file}.json`), 'utf8')) as Case[],
);
const real = ({ data, shape }: Values) => tensor(Float64Array.from(data), shape);

const usable = new Set(devices().flatMap(({ device, available }) => (available ? [device] : [])));
const asked = process.env['DEEPRNN_TEST_DEVICE'];

describe.each(['reference', asked ?? 'cpu'])('%s', (device) => {
  const onDevice = usable.has(device) || device === asked ? test : test.skip;

  onDevice.each(cases)('$name', async (c) => {
    const model = sequentialFromConfig(c.config);
    model.compile({ loss: 'meanSquaredError', device });
    await model.setWeights(new Map(Object.entries(c.weights).map(([name, w]) => [name, real(w)])));
    const close = (what: string, actual: ArrayLike<number>, expected: ArrayLike<number>, length: number) => {
      const limit = device === 'reference' ? 1e-11 : tolerance(length);
      const error = relativeError(actual, expected);
      if (!(error <= limit)) throw new Error(`${what}: relative error ${error} is above ${limit}`);
    };
    const y = await model.predict(real(c.x));
    close('y', y.data, c.y, 60);
    const { loss, gradients } = await model.computeGradients(real(c.x), real(c.target));
    close('loss', [loss], [c.loss], 60);
    expect([...gradients.keys()].sort()).toEqual(Object.keys(c.gradients).sort());
    for (const [name, expected] of Object.entries(c.gradients))
      close(`gradient of ${name}`, gradients.get(name)?.data ?? [], expected.data, 200);
    // What was read from Keras is what is written: a model of the same configuration predicts the same.
    const again = sequentialFromConfig(model.getConfig());
    again.compile({ loss: 'meanSquaredError', device });
    await again.setWeights(await model.getWeights());
    expect(await again.predict(real(c.x))).toEqual(y);
  });
});
