import type { CompileOptions } from '../../models/compiled';
import type { Model } from '../../models/model';

type Config = Readonly<Record<string, unknown>>;

/** Parts of compile that Keras writes, and this library has under the same names. */
const parts = ['loss', 'loss_weights', 'metrics', 'weighted_metrics'] as const;

/**
 * What a model of Keras was compiled with, as `compile` takes it; undefined where there is no loss to train with.
 * @param given `compile_config` of Keras 3, or the `training_config` of an HDF5 file, whose optimizer has another name
 */
export function fromKerasCompile(given: Config, model: Model): CompileOptions | undefined {
  const outputs = model.requireBuilt('loadModel').outputs.length;
  if (given['loss'] === null || given['loss'] === undefined) return undefined;
  const options: Record<string, unknown> = {};
  for (const part of parts) {
    const value = withoutWrappers(given[part]);
    if (value === null || value === undefined) continue;
    options[part] =
      outputs === 1 ? ofOne(value, part) : part.endsWith('metrics') ? withoutNulls(value) : value;
  }
  const optimizer = given['optimizer'] ?? given['optimizer_config'];
  if (optimizer !== null && optimizer !== undefined) options['optimizer'] = optimizerOf(optimizer);
  return options as unknown as CompileOptions;
}

/** Of a model with one output Keras may have a list or an object of one. */
function ofOne(value: unknown, part: string): unknown {
  const isSpec = typeof value !== 'object' || value === null || 'class_name' in value || 'type' in value;
  const only = isSpec || Array.isArray(value) ? value : Object.values(value)[0];
  if (!Array.isArray(only))
    return part.endsWith('metrics') ? [only] : part === 'loss_weights' ? [only] : only;
  if (part.endsWith('metrics')) return Array.isArray(only[0]) ? only[0] : only;
  return part === 'loss_weights' ? only : only[0];
}

/** Metrics of several outputs, none where null stands. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((own) => own ?? []);
  return Object.fromEntries(Object.entries(value as object).filter(([, own]) => own !== null));
}

const wrapper = /^(MeanMetricWrapper|LossFunctionWrapper)$/;

/** Keras 2 writes functions inside wrappers. */
function withoutWrappers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutWrappers);
  if (typeof value !== 'object' || value === null) return value;
  const { class_name, config } = value as { class_name?: unknown; config?: Config };
  if (typeof class_name !== 'string')
    return Object.fromEntries(Object.entries(value).map(([key, own]) => [key, withoutWrappers(own)]));
  if (!wrapper.test(class_name) || typeof config?.['fn'] !== 'string') return value;
  const name = class_name === 'MeanMetricWrapper' ? config['name'] : undefined;
  return { class_name: config['fn'], config: typeof name === 'string' ? { name } : {} };
}

/** Keras's weight decay is one of all weights. */
function optimizerOf(given: unknown): unknown {
  const { class_name, config } = Object(given) as { class_name?: unknown; config?: Config };
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null) return given;
  const decays = typeof config['weight_decay'] === 'number' && config['weight_decay'] > 0;
  return { class_name, config: { ...config, ...(decays ? { decay_biases: true } : {}) } };
}
