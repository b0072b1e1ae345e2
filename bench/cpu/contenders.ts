// Who is measured, and where each one lives.
import path from 'node:path';
import { missing, peersFolder, peersPython, root } from './paths';
import { Worker } from './worker';

export interface Contender {
  readonly name: string;
  readonly title: string;
  readonly command: readonly [string, ...string[]];
  /** Files that are there when it is installed. */
  readonly needs: readonly string[];
}

const compiled = (name: string) => path.join(root, 'dist-examples', 'bench', 'cpu', 'workers', `${name}.js`);
const script = (name: string) => path.join(root, 'bench', 'cpu', 'workers', `${name}.py`);
const nodePackage = (name: string) => path.join(peersFolder, 'node', 'node_modules', name);

export const ours: Contender = {
  name: 'deeprnn',
  title: 'deeprnn',
  command: [process.execPath, compiled('deeprnn')],
  needs: [],
};

export const peers: readonly Contender[] = [
  {
    name: 'pytorch',
    title: 'PyTorch',
    command: [peersPython, script('pytorch_worker')],
    needs: [peersPython],
  },
  {
    name: 'keras',
    title: 'Keras',
    command: [peersPython, script('keras_worker')],
    needs: [peersPython],
  },
  {
    name: 'onnxruntime',
    title: 'ONNX Runtime',
    command: [process.execPath, compiled('onnxruntime')],
    needs: [nodePackage('onnxruntime-node'), peersPython],
  },
  {
    name: 'tfjs',
    title: 'TensorFlow.js',
    command: [process.execPath, compiled('tfjs')],
    needs: [nodePackage('@tensorflow/tfjs'), nodePackage('@tensorflow/tfjs-backend-wasm')],
  },
];

/** Loading a library, ms. */
const START_TIMEOUT = 60_000;

/** A contender's worker, made anew after one has gone. */
export class Seat {
  private worker: Worker | undefined;
  version = '';

  constructor(
    readonly contender: Contender,
    private readonly threads: number,
  ) {}

  /** @throws Error when it is not installed or does not start */
  async open(): Promise<Worker> {
    if (this.worker && !this.worker.gone) return this.worker;
    const { title, command, needs } = this.contender;
    const absent = missing(...needs);
    if (absent) throw new Error(`not installed (${path.relative(root, absent)})`);
    const env = { OMP_NUM_THREADS: `${this.threads}`, PYTHONDONTWRITEBYTECODE: '1' };
    this.worker = new Worker(title, command, env);
    try {
      this.version = (await this.worker.ask('start', { threads: this.threads }, START_TIMEOUT)).version;
    } catch (error) {
      this.close();
      throw error;
    }
    return this.worker;
  }

  close(): void {
    this.worker?.kill();
    this.worker = undefined;
  }
}
