import { readSpec } from '../../config';
import { toCamelCase } from '../../names';
import { entriesOfCells, layersOfCells, type StackedCell } from './cells';
import type { Fail } from './manifest';

/** A layer as Keras 2 writes it. */
export interface KerasLayer {
  readonly class_name: string;
  readonly config: Record<string, unknown>;
}

/** Models in models. */
const MOST_NESTED = 16;

/** A `modelTopology`: layers in a row, of a sequential model or a functional one that is a chain, or a functional model with branches. */
export interface Topology {
  readonly structure: { readonly layers: readonly KerasLayer[] } | KerasLayer;
  /** Layers that were cells of one. */
  readonly stacked: readonly StackedCell[];
}

export function topologyOf(topology: unknown, fail: Fail): Topology {
  const { model_config: wrapped = topology } = Object(topology) as Record<string, unknown>;
  const { class_name, config } = entryOf(wrapped, fail);
  const stacked: StackedCell[] = [];
  const inTerms = (layer: KerasLayer) =>
    layersOfCells(layer, fail, stacked).map((own) => inOurTerms(own, fail));
  const chain = modelLayers(class_name, config, fail, 0);
  if (chain) return { structure: { layers: chain.flatMap(inTerms) }, stacked };
  const { layers: entries } = config as { layers: unknown[] };
  const layers = entries.flatMap((entry) => {
    const own = entryOf(entry, fail);
    if (modelNames.includes(own.class_name)) fail('its topology has a model inside a model with branches');
    return entriesOfCells(entry as Record<string, unknown>, inTerms(own), fail);
  });
  return { structure: { class_name: 'Functional', config: { ...config, layers } }, stacked };
}

function entryOf(entry: unknown, fail: Fail): KerasLayer {
  const { class_name, config } = Object(entry) as Record<string, unknown>;
  // Keras 2 wrote a sequential model's configuration as the bare list.
  const isConfig = typeof config === 'object' && config !== null;
  if (typeof class_name !== 'string' || !isConfig)
    fail('its topology has a part that is not { class_name, config }');
  return {
    class_name: class_name as string,
    config: (Array.isArray(config) ? { layers: config } : config) as KerasLayer['config'],
  };
}

const modelNames = ['Sequential', 'Model', 'Functional'];

/** Undefined for a functional model with branches that stands by itself. */
function modelLayers(
  kind: string,
  config: KerasLayer['config'],
  fail: Fail,
  depth: number,
): KerasLayer[] | undefined {
  if (!modelNames.includes(kind))
    fail(`its topology is of the class '${kind.slice(0, 60)}', expected ${modelNames.join(', ')}`);
  if (depth > MOST_NESTED) fail('its topology has models in models in models without end');
  const { layers } = config;
  if (!Array.isArray(layers)) fail('its topology has a model without layers');
  const entries = layers as unknown[];
  const chain = kind === 'Sequential' ? entries : inOrder(entries, config);
  if (!chain) {
    if (depth > 0) fail('its topology has a model with branches inside another, expected layers in a row');
    return undefined;
  }
  return chain.flatMap((given) => {
    const layer = entryOf(given, fail);
    return modelNames.includes(layer.class_name)
      ? (modelLayers(layer.class_name, layer.config, fail, depth + 1) as KerasLayer[])
      : [layer];
  });
}

/** The layers of a functional model from its input to its output, where that is one line through all of them; else undefined. */
function inOrder(entries: readonly unknown[], config: KerasLayer['config']): unknown[] | undefined {
  const after = new Map<string, unknown>();
  let first: unknown;
  for (const given of entries) {
    const { inbound_nodes: nodes } = Object(given) as Record<string, unknown>;
    if (!Array.isArray(nodes) || nodes.length > 1) return undefined;
    const calls = ((nodes as unknown[])[0] ?? []) as unknown[];
    if (!Array.isArray(calls) || calls.length > 1) return undefined;
    const from = (calls as unknown[])[0];
    if (from === undefined) {
      if (first !== undefined) return undefined;
      first = given;
      continue;
    }
    const [name, node, output] = Array.isArray(from) ? (from as unknown[]) : [];
    if (typeof name !== 'string' || node !== 0 || output !== 0 || after.has(name)) return undefined;
    after.set(name as string, given);
  }
  const line: unknown[] = [];
  for (let at = first; at !== undefined && line.length <= entries.length; ) {
    line.push(at);
    at = after.get(nameOf(at));
  }
  const outputs = config['output_layers'];
  const isLast =
    Array.isArray(outputs) && outputs.length === 1 && Object(outputs[0])[0] === nameOf(line.at(-1));
  return line.length === entries.length && isLast ? line : undefined;
}

function nameOf(entry: unknown): string {
  const { name, config } = Object(entry) as Record<string, unknown>;
  return String(name ?? Object(config)['name']);
}

/**
 * What TensorFlow.js and Keras 2 mean by a configuration, in the words of today: GRUs without reset_after have the reset gate before the product,
 * the slope of LeakyReLU was called alpha, and the rectifier with a threshold was a layer of its own.
 */
function inOurTerms({ class_name, config }: KerasLayer, fail: Fail): KerasLayer {
  const own = Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      /^(recurrent_?)?activation$/i.test(key) ? activationInOurTerms(value) : partInOurTerms(value, fail),
    ]),
  );
  if (class_name === 'GRU') return { class_name, config: { reset_after: false, ...own } };
  if (class_name === 'ThresholdedReLU') {
    const { theta, ...rest } = own;
    return {
      class_name: 'Activation',
      config: { ...rest, activation: { type: 'threshold', threshold: theta ?? 1 } },
    };
  }
  if (class_name !== 'LeakyReLU' || own['alpha'] === undefined) return { class_name, config: own };
  const { alpha, ...rest } = own;
  return { class_name, config: { ...rest, negative_slope: alpha } };
}

/** TensorFlow.js's name for the approximation of GELU by tanh. */
function activationInOurTerms(activation: unknown): unknown {
  return activation === 'gelu_new' ? 'geluTanh' : activation;
}

/** A layer inside a layer, or an initializer, whose normal distribution was always the truncated one. */
function partInOurTerms(part: unknown, fail: Fail): unknown {
  const { class_name, config } = Object(part) as Record<string, unknown>;
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null) return part;
  if (class_name === 'VarianceScaling' && (config as Record<string, unknown>)['distribution'] === 'normal')
    return { class_name, config: { ...config, distribution: 'truncated_normal' } };
  const [layer, ...more] = layersOfCells({ class_name, config: config as KerasLayer['config'] }, fail, []);
  if (more.length > 0)
    fail(`its topology has a recurrence of several cells inside another layer, expected a layer of its own`);
  return inOurTerms(layer as KerasLayer, fail);
}

/** Whether Keras 2's hard sigmoid is meant, `max(0, min(1, 0.2·x + 0.5))`: Keras 3 has x/6 in place of 0.2·x. */
export function isHardSigmoid(activation: unknown): boolean {
  const { type } = readSpec(activation, 'activation');
  return typeof type === 'string' && toCamelCase(type) === 'hardSigmoid';
}
