import { refuse } from '../errors';
import { proveConstraint } from '../layers/constraints';
import type { Layer, SymbolicShape, WeightSpec } from '../layers/layer';
import { Philox } from '../tensors/random';
import { type Shape, sizeOf } from '../tensors/tensor';
import { type Graph, layersOf, walk } from './graph';
import { weightName } from './lower';

/** No weight may have more: 8 GiB in float32, and what plans can address. */
const MOST_ELEMENTS = 2 ** 31 - 1;

/**
 * Layers that are in a model, each with the name it came with. A layer is built for one model and holds that model's weights, so
 * another one that grew upon it, or failed to, would change them.
 */
const taken = new WeakMap<Layer, string>();

/** Makes a layer that of one model. @throws ERR_VALUE when it is in a model already, or its name is */
export function takeLayer(layer: Layer, others: readonly Layer[]): void {
  if (others.includes(layer))
    refuse('ERR_VALUE', layer.subject, 'a layer that is not in the model yet', 'the same layer again');
  if (taken.has(layer)) {
    const wanted = 'a layer that is in no other model';
    const wayOut = 'Make a new one for each model: weights cannot be shared between models.';
    refuse('ERR_VALUE', layer.subject, wanted, 'one that is', wayOut);
  }
  const { name } = layer;
  nameLayer(layer, others);
  taken.set(layer, name);
}

/** Undoes `takeLayer`, so that the layer may go into another model. */
export function releaseLayer(layer: Layer): void {
  layer.unbuild();
  layer.name = taken.get(layer) as string;
  taken.delete(layer);
}

/** Gives a layer without a name one of its own: its type and, from the second on, a number. */
function nameLayer(layer: Layer, others: readonly Layer[]): void {
  const names = new Set(others.map((l) => l.name));
  if (layer.name) {
    if (names.has(layer.name))
      refuse('ERR_VALUE', layer.subject, 'a name of its own in the model', 'a name that another layer has');
    return;
  }
  let name = layer.type;
  for (let i = 1; names.has(name); i++) name = `${layer.type}_${i}`;
  layer.name = name;
}

/** How first weights come to be. */
export interface WeightSource {
  readonly seed: number;
  /** Random stream of the first weight; the others count on from there. */
  readonly firstStream: number;
  /** False: zeros, for weights that come from a file next. */
  readonly draw: boolean;
}

export interface FirstWeight {
  readonly name: string;
  readonly shape: Shape;
  readonly values: Float32Array;
}

/**
 * Builds layers upon the inputs of their graph and makes their weights. All of them or none: layers that refuse an input (a wrong rank in
 * the first data) must be able to take another one.
 */
export function growGraph(graph: Graph, source: WeightSource): FirstWeight[] {
  const added = layersOf(graph);
  const weights: FirstWeight[] = [];
  try {
    const built = new Set<Layer>();
    const inputs = graph.inputs.map(({ symbol }) => symbol);
    walk(graph, inputs, ({ layer }, read) => {
      checkOwnShape(layer, read[0] as SymbolicShape);
      const above = layer.outputShapes(read);
      if (!built.has(layer)) layer.buildOn(read);
      built.add(layer);
      return above;
    });
    for (const layer of added) for (const spec of layer.weights) proveWeight(layer, spec);
    for (const layer of added) {
      for (const spec of layer.weights) {
        const random = new Philox(source.seed, source.firstStream + weights.length);
        const values = source.draw
          ? new Float32Array(spec.initializer.sample(spec.shape, random))
          : new Float32Array(sizeOf(spec.shape));
        weights.push({ name: weightName(layer.name, spec.name), shape: spec.shape, values });
      }
    }
  } catch (error) {
    for (const layer of added) layer.unbuild();
    throw error;
  }
  return weights;
}

/** @throws ERR_SHAPE when a layer that says what it reads would read something else */
function checkOwnShape(layer: Layer, from: SymbolicShape): void {
  const own = layer.inputShape;
  const fits =
    own === undefined ||
    (own.length === from.shape.length &&
      own.every((n, i) => n === null || from.shape[i] === null || n === from.shape[i]));
  if (fits) return;
  const shown = (shape: readonly (number | null)[]) => `[N, ${shape.map((n) => n ?? 'any').join(', ')}]`;
  const wanted = `inputs of shape ${shown(own)}, its inputShape`;
  refuse('ERR_SHAPE', layer.subject, wanted, `${shown(from.shape)} from below`);
}

/** @throws ERR_VALUE for what no memory holds, and for a constraint along an axis that is not there */
function proveWeight(layer: Layer, spec: WeightSpec): void {
  proveConstraint(layer.subject, spec);
  if (sizeOf(spec.shape) <= MOST_ELEMENTS) return;
  const got = `its ${spec.name} of shape [${spec.shape.join(', ')}]`;
  refuse('ERR_VALUE', layer.subject, `weights of at most ${MOST_ELEMENTS} numbers each`, got);
}
