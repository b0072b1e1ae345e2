import { refuse } from '../errors';
import { Bidirectional } from '../layers/bidirectional';
import type { Layer } from '../layers/layer';
import { RecurrentLayer } from '../layers/recurrentLayer';
import type { Graph, GraphNode } from './graph';
import type { UsesOfMasks } from './kerasGraph';
import { type MaskedValue, type MaskOrigin, mergesInputs, walkMasks } from './maskFlow';

/** Layers of which Keras 3 makes something else where steps do not count. */
const mergesByMask = /^(multiply|maximum|minimum)$/;

/**
 * Keras 3 puts 1 (`multiply`) or the other input (`maximum`, `minimum`) in the place of steps that do not count before it merges; this library, Keras
 * 2 and TensorFlow.js merge what is there.
 * @param isKeras3 whether a use of a layer is one of Keras 3
 * @throws ERR_VALUE, naming the layer, where that may be seen: of masks that differ, and of one mask where a step that does not count is read or given
 */
export function refuseMaskedMerges(graph: Graph, isKeras3: (node: GraphNode) => boolean): void {
  const other = new Map<MaskedValue, GraphNode>();
  const values: (readonly MaskedValue[])[] = graph.inputs.map(() => []);
  const refuseMerge = ({ layer }: GraphNode, got: string): never =>
    refuse(
      'ERR_VALUE',
      layer.subject,
      `inputs without masks, as Keras 3 makes something else of steps that do not count in a ${layer.type}`,
      got,
    );
  walkMasks(graph, (node, read, outputs) => {
    values.push(outputs);
    const { layer } = node;
    let from = read.map((value) => other.get(value)).find((merge) => merge !== undefined);
    if (mergesByMask.test(layer.type) && isKeras3(node)) {
      const keys = new Set(read.map(({ mask }) => mask?.key));
      if (keys.size > 1)
        refuseMerge(node, keys.has(undefined) ? 'one with a mask and one without' : 'masks that differ');
      if (!keys.has(undefined)) from ??= node;
    }
    if (!from || passesOver(node)) return;
    for (const value of outputs) {
      if (!value.mask) refuseMerge(from, `masks, and ${layer.subject} above, which reads all steps`);
      other.set(value, from);
    }
  });
  for (const { from, output } of graph.outputs) {
    const value = values[from]?.[output];
    const merge = value && other.get(value);
    if (merge) refuseMerge(merge, 'masks, and an output of the model that has all steps');
  }
}

/** What reads the steps of a layer: itself, or both directions of it. */
function readersOf(layer: Layer): readonly RecurrentLayer[] {
  if (layer instanceof Bidirectional) return Object.values(layer.parts);
  return layer instanceof RecurrentLayer ? [layer] : [];
}

/** Whether a use of a layer hands states to it, so that it reads steps that do not count too. */
export const ignoresMask = ({ layer, inputs }: GraphNode): boolean =>
  inputs.length > 1 && ignoringMasks([layer]).length > 0;

/** Layers that pass over steps that do not count, and give others in their place. */
const passesOver = (node: GraphNode) =>
  !mergesInputs(node) &&
  (node.layer.states.length > 0 || node.layer.type === 'globalAveragePooling1D') &&
  !ignoresMask(node);

/**
 * Masks that calls in Keras name are taken for those that layers hand on here.
 * @throws ERR_VALUE, naming the layer, where what it reads has another mask here, or none
 */
export function refuseOtherMasks(graph: Graph, uses: UsesOfMasks): void {
  walkMasks(graph, (node, [sequence]) => {
    const named = uses.get(node)?.named;
    const own = sequence?.mask?.sources ?? new Set<string>();
    const isOwn = named?.size === own.size && [...named].every((source) => own.has(source));
    if (named && passesOver(node) && !isOwn)
      refuse(
        'ERR_VALUE',
        `${node.layer.subject}: mask`,
        'the mask of the layers below',
        own.size === 0 ? 'one where they make none' : 'another',
      );
  });
}

/** Uses of layers with states, of a sequence that has a mask. */
export function maskedWithStates(graph: Graph): { readonly node: GraphNode; readonly mask: MaskOrigin }[] {
  const found: { node: GraphNode; mask: MaskOrigin }[] = [];
  walkMasks(graph, (node, read) => {
    const mask = read[0]?.mask;
    if (read.length > 1 && !mergesInputs(node) && mask) found.push({ node, mask });
  });
  return found;
}

/**
 * Keras 3 runs a layer that is called with states without the mask of its sequence, where the call names none: such layers are told so.
 * @throws ERR_VALUE, naming the layer, for one that is called in either way
 */
export function dropMasks(graph: Graph, uses: UsesOfMasks): void {
  const drops = new Map<Layer, boolean>();
  for (const { node } of maskedWithStates(graph)) {
    const { layer } = node;
    const dropsMask = uses.get(node)?.dropsMask === true;
    if (drops.get(layer) === !dropsMask)
      refuse(
        'ERR_VALUE',
        `${layer.subject}: mask`,
        'the mask of its sequence in all calls with initial_state, or in none',
        'some with it and some without, which Keras 3 runs over all steps',
      );
    drops.set(layer, dropsMask);
  }
  ignoreMasksOf([...drops].flatMap(([layer, dropsMask]) => (dropsMask ? layer : [])));
}

/** Tells layers that they read all steps where they are called with states. */
export function ignoreMasksOf(layers: readonly Layer[]): void {
  for (const reader of layers.flatMap(readersOf)) reader.maskWithStates = false;
}

/** The layers that have been told so. */
export function ignoringMasks(layers: readonly Layer[]): Layer[] {
  return layers.filter((layer) => readersOf(layer).some(({ maskWithStates }) => !maskWithStates));
}
