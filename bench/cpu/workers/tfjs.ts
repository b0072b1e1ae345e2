// TensorFlow.js on its WebAssembly backend, the fastest one that needs neither a browser nor a binary of its own.

import { labels, numbers } from '../data';
import { requirePeer } from '../paths';
import { CLASSES, type Mode, type Workload } from '../workloads';
import { serve, type Work } from './serve';

/** The part of @tensorflow/tfjs that is used here. */
interface TensorFlow {
  readonly version: { readonly tfjs: string };
  readonly train: { adam(): { applyGradients(gradients: Gradients): void } };
  readonly losses: { softmaxCrossEntropy(labels: TfTensor, logits: TfTensor): TfTensor };
  readonly layers: Readonly<Record<'simpleRNN' | 'lstm' | 'gru' | 'dense', (options: object) => object>>;
  sequential(options: { layers: readonly object[] }): Network;
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(data: Float32Array | Int32Array, shape: readonly number[], dtype: string): TfTensor;
  oneHot(indices: TfTensor, depth: number): TfTensor;
  softmax(x: TfTensor): TfTensor;
  tidy<R>(work: () => R): R;
  variableGrads(loss: () => TfTensor): { value: TfTensor; grads: Gradients };
  addN(tensors: readonly TfTensor[]): TfTensor;
  minimum(a: TfTensor | number, b: TfTensor | number): TfTensor;
  disposeVariables(): void;
}
interface TfTensor {
  readonly shape: readonly number[];
  square(): TfTensor;
  sum(): TfTensor;
  sqrt(): TfTensor;
  mul(other: TfTensor): TfTensor;
  reciprocal(): TfTensor;
  reshape(shape: readonly number[]): TfTensor;
  data(): Promise<Float32Array>;
  dispose(): void;
}
type Gradients = Readonly<Record<string, TfTensor>>;
interface Network {
  apply(x: TfTensor, options: { training: boolean }): TfTensor;
  dispose(): void;
}

let tf: TensorFlow;

function networkOf({ cell, D, H, T, B }: Workload): Network {
  const stack = H.map((units, l) => {
    const shape = l === 0 ? { batchInputShape: [B, T, D] } : {};
    // Not the orthogonal matrices of the default, which take seconds to draw.
    const options = { units, returnSequences: true, recurrentInitializer: 'glorotUniform', ...shape };
    return tf.layers[cell === 'simpleRnn' ? 'simpleRNN' : cell](options);
  });
  return tf.sequential({ layers: [...stack, tf.layers.dense({ units: CLASSES })] });
}

/** A training step with the gradients' global norm clipped to 1, which `fit` of TensorFlow.js cannot do. */
function stepOf(network: Network, x: TfTensor, y: TfTensor): () => Promise<unknown> {
  const optimizer = tf.train.adam();
  const lossOf = () =>
    tf.losses.softmaxCrossEntropy(y, network.apply(x, { training: true }).reshape([-1, CLASSES]));
  return async () => {
    const loss = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(lossOf);
      const norm = tf.addN(Object.values(grads).map((g) => g.square().sum())).sqrt();
      const scale = tf.minimum(1, norm.reciprocal());
      optimizer.applyGradients(
        Object.fromEntries(Object.entries(grads).map(([name, g]) => [name, g.mul(scale)])),
      );
      return value;
    });
    await loss.data();
    loss.dispose();
  };
}

function make(workload: Workload, mode: Mode): Work {
  const { B, T, D } = workload;
  const network = networkOf(workload);
  const x = tf.tensor(numbers(B * T * D), [B, T, D], 'float32');
  const y = tf.tidy(() => tf.oneHot(tf.tensor(labels(B * T, CLASSES), [B * T], 'int32'), CLASSES));
  const infer = async () => {
    const probabilities = tf.tidy(() => tf.softmax(network.apply(x, { training: false })));
    await probabilities.data();
    probabilities.dispose();
  };
  return {
    run: mode === 'train' ? stepOf(network, x, y) : infer,
    ...(workload.cell === 'gru' && workload.resetAfter ? { note: 'reset before' } : {}),
    dispose() {
      network.dispose();
      tf.disposeVariables();
      x.dispose();
      y.dispose();
    },
  };
}

serve({
  async start(threads) {
    tf = requirePeer('@tensorflow/tfjs') as TensorFlow;
    const wasm = requirePeer('@tensorflow/tfjs-backend-wasm') as {
      setThreadsCount(count: number): void;
      getThreadsCount(): number;
    };
    wasm.setThreadsCount(threads);
    await tf.setBackend('wasm');
    await tf.ready();
    return `${tf.version.tfjs} (wasm, threads: ${wasm.getThreadsCount()})`;
  },
  make,
});
