import { isBinary, type Loss, resolveLoss } from '../../losses/loss';
import type { CompileOptions } from '../../models/compiled';
import { outputKeys, outputsOf } from '../../models/graph';
import type { Model } from '../../models/model';

type Config = Readonly<Record<string, unknown>>;

/** Parts of compile that Keras writes, and this library has under the same names. */
const parts = ['loss', 'loss_weights', 'metrics', 'weighted_metrics'] as const;

/**
 * What a model of Keras was compiled with, as `compile` takes it; undefined where there is no loss to train with.
 * @param given `compile_config` of Keras 3, or the `training_config` of an HDF5 file, whose optimizer has another name
 */
export function fromKerasCompile(given: Config, model: Model): CompileOptions | undefined {
  const graph = model.requireBuilt('loadModel');
  const outputs = graph.outputs.length;
  if (given['loss'] === null || given['loss'] === undefined) return undefined;
  const options: Record<string, unknown> = {};
  for (const part of parts) {
    const value = withoutWrappers(given[part]);
    if (value === null || value === undefined) continue;
    options[part] =
      outputs === 1 ? ofOne(value, part) : part.endsWith('metrics') ? withoutNulls(value) : value;
  }
  const names = outputKeys(graph).map(({ name }) => name);
  const widths = outputsOf(graph).map(({ shape }) => shape.at(-1) ?? 1);
  for (const part of ['metrics', 'weighted_metrics']) {
    if (options[part] === undefined) continue;
    const lists = names.map((name, i) => {
      const own = outputs === 1 ? options[part] : ofOutput(options[part], name, i);
      const loss = resolveLoss(ofOutput(options['loss'], name, i), 'loss');
      return [own ?? []].flat().map((metric: unknown) => accuracyOf(metric, loss, widths[i] as number));
    });
    options[part] = outputs === 1 ? lists[0] : lists;
  }
  const optimizer = given['optimizer'] ?? given['optimizer_config'];
  if (optimizer !== null && optimizer !== undefined) options['optimizer'] = optimizerOf(optimizer);
  return options as unknown as CompileOptions;
}

/** What is given for one of several outputs: in order, by name, or for all. */
function ofOutput(value: unknown, name: string, place: number): unknown {
  if (Array.isArray(value)) return value[place] as unknown;
  if (typeof value !== 'object' || value === null || 'class_name' in value) return value;
  return (value as Config)[name];
}

/** Keras tells which accuracy is meant by the width of the output alone, this library by the loss too. */
function accuracyOf(metric: unknown, loss: Loss, width: number): unknown {
  const isAccuracy = metric === 'accuracy' || metric === 'acc';
  if (!isAccuracy || !isBinary(loss) || width === 1) return metric;
  return { class_name: 'CategoricalAccuracy', config: { name: metric } };
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
