// ONNX Runtime's own package for Node: predicting alone.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { numbers } from '../data';
import { peersPython, requirePeer, root } from '../paths';
import { serve } from './serve';

/** The part of the package that is used here. */
interface OnnxRuntime {
  readonly InferenceSession: {
    create(
      file: string,
      options: object,
    ): Promise<{ run(feeds: object): Promise<object>; release(): Promise<void> }>;
  };
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => object;
}

let threads = 1;

serve({
  start(count) {
    threads = count;
    return requirePeer('onnxruntime-node/package.json').version;
  },
  async make(workload, mode) {
    if (mode === 'train') throw new Error('does not train');
    const { InferenceSession, Tensor } = requirePeer('onnxruntime-node') as OnnxRuntime;
    const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-bench-'));
    try {
      const file = path.join(folder, 'model.onnx');
      const script = path.join(root, 'bench', 'cpu', 'workers', 'onnx_model.py');
      execFileSync(peersPython, [script, file], { input: JSON.stringify(workload), stdio: 'pipe' });
      const session = await InferenceSession.create(file, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        graphOptimizationLevel: 'all',
      });
      const { B, T, D } = workload;
      const x = new Tensor('float32', numbers(B * T * D), [B, T, D]);
      return { run: () => session.run({ x }), dispose: () => session.release() };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
});
