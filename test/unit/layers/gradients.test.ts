import { layers, sequential, tensor } from '../../../lib';
import { Draws, testSeed } from '../reference/gradientCheck';
import { expectSlopes } from './slopes';

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
  await expectSlopes(model, x, target, draws);
});
