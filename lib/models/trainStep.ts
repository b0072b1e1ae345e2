import type { GradientReport } from '../callbacks/callback';
import { refuse } from '../errors';
import type { TensorLike } from '../tensors/tensor';
import { type Batch, checkFixedBatch, type ExampleOptions, readExamples, wholeBatch } from './batches';
import { type LoadedPlan, setInput } from './runner';
import { ScoreKeeper, type Scores } from './scores';
import type { Sequential } from './sequential';

export interface TrainOnBatchOptions extends ExampleOptions {}

/** One optimizer step; `read` sees the plan's outputs before anything else runs. */
export function trainStep<R>(
  model: Sequential,
  batch: Batch,
  options: { readonly caller: string; readonly gradientNorms?: boolean },
  read: (loaded: LoadedPlan) => R,
): Promise<R> {
  const prepare = (loaded: LoadedPlan): void => {
    setInput(loaded, 'step', [model.step]);
    setInput(loaded, 'hyper', model.optimizer.hyper(model.step));
  };
  return model.runner.run(batch, { ...options, mode: 'train', prepare }, (loaded) => {
    model.step++;
    return read(loaded);
  });
}

export async function trainOnBatch(
  model: Sequential,
  x: TensorLike,
  y: TensorLike,
  options: TrainOnBatchOptions,
): Promise<Scores> {
  const contract = model.contract('trainOnBatch', x);
  if (y === undefined) refuse('ERR_VALUE', 'trainOnBatch: y', 'targets', 'nothing');
  const batch = wholeBatch(readExamples(contract, x, y, options));
  checkFixedBatch(contract, batch.indices.length);
  return trainStep(model, batch, { caller: 'trainOnBatch' }, (loaded) => {
    const keeper = new ScoreKeeper(model.metrics);
    keeper.add(loaded, batch.indices.length);
    return keeper.scores();
  });
}

/** The gradient norms of the step that has just run. */
export function gradientReport(loaded: LoadedPlan): GradientReport {
  const { executable, updated, stepNorms, plan } = loaded;
  const norms = executable.output('norms');
  const steps: Record<string, number[]> = {};
  stepNorms.forEach((names, i) => {
    const output = `stepNorms.${i}`;
    const count = plan.values.find((v) => v.name === output)?.shape[1] as number;
    names.forEach((name, l) => {
      steps[name] = Array.from(executable.output(output).subarray(l * count, (l + 1) * count));
    });
  });
  return {
    globalNorm: norms[updated.length] as number,
    weights: Object.fromEntries(updated.map((name, i) => [name, norms[i] as number])),
    steps,
  };
}
