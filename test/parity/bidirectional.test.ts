import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { input, model, tensor } from '../../lib';
import { devices } from '../../lib/engines/devices';
import { layerFromConfig } from '../../lib/layers';
import { relativeError, tolerance } from './harness';

/*
 * Bidirectional layers that give several outputs, from test/fixtures, on every engine that this machine has.
 */
interface Values {
  readonly shape: number[];
  readonly data: number[];
}
interface Case {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly weights: Record<string, Values>;
  readonly inputs: Values[];
  readonly lengths?: number[];
  readonly outputs: Values[];
  readonly targets: Values[];
  readonly loss: number;
  readonly gradients: Record<string, Values>;
}
const file = join(__dirname, '..', 'fixtures', 'keras-bidirectional-outputs.json');
const cases = JSON.parse(readFileSync(file, 'utf8')) as Case[];
const real = ({ data, shape }: Values) => tensor(Float64Array.from(data), shape);

const usable = new Set(devices().flatMap(({ device, available }) => (available ? [device] : [])));
const asked = process.env['DEEPRNN_TEST_DEVICE'];

describe.each(['reference', asked ?? 'cpu'])('%s', (device) => {
  const onDevice = usable.has(device) || device === asked ? test : test.skip;

  onDevice.each(cases)('$name', async (c) => {
    const inputs = c.inputs.map(({ shape }) => input({ shape: shape.slice(1) }));
    const outputs = layerFromConfig('Bidirectional', c.config).applyAll(inputs);
    expect(outputs.map(({ shape }) => shape)).toEqual(c.outputs.map(({ shape }) => shape.slice(1)));
    const net = model({ inputs, outputs }).compile({ loss: outputs.map(() => 'mse'), device });
    await net.setWeights(new Map(Object.entries(c.weights).map(([name, w]) => [name, real(w)])));
    const close = (what: string, actual: ArrayLike<number>, expected: ArrayLike<number>) => {
      const limit = device === 'reference' ? 1e-11 : tolerance(200);
      const error = relativeError(actual, expected);
      if (!(error <= limit)) throw new Error(`${what}: relative error ${error} is above ${limit}`);
    };
    // One value is given by itself, several in a list.
    const given = (values: Values[]) => (values.length === 1 ? real(values[0] as Values) : values.map(real));
    const x = given(c.inputs);
    const options = c.lengths ? { lengths: c.lengths } : {};
    const found = Object.values(await net.predict(x, options));
    c.outputs.forEach(({ data }, i) => {
      close(`output ${i}`, found[i]?.data ?? [], data);
    });
    const { loss, gradients } = await net.computeGradients(x, given(c.targets), options);
    close('loss', [loss], [c.loss]);
    expect([...gradients.keys()].sort()).toEqual(Object.keys(c.gradients).sort());
    for (const [name, expected] of Object.entries(c.gradients))
      close(`gradient of ${name}`, gradients.get(name)?.data ?? [], expected.data);
  });
});
