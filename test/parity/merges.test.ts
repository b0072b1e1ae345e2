import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { input, layers, model, tensor } from '../../lib';
import { devices } from '../../lib/engines/devices';
import { layerFromConfig } from '../../lib/layers';
import { relativeError, tolerance } from './harness';

/*
 * Layers that merge several values, from test/fixtures, on every engine that this machine has: of inputs under dense layers, whose
 * gradients show what reached each.
 */
interface Values {
  readonly shape: number[];
  readonly data: number[];
}
interface Case {
  readonly name: string;
  readonly layer: { readonly class_name: string; readonly config: Record<string, unknown> };
  readonly inputs: Values[];
  readonly kernels: number[][];
  readonly target: Values;
  readonly y: number[];
  readonly loss: number;
  readonly gradients: number[][];
}
const cases = JSON.parse(
  readFileSync(join(__dirname, '..', 'fixtures', 'keras-merges.json'), 'utf8'),
) as Case[];
const real = ({ data, shape }: Values) => tensor(Float64Array.from(data), shape);

const usable = new Set(devices().flatMap(({ device, available }) => (available ? [device] : [])));
const asked = process.env['DEEPRNN_TEST_DEVICE'];

describe.each(['reference', asked ?? 'cpu'])('%s', (device) => {
  const onDevice = usable.has(device) || device === asked ? test : test.skip;

  onDevice.each(cases)('$name', async (c) => {
    const inputs = c.inputs.map(({ shape }) => input({ shape: shape.slice(1) }));
    const below = inputs.map((x, i) =>
      layers.dense({ units: 6, useBias: false, name: `below${i}` }).apply(x),
    );
    const merge = layerFromConfig(c.layer.class_name, c.layer.config);
    const net = model({ inputs, outputs: merge.apply(below) }).compile({ loss: 'mse', device });
    await net.setWeights(
      Object.fromEntries(
        c.kernels.map((kernel, i) => [
          `below${i}/kernel`,
          real({ data: kernel, shape: [kernel.length / 6, 6] }),
        ]),
      ),
    );
    const close = (what: string, actual: ArrayLike<number>, expected: ArrayLike<number>) => {
      const limit = device === 'reference' ? 1e-11 : tolerance(60);
      const error = relativeError(actual, expected);
      if (!(error <= limit)) throw new Error(`${what}: relative error ${error} is above ${limit}`);
    };
    const x = c.inputs.map(real);
    const y = await net.predict(x);
    expect(y.shape).toEqual(c.target.shape);
    close('y', y.data, c.y);
    const { loss, gradients } = await net.computeGradients(x, real(c.target));
    close('loss', [loss], [c.loss]);
    for (const [i, expected] of c.gradients.entries()) {
      const gradient = gradients.get(`below${i}/kernel`)?.data ?? [];
      // Of equal values only the first takes the gradient.
      if (expected.every((g) => g === 0)) expect(Array.from(gradient).every((g) => g === 0)).toBe(true);
      else close(`gradient of input ${i}`, gradient, expected);
    }
  });
});
