import { readSpec } from '../config';
import { quoted, refuse } from '../errors';
import { layerFromConfig } from '../layers';
import type { Tensor } from '../tensors/tensor';
import { type FunctionalConfig, functionalFromConfig } from './functional';
import { isKerasFunctional, type KerasFunctionalConfig, makeLayer, readKerasGraph } from './kerasGraph';
import { dropMasks, refuseMaskedMerges, refuseOtherMasks } from './kerasMasks';
import { flattened, type KerasModelSpec } from './kerasNested';
import type { Model } from './model';
import type { ModelStructure } from './modelStructure';
import { Sequential, type SequentialConfig } from './sequential';

/** A sequential model as Keras writes it: `model.to_json()`, parsed, or `model.get_config()`. */
export type KerasSequentialConfig =
  | { readonly class_name: string; readonly config: object }
  | { readonly layers: readonly { readonly class_name: string; readonly config: object }[] };

/** A new model, with new weights, from what `getConfig` gives, or from what Keras's `to_json()` gives, parsed. */
export function modelFromConfig<Y = Tensor>(
  config: ModelStructure | KerasSequentialConfig | KerasFunctionalConfig,
): Model<Y> {
  // What Y is, the configuration says.
  return structureToModel(config, true) as Model<Y>;
}

/** @param draw false where weights from a file come next, which makes drawing new ones a waste of time */
export function structureToModel(
  given: ModelStructure | KerasSequentialConfig | KerasFunctionalConfig,
  draw: boolean,
): Model {
  const config = isKerasModel(given) ? flattened(given, 'modelFromConfig').spec : given;
  if (isKerasFunctional(config)) {
    const { config: graph, made, usesIn } = readKerasGraph(config, 'modelFromConfig');
    const model = functionalFromConfig(graph, made, draw);
    const uses = usesIn(model.graph);
    dropMasks(model.graph, uses);
    refuseOtherMasks(model.graph, uses);
    refuseMaskedMerges(model.graph, (node) => uses.get(node)?.isKeras3 === true);
    return model;
  }
  if (!('calls' in Object(config))) return sequentialOf(config as SequentialConfig, draw);
  const { layers } = config as FunctionalConfig;
  const subject = 'modelFromConfig: layers';
  if (!Array.isArray(layers)) refuse('ERR_VALUE', subject, 'an array of layers', quoted(layers));
  const made = layers.map((entry, i) => {
    const { type, config: own } = readEntry(entry, `${subject}[${i}]`);
    return layerFromConfig(type, own);
  });
  return functionalFromConfig(config as FunctionalConfig, made, draw);
}

/** Whether a configuration is a whole one of Keras, and not that of this library or the inner part alone. */
function isKerasModel(given: unknown): given is KerasModelSpec {
  const { class_name, config } = Object(given) as Partial<KerasModelSpec>;
  return typeof class_name === 'string' && typeof config === 'object' && config !== null;
}

/** A new model of layers in a row, with new weights, from a configuration: what `getConfig` gives, or Keras's. */
export function sequentialFromConfig(config: SequentialConfig | KerasSequentialConfig): Sequential {
  const isSequential = isKerasModel(config) && config.class_name === 'Sequential';
  return sequentialOf(
    isSequential ? (flattened(config, 'sequentialFromConfig').spec as KerasSequentialConfig) : config,
    true,
  );
}

function sequentialOf(given: SequentialConfig | KerasSequentialConfig, draw: boolean): Sequential {
  const subject = 'sequentialFromConfig';
  if (typeof given !== 'object' || given === null)
    refuse('ERR_VALUE', subject, 'the configuration of a model', quoted(given));
  const { type, options: inner } = readSpec(given, subject);
  const isKerasModel = 'class_name' in given;
  if (isKerasModel && type !== 'Sequential')
    refuse('ERR_VALUE', `${subject}: class_name`, "'Sequential'", quoted(type));
  const config = (isKerasModel ? inner : given) as Partial<SequentialConfig> & {
    build_input_shape?: (number | null)[];
  };
  const { layers, name, seed, buildInputShape, build_input_shape: withBatch } = config;
  if (!Array.isArray(layers)) refuse('ERR_VALUE', `${subject}: layers`, 'an array of layers', quoted(layers));
  const entries = (layers as readonly unknown[]).map((entry, i) =>
    readEntry(entry, `${subject}: layers[${i}]`),
  );
  const made = entries.map(({ type: own, config: layer }, i) => {
    // Keras's input says float32 also where an embedding then reads ids from it.
    const readsIds = /^input/i.test(own) && /^embedding$/i.test(entries[i + 1]?.type ?? '');
    return makeLayer(own, readsIds ? { ...layer, dtype: 'int32' } : layer);
  });
  const named = { ...(name ? { name } : {}), ...(seed === undefined ? {} : { seed }) };
  const model = new Sequential(made, named, draw);
  // Keras's shape has the batch size in front.
  const shape = buildInputShape ?? withBatch?.slice(1);
  if (shape) model.build(shape);
  // Layers that are added later are in no file.
  model.draw = true;
  return model;
}

function readEntry(entry: unknown, subject: string): { type: string; config: Record<string, unknown> } {
  const { type, class_name = type, config } = Object(entry) as Record<string, unknown>;
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null)
    refuse('ERR_VALUE', subject, '{ type, config } or { class_name, config }', quoted(entry));
  return { type: class_name as string, config: config as Record<string, unknown> };
}
