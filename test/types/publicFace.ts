// Compiled by `npm run typecheck`, never run: what TypeScript must accept and must refuse. A directive whose line has no
// error is itself an error.
import {
  type Callback,
  callbacks,
  type Device,
  devices,
  type EstimatedProfile,
  exportOnnx,
  type History,
  initializers,
  layers,
  loadModel,
  losses,
  type MeasuredProfile,
  type Model,
  metrics,
  optimizers,
  regularizers,
  type Sequential,
  schedules,
  sequential,
  type Tensor,
  tensor,
  type WeightValues,
} from 'deeprnn';

/** Holds when A and B are the same type, not merely assignable. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_T extends true>(): void {}

export async function acceptedOfOnnx(): Promise<void> {
  const graph = await loadModel('m.onnx');
  const { y } = await graph.run({ x: tensor([[1]]), h: [[0]] });
  holds<Same<typeof y, Tensor | undefined>>();
  holds<Same<Awaited<ReturnType<typeof graph.predict>>, Tensor>>();
  await exportOnnx(sequential([]), 'm.onnx', { states: true, lengths: false });
  // @ts-expect-error other files are models of layers
  (await loadModel('m.keras')).run({});
  const path: string = 'm.onnx';
  const any = await loadModel(path);
  const model: Model = any;
  model.dispose();
  holds<Same<Awaited<ReturnType<typeof any.predict>>, Tensor>>();
  if (any.run) {
    const { z } = await any.run({ x: tensor([[1]]) });
    holds<Same<typeof z, Tensor | undefined>>();
    holds<Same<typeof any.outputs, readonly string[] | undefined>>();
  }
  // @ts-expect-error it may be a model of layers
  await any.run({});
  // @ts-expect-error no model has it
  any.sprint;
  // @ts-expect-error no such option
  await exportOnnx(sequential([]), 'm.onnx', { opset: 17 });
}

export async function accepted(): Promise<void> {
  const model = sequential([
    layers.simpleRNN({
      units: 64,
      returnSequences: true,
      inputShape: [null, 28],
      kernelInitializer: 'heNormal',
    }),
    layers.lstm({
      units: 32,
      kernelRegularizer: regularizers.l2(1e-4),
      recurrentRegularizer: regularizers.l1({ l1: 1e-5 }),
      recurrentInitializer: initializers.orthogonal(),
    }),
    layers.dense({ units: 10, activation: 'softmax' }),
  ]);
  holds<Same<typeof model, Sequential>>();
  model.compile({ loss: 'categoricalCrossentropy', optimizer: 'adam', metrics: ['accuracy'] });
  const rate = schedules.exponentialDecay({ initialLearningRate: 1e-3, decaySteps: 100, decayRate: 0.9 });
  model.compile({
    loss: losses.categoricalCrossentropy({ fromLogits: true }),
    optimizer: optimizers.adam({ learningRate: rate, clipNorm: 1 }),
    metrics: [metrics.topKCategoricalAccuracy({ k: 3 }), metrics.topK({ k: 2, name: 'top2' })],
    device: 'reference',
  });

  model.compile({ loss: 'mse', optimizer: optimizers.sgd({ clipValue: 0.5 }) });
  model.compile({ loss: 'mse', optimizer: optimizers.nadam({ globalClipNorm: 5 }) });
  model.compile({ loss: 'mse', optimizer: { type: 'adam', clipnorm: 1, beta_1: 0.8 } });

  model.compile({ loss: 'mse', gradientCheckpointing: true });
  model.compile({ loss: 'mse', gradientCheckpointing: { steps: 100 } });
  // @ts-expect-error: steps or segments
  model.compile({ loss: 'mse', gradientCheckpointing: { steps: 100, segments: 3 } });

  const x = tensor(new Float32Array(2 * 3 * 28), [2, 3, 28]);
  const y = [
    [1, 0],
    [0, 1],
  ];
  const history = await model.fit(x, y, {
    epochs: 2,
    validationSplit: 0.5,
    callbacks: [callbacks.earlyStopping({ patience: 2, restoreBestWeights: true })],
    signal: new AbortController().signal,
  });
  holds<Same<typeof history, History>>();
  const prediction = await model.predict(x);
  holds<Same<typeof prediction, Tensor>>();
  await model.trainOnBatch(x, y, { sampleWeight: [1, 2], classWeight: { 0: 1, 1: 2 } });
  const { loss, accuracy } = await model.evaluate(x, y, { batchSize: 1 });
  holds<Same<[typeof loss, typeof accuracy], [number, number]>>();
  await model.fit(() => Promise.resolve([[x, y]] as const), { verbose: true });
  await model.save('model.deeprnn', { includeOptimizer: true });
  const measured = await model.profile({ batchSize: 4, repeats: 3, device: 'cpu' });
  holds<Same<typeof measured, MeasuredProfile>>();
  const estimated = await model.profile({
    estimate: true,
    precision: 'bf16',
    gpu: { tflops: { bf16: 500 } },
  });
  holds<Same<typeof estimated, EstimatedProfile>>();
  // The first block of docs/profile.md.
  const { predict, train } = measured;
  console.log(`${predict.milliseconds} ms a batch, ${train?.milliseconds} ms a training step`);
  const { estimate } = estimated;
  console.log(estimate.train?.chosen, estimate.train?.milliseconds, estimate.train?.bound);
  const stream = await model.stream({ batchSize: 2, initialStates: { lstm: { h: [[1], [2]] } } });
  const step = stream.stepSync(new Float32Array(2 * 28));
  const wide = stream.stepSync([[1], [2]], new Float64Array(20));
  const later = await stream.step(tensor([[1], [2]]));
  holds<
    Same<[typeof step, typeof wide, typeof later], [Float32Array, Float64Array<ArrayBuffer>, Float32Array]>
  >();
  stream.setState(stream.fork().state);
  stream.setState({ 'lstm/h': [[1], [2]] });
  const again = await loadModel('model.deeprnn');
  again.dispose();
  const list = devices();
  holds<Same<typeof list, Device[]>>();
}

/** Parts as Keras's configurations write them. */
export function fromKeras(): void {
  const model = sequential([
    layers.dense({
      units: 3,
      activation: { class_name: 'function', config: 'relu', registered_name: 'function' },
      kernelInitializer: { module: 'keras.initializers', class_name: 'HeNormal', config: { seed: null } },
      kernelRegularizer: { class_name: 'L2', config: { l2: 0.01 } },
      kernelConstraint: { class_name: 'MaxNorm', config: { max_value: 3, axis: 0 } },
    }),
  ]);
  model.compile({
    loss: { class_name: 'CategoricalCrossentropy', config: { from_logits: true } },
    optimizer: {
      class_name: 'Adam',
      config: { learning_rate: { class_name: 'ExponentialDecay', config: { initial_learning_rate: 0.1 } } },
    },
    metrics: ['accuracy', { class_name: 'Precision', config: { name: 'p' } }],
  });
  optimizers.adam({ learningRate: { class_name: 'ExponentialDecay', config: { decay_steps: 10 } } });
}

/** A callback with arrays of its own can be written with the names that are exported. */
export class Keeper implements Callback {
  readonly stateKey = 'keeper';
  private arrays: ReadonlyMap<string, WeightValues> = new Map();
  getState(): unknown {
    return {};
  }
  getArrays(): ReadonlyMap<string, WeightValues> {
    return this.arrays;
  }
  setState(_: unknown, arrays: ReadonlyMap<string, WeightValues>): void {
    this.arrays = arrays;
  }
}

export async function refused(model: Sequential): Promise<void> {
  // @ts-expect-error units is required
  layers.lstm({ returnSequences: true });
  // @ts-expect-error units is a number
  layers.gru({ units: '3' });
  // @ts-expect-error no such option
  layers.dense({ units: 3, returnSequences: true });
  // @ts-expect-error pooling has no causal windows
  layers.maxPooling1D({ padding: 'causal' });
  // @ts-expect-error filters are not given
  layers.conv1D({ kernelSize: 3 });
  // @ts-expect-error Keras's spellings are for configurations, not for TypeScript
  optimizers.adam({ clipnorm: 1 });
  // @ts-expect-error the same of a layer
  layers.lstm({ units: 3, return_sequences: true });
  // @ts-expect-error and of fit
  await model.fit([[1]], [1], { batch_size: 3 });
  // @ts-expect-error a number or options
  regularizers.l2('0.01');
  // @ts-expect-error loss is required
  model.compile({ optimizer: 'adam' });
  // @ts-expect-error labels are numbers
  await model.fit([[1]], ['cat']);
  // @ts-expect-error no such verbosity
  await model.fit([[1]], [1], { verbose: 3 });
  // @ts-expect-error states are set by name
  (await model.stream()).setState([[1]]);
  // @ts-expect-error outputs are not whole numbers
  (await model.stream()).stepSync([1], new Int32Array(1));
  // @ts-expect-error an estimate runs nothing
  await model.profile({ estimate: true, repeats: 3 });
  // @ts-expect-error a history cannot be replaced
  (await model.fit([[1]], [1])).history = {};
}
