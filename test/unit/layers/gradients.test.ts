import { layers, sequential, tensor } from '../../../lib';
import { Draws, testSeed } from '../reference/gradientCheck';

test(`gradients through layers of noise, shape, windows and normalization are the slopes of the loss (seed ${testSeed})`, async () => {
  const [N, T, D] = [3, 8, 4];
  const draws = new Draws();
  const model = sequential([
    layers.timeDistributed({ layer: layers.dense({ units: 5 }), inputShape: [T, D] }),
    layers.gaussianNoise({ stddev: 0.3 }),
    layers.spatialDropout1D({ rate: 0.3 }),
    layers.conv1D({
      filters: 6,
      kernelSize: 3,
      padding: 'same',
      activation: 'tanh',
      activityRegularizer: 'l2',
    }),
    layers.averagePooling1D(),
    layers.layerNormalization({ gammaRegularizer: 'l2' }),
    layers.highway({ activation: 'softplus', kernelRegularizer: 'l2' }),
    layers.batchNormalization({ betaRegularizer: 'l2' }),
    layers.permute({ dims: [2, 1] }),
    layers.lstm({ units: 3 }),
    layers.repeatVector({ n: 4 }),
    layers.reshape({ targetShape: [2, 6] }),
    layers.flatten(),
    layers.dense({ units: 2 }),
  ]);
  model.compile({ loss: 'mse', device: 'reference' });
  const x = tensor(draws.normals(N * T * D), [N, T, D]);
  const target = tensor(draws.normals(N * 2), [N, 2]);
  const weights = new Map(
    [...(await model.getWeights())].map(([name, { shape, data }]) => [
      name,
      { shape, values: draws.normals(data.length, 0.5) },
    ]),
  );
  const directions = new Map([...weights].map(([name, { values }]) => [name, draws.normals(values.length)]));
  /** The gradients at the weights, moved along their directions. */
  const at = async (distance: number, moved: (name: string) => boolean) => {
    const there = [...weights].map(([name, { shape, values }]) => {
      const by = moved(name) ? distance : 0;
      return [
        name,
        tensor(
          values.map((v, i) => v + by * (directions.get(name)?.[i] as number)),
          shape,
        ),
      ] as const;
    });
    await model.setWeights(new Map(there));
    return model.computeGradients(x, target);
  };
  const { gradients } = await at(0, () => false);
  // The moving statistics follow the data.
  const trained = [...weights.keys()].filter((name) => !name.includes('/moving'));
  expect([...gradients.keys()].sort()).toEqual(trained.sort());
  for (const [name, { data }] of gradients) {
    const step = 1e-5;
    const [above, below] = [await at(step, (n) => n === name), await at(-step, (n) => n === name)];
    const slope = (above.loss - below.loss) / (2 * step);
    const expected = Array.from(data).reduce(
      (sum, g, i) => sum + g * (directions.get(name)?.[i] as number),
      0,
    );
    if (!(Math.abs(slope - expected) <= 1e-6 * (1 + Math.abs(slope))))
      throw new Error(`${name}: slope ${slope}, gradient along it ${expected}`);
  }
});
