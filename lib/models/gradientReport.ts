import type { GradientReport } from '../callbacks/callback';
import type { Layer } from '../layers/layer';
import { type Shape, sizeOf } from '../tensors/tensor';
import type { Batch } from './batches';
import { type Graph, layersOf, walk } from './graph';
import type { Model } from './model';
import { type LoadedPlan, setInput } from './runner';

type NormsByLayer = Record<string, readonly number[]>;

/** Which of T steps of a batch count: `at(n, t)`, and the range of those that do for any sequence. */
interface CountedSteps {
  readonly T: number;
  readonly at: (n: number, t: number) => boolean;
  readonly first: number;
  readonly end: number;
}

/** Undefined where every step counts. */
export async function countedSteps(
  { layers, runner }: Model,
  batch: Batch,
): Promise<CountedSteps | undefined> {
  if (!batch.examples.lengths && !layers.some(({ masks }) => masks)) return undefined;
  const { examples, indices } = batch;
  // Without the batch to come, which need not be looked at.
  const run = { caller: 'fit', mode: 'predict', mask: true } as const;
  const mask = await runner.run({ examples, indices }, run, ({ executable }) =>
    executable.output('mask').slice(),
  );
  const T = mask.length / indices.length;
  const at = (n: number, t: number) => mask[n * T + t] !== 0;
  const anywhere = Array.from({ length: T }, (_, t) => indices.some((_, n) => at(n, t)));
  return { T, at, first: Math.max(0, anywhere.indexOf(true)), end: anywhere.lastIndexOf(true) + 1 };
}

/** Step norms of the run that has just ended, by layer: of steps first … end − 1 of the input, in the order of processing. */
function normsByLayer(
  model: Model,
  { executable, plan, stepNorms }: LoadedPlan,
  range: { readonly T: number; readonly first: number; readonly end: number } | undefined,
): NormsByLayer {
  const norms: NormsByLayer = {};
  stepNorms.forEach((names, i) => {
    const output = `stepNorms.${i}`;
    const steps = plan.values.find((v) => v.name === output)?.shape[1] as number;
    // Layers between may have made other steps of them.
    const { first, end } = range?.T === steps ? range : { first: 0, end: steps };
    names.forEach((name, l) => {
      const [from, to] = isReversed(model, name) ? [steps - end, steps - first] : [first, end];
      norms[name] = Array.from(executable.output(output).subarray(l * steps + from, l * steps + to));
    });
  });
  return norms;
}

/** Whether a recurrence meets the steps of the input from their end. */
function isReversed({ graph }: Model, name: string): boolean {
  const layers = layersOf(graph as Graph);
  const own = layers.find((layer) => layer.name === name.split('/')[0]) as Layer;
  const turned = turnedBy(graph as Graph).after.get(own) as boolean;
  return turned !== (own.name !== name && own.backwards.includes(name));
}

/** Whether a layer gives its outputs in the reverse order of its inputs. */
function turns({ name, backwards }: Layer): boolean {
  return backwards.includes(name);
}

/** Which values have their steps in the reverse order of the input's: the outputs of each layer (of its first use), and of the model. */
function turnedBy(graph: Graph): { after: Map<Layer, boolean>; outputs: readonly boolean[] } {
  const after = new Map<Layer, boolean>();
  const outputs = walk<boolean>(
    graph,
    graph.inputs.map(() => false),
    ({ layer }, [below]) => {
      const turned = below !== turns(layer);
      if (!after.has(layer)) after.set(layer, turned);
      // As many as any layer gives; states have no order.
      return [turned, false, false];
    },
  );
  return { after, outputs };
}

/** The gradient norms of the training step that has just run. `carried`: what {@link carriedNorms} gave before it. */
export function gradientReport(
  model: Model,
  loaded: LoadedPlan,
  carried: NormsByLayer | undefined,
  counted: CountedSteps | undefined,
): GradientReport {
  const norms = loaded.executable.output('norms');
  const steps = normsByLayer(model, loaded, counted);
  const seen = new Set(Object.keys(steps).map((name) => name.split('/')[0] as string));
  return {
    globalNorm: norms[loaded.updated.length] as number,
    weights: Object.fromEntries(loaded.updated.map((name, i) => [name, norms[i] as number])),
    steps,
    carried: readAgainstTime(model, carried ?? steps),
    clipped: model.optimizer.clip.mode !== 'none',
    unjudged: model.layers
      .filter(({ name, states }) => states.length > 0 && !seen.has(name))
      .map(({ name }) => name),
  };
}

/**
 * ‖∂E_t/∂h_k‖ for the error of the last step t alone: how much of it the recurrence carries back to step k (Pascanu et al.,
 * 2013, eq. 5). Where the loss reads every step, each h_k also gets the error of its own step, beside which what vanished on the
 * way cannot be seen. So the batch runs once more through a plan whose loss weighs all other steps by zero; nothing is
 * trained by it. Undefined where the loss reads the last step only: the training step says it all.
 */
export async function carriedNorms(
  model: Model,
  batch: Batch,
  counted: CountedSteps | undefined,
): Promise<NormsByLayer | undefined> {
  const { examples, indices } = batch;
  const shapes = [...examples.inputs.values()].map(({ shape }) => shape.slice(1));
  const [outputs, ...others] = model.contract('fit').outputShapes(shapes) as [Shape, ...Shape[]];
  // The last step of which output would be a guess.
  if (others.length > 0) return undefined;
  const penalized = model.layers.some((layer) => 'activityRegularizer' in layer.getConfig());
  if (outputs.length === 1 && !penalized) return undefined;
  const steps = outputs.length === 1 ? 1 : (outputs[0] as number);
  // Behind layers that read backwards the outputs may lie in reverse.
  const turned = turnedBy(model.graph as Graph).outputs[0] === true;
  const inputStep = (t: number) => (turned ? steps - 1 - t : t);
  // Several rows of a step (of a frame, say) count as it does.
  const rows = sizeOf(outputs.slice(1, -1));
  const weights = new Float32Array(indices.length * steps * rows).fill(1);
  const own = examples.weights.get('weights');
  if (own) {
    const { data } = own;
    for (const [n, index] of indices.entries())
      weights.set(data.subarray(index * steps * rows, (index + 1) * steps * rows), n * steps * rows);
  }
  // Padding may have no weight, or be masked: the last step is the last one that counts anywhere.
  const ofStep = (n: number, t: number) =>
    weights.subarray((n * steps + t) * rows, (n * steps + t + 1) * rows);
  const counts = (n: number, t: number) =>
    ofStep(n, t).some((w) => w > 0) && (counted?.T !== steps || counted.at(n, inputStep(t)));
  let last = steps - 1;
  while (last >= 0 && !indices.some((_, n) => counts(n, last))) last--;
  if (last < 0) return {};
  for (const n of indices.keys()) for (let t = 0; t < steps; t++) if (t !== last) ofStep(n, t).fill(0);
  const run = {
    caller: 'fit',
    mode: 'gradients',
    gradientNorms: true,
    weights,
    prepare: (loaded: LoadedPlan) => setInput(loaded, 'step', [model.step]),
  } as const;
  const { first, end } = counted?.T === steps ? counted : { first: 0, end: steps };
  const upTo = turned
    ? { T: steps, first: Math.max(first, inputStep(last)), end }
    : { T: steps, first, end: last + 1 };
  const range = outputs.length === 1 ? counted : upTo;
  // Without the batch to come, which need not be looked at.
  return model.runner.run({ examples, indices }, run, (loaded) => normsByLayer(model, loaded, range));
}

/**
 * Without the layers below one that reads backwards: what reaches their first step need not come through their last. And without
 * the direction of a bidirectional layer that begins at the last step.
 */
function readAgainstTime({ graph }: Model, norms: NormsByLayer): NormsByLayer {
  const { inputs, nodes } = graph as Graph;
  const layers = layersOf(graph as Graph);
  /** Layers with one that reads backwards above them. */
  const below = new Set<Layer>();
  for (const { layer, inputs: read } of nodes.toReversed()) {
    if (!turns(layer) && !below.has(layer)) continue;
    for (const { from } of read) {
      const node = nodes[from - inputs.length];
      if (node) below.add(node.layer);
    }
  }
  const kept = ([name]: [string, unknown]) => {
    const owner = layers.find((layer) => layer.name === name.split('/')[0]);
    if (!owner || below.has(owner)) return false;
    return turns(owner) || !owner.backwards.includes(name);
  };
  return Object.fromEntries(Object.entries(norms).filter(kept));
}
