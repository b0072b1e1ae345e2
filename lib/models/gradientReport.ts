import type { GradientReport } from '../callbacks/callback';
import type { Batch } from './batches';
import { type LoadedPlan, setInput } from './runner';
import type { Sequential } from './sequential';

type NormsByLayer = Record<string, readonly number[]>;

/** Step norms of the run that has just ended, by layer, up to step `count`. */
function normsByLayer({ executable, plan, stepNorms }: LoadedPlan, count?: number): NormsByLayer {
  const norms: NormsByLayer = {};
  stepNorms.forEach((names, i) => {
    const output = `stepNorms.${i}`;
    const steps = plan.values.find((v) => v.name === output)?.shape[1] as number;
    names.forEach((name, l) => {
      norms[name] = Array.from(
        executable.output(output).subarray(l * steps, l * steps + Math.min(count ?? steps, steps)),
      );
    });
  });
  return norms;
}

/** The gradient norms of the training step that has just run. `carried`: what {@link carriedNorms} gave before it. */
export function gradientReport(
  model: Sequential,
  loaded: LoadedPlan,
  carried: NormsByLayer | undefined,
): GradientReport {
  const norms = loaded.executable.output('norms');
  const steps = normsByLayer(loaded);
  return {
    globalNorm: norms[loaded.updated.length] as number,
    weights: Object.fromEntries(loaded.updated.map((name, i) => [name, norms[i] as number])),
    steps,
    carried: readAgainstTime(model, carried ?? steps),
    clipped: model.optimizer.clip.mode !== 'none',
  };
}

/**
 * ‖∂E_t/∂h_k‖ for the error of the last step t alone: how much of it the recurrence carries back to step k (Pascanu et al.,
 * 2013, eq. 5). Where the loss reads every step, each h_k also gets the error of its own step, beside which what vanished on the
 * way cannot be seen. So the batch runs once more through a plan whose loss weighs all other steps by zero; nothing is
 * trained by it. Undefined where the loss reads the last step only: the training step says it all.
 */
export async function carriedNorms(model: Sequential, batch: Batch): Promise<NormsByLayer | undefined> {
  const { examples, indices } = batch;
  const outputs = model.contract('fit').outputShape(examples.x.shape.slice(1));
  const penalized = model.layers.some((layer) => 'activityRegularizer' in layer.getConfig());
  if (outputs.length === 1 && !penalized) return undefined;
  const steps = outputs.length === 1 ? 1 : (outputs[0] as number);
  const weights = new Float32Array(indices.length * steps).fill(1);
  if (examples.weights) {
    const { data } = examples.weights;
    for (const [n, index] of indices.entries())
      weights.set(data.subarray(index * steps, (index + 1) * steps), n * steps);
  }
  // Padding may have no weight: the last step is the last one that counts anywhere.
  let last = steps - 1;
  const counts = (t: number) => indices.some((_, n) => (weights[n * steps + t] as number) > 0);
  while (last >= 0 && !counts(last)) last--;
  if (last < 0) return {};
  for (const i of weights.keys()) if (i % steps !== last) weights[i] = 0;
  const run = {
    caller: 'fit',
    mode: 'gradients',
    gradientNorms: true,
    weights,
    prepare: (loaded: LoadedPlan) => setInput(loaded, 'step', [model.step]),
  } as const;
  // Without the batch to come, which need not be looked at.
  return model.runner.run({ examples, indices }, run, (loaded) =>
    normsByLayer(loaded, outputs.length === 1 ? undefined : last + 1),
  );
}

/**
 * Without the layers below one that reads backwards: what reaches their first step need not come through their last. And without
 * the direction of a bidirectional layer that begins at the last step.
 */
function readAgainstTime(model: Sequential, norms: NormsByLayer): NormsByLayer {
  const { layers } = model;
  const first = layers.findLastIndex(({ name, backwards }) => backwards.includes(name));
  const kept = ([name]: [string, unknown]) => {
    const owner = layers.findIndex((layer) => layer.name === name.split('/')[0]);
    return owner >= first && (owner === first || !layers[owner]?.backwards.includes(name));
  };
  return Object.fromEntries(Object.entries(norms).filter(kept));
}
