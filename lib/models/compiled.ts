import { ANY, type Harmless, readConfig, withoutHarmless } from '../config';
import { type EngineName, type Precision, precisions } from '../engines/engine';
import { oneOf, quoted, refuse } from '../errors';
import { type Loss, type LossSpec, resolveLoss } from '../losses/loss';
import { type Metric, type MetricSpec, resolveMetric } from '../metrics/metric';
import { type Optimizer, type OptimizerSpec, resolveOptimizer } from '../optimizers/optimizer';
import { positiveInteger } from './callOptions';

/** One for each output of a model: in order, or by name. */
export type PerOutput<V> = readonly V[] | Readonly<Record<string, V>>;

export interface CompileOptions {
  /** Of a model with several outputs: one for all of them, or one for each. */
  readonly loss: LossSpec | PerOutput<LossSpec>;
  /** What the losses of several outputs are multiplied by in the loss that is minimized. Default: 1 each. */
  readonly lossWeights?: PerOutput<number>;
  /** Default `'rmsprop'`, as in Keras. */
  readonly optimizer?: OptimizerSpec;
  /**
   * Measured over examples that all count alike, whatever their sample and class weights. Of a model with several outputs: one of them,
   * or an array, for each.
   */
  readonly metrics?: readonly MetricSpec[] | PerOutput<MetricSpec | readonly MetricSpec[]>;
  /** Metrics in which sample and class weights count. */
  readonly weightedMetrics?: readonly MetricSpec[] | PerOutput<MetricSpec | readonly MetricSpec[]>;
  /** `'cpu'`, `'cuda'`, `'cuda:1'`, `'reference'`; default: the environment variable DEEPRNN_DEVICE, else `'cpu'`. */
  readonly device?: string;
  /** CPU threads; default: the processors available to the process. */
  readonly threads?: number;
  /**
   * In what products are computed: `'fp32'` (default), `'bf16'`, on `'cuda'` also `'tf32'`, which are faster; on `'cpu'` also `'int8'`,
   * for inference only. Weights are float32 in each: compiling again changes the precision of the same model.
   */
  readonly precision?: Precision;
  /**
   * Gradient checkpointing (Chen et al., 2016), to train on sequences whose steps do not fit in memory: recurrent stacks keep only their states
   * at the borders of segments of so many `steps`, or of so many `segments`, and work a segment out again on the way back. `true`: √T
   * segments. Costs one more forward pass of the stacks. Default: everything is kept.
   */
  readonly gradientCheckpointing?: boolean | GradientCheckpointing;
}

export type GradientCheckpointing =
  | { readonly steps: number; readonly segments?: never }
  | { readonly segments: number; readonly steps?: never };

/** What `compile` settled, by output. Metrics wait for the sizes of the outputs. */
export interface Compiled {
  readonly losses: readonly Loss[];
  readonly lossWeights: readonly number[];
  readonly optimizer: Optimizer;
  readonly metricSpecs: readonly (readonly MetricSpec[])[];
  readonly weightedMetricSpecs: readonly (readonly MetricSpec[])[];
  readonly device: string | undefined;
  readonly threads: number | undefined;
  readonly precision: Precision | undefined;
  /** Steps of a segment, for a sequence of so many. */
  readonly checkpointSteps: ((steps: number) => number) | undefined;
}

/** Options of Keras's compile that change nothing here, with the values at which that is so. */
const kerasOptions: Harmless = {
  runEagerly: [false],
  // How Keras computes, not what.
  jitCompile: ANY,
  stepsPerExecution: [1],
  autoScaleLoss: ANY,
};

/** @param outputs the names of the model's outputs, or one name before they are known */
export function readCompileOptions(options: CompileOptions, outputs: readonly string[]): Compiled {
  const names = [
    'loss',
    'lossWeights',
    'optimizer',
    'metrics',
    'weightedMetrics',
    'device',
    'threads',
    'precision',
    'gradientCheckpointing',
  ] as const;
  const known = readConfig(
    withoutHarmless(options, kerasOptions, 'compile'),
    names,
    'compile',
  ) as CompileOptions;
  if (known.loss === undefined)
    refuse('ERR_VALUE', 'compile: loss', "a loss, e.g. 'categoricalCrossentropy'", 'nothing');
  const losses = perOutput<LossSpec>(known.loss, outputs, 'compile: loss', 'same');
  const lossWeights = perOutput<number>(
    known.lossWeights ?? outputs.map(() => 1),
    outputs,
    'compile: lossWeights',
    1,
  );
  for (const [i, weight] of lossWeights.entries()) {
    if (!(typeof weight === 'number' && Number.isFinite(weight) && weight >= 0))
      refuse(
        'ERR_VALUE',
        `compile: lossWeights: ${outputs[i]}`,
        'a finite number, 0 or more',
        quoted(weight),
      );
  }
  if (lossWeights.every((weight) => weight === 0))
    refuse('ERR_VALUE', 'compile: lossWeights', 'at least one above 0', 'zeros');
  const list = (key: 'metrics' | 'weightedMetrics'): readonly (readonly MetricSpec[])[] => {
    const specs: unknown = known[key] ?? [];
    const isList = Array.isArray(specs);
    if (outputs.length === 1 && !isByOutput(specs, outputs)) {
      if (!isList) refuse('ERR_VALUE', `compile: ${key}`, "an array, e.g. ['accuracy']", quoted(specs));
      return [specs as MetricSpec[]];
    }
    if (isList && specs.length === 0) return outputs.map(() => []);
    const each = perOutput<MetricSpec | readonly MetricSpec[]>(specs, outputs, `compile: ${key}`, []);
    return each.map((own) => (Array.isArray(own) ? own : [own as MetricSpec]));
  };
  const { threads, device, precision } = known;
  if (precision !== undefined && !precisions.includes(precision))
    refuse('ERR_VALUE', 'compile: precision', oneOf(precisions), quoted(precision));
  if (device !== undefined && typeof device !== 'string')
    refuse('ERR_VALUE', 'compile: device', "a name, e.g. 'cpu'", quoted(device));
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 1024)) {
    refuse('ERR_VALUE', 'compile: threads', 'an integer from 1 to 1024', quoted(threads));
  }
  return {
    losses: losses.map((loss, i) =>
      resolveLoss(loss, outputs.length > 1 ? `compile: loss: ${outputs[i]}` : 'compile: loss'),
    ),
    lossWeights,
    optimizer: ownCopy(resolveOptimizer(known.optimizer ?? 'rmsprop')),
    metricSpecs: list('metrics'),
    weightedMetricSpecs: list('weightedMetrics'),
    device,
    threads,
    precision,
    checkpointSteps: readCheckpointing(known.gradientCheckpointing),
  };
}

/** @throws ERR_VALUE for anything but true, false, `{ steps }` and `{ segments }` */
function readCheckpointing(given: unknown = false): Compiled['checkpointSteps'] {
  const subject = 'compile: gradientCheckpointing';
  if (given === false || given === null) return undefined;
  if (given === true) return (steps) => Math.ceil(Math.sqrt(steps));
  if (typeof given !== 'object')
    refuse('ERR_VALUE', subject, 'true, { steps } or { segments }', quoted(given));
  const o = readConfig(given, ['steps', 'segments'], subject);
  const [name, other] =
    o.steps === undefined ? (['segments', 'steps'] as const) : (['steps', 'segments'] as const);
  if (o[name] === undefined || o[other] !== undefined)
    refuse('ERR_VALUE', subject, 'steps or segments', o[name] === undefined ? 'neither' : 'both');
  const count = positiveInteger(`${subject}: ${name}`, o[name], 1);
  return name === 'steps' ? () => count : (steps) => Math.ceil(steps / count);
}

/** Whether a value is an object that holds something for outputs by their names, and for nothing else. */
function isByOutput(value: unknown, outputs: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every((key) => outputs.includes(key));
}

/**
 * What is given for each output, in their order.
 * @param missing for outputs that an object does not name; `'same'`: none may be missing, and one value that is neither array nor object
 * by name counts for all
 */
function perOutput<V>(
  given: unknown,
  outputs: readonly string[],
  subject: string,
  missing?: V | 'same',
): V[] {
  const wanted = `one for each output: an array of ${outputs.length}, or an object with ${outputs.join(', ')}`;
  if (isByOutput(given, outputs)) {
    const byName = given as Readonly<Record<string, V>>;
    return outputs.map((name) => {
      const own = byName[name] ?? (missing === 'same' ? undefined : missing);
      return own ?? refuse('ERR_VALUE', subject, wanted, `none for ${name}`);
    });
  }
  if (Array.isArray(given)) {
    if (given.length !== outputs.length) refuse('ERR_VALUE', subject, wanted, `an array of ${given.length}`);
    return given as V[];
  }
  if (missing !== 'same') refuse('ERR_VALUE', subject, wanted, quoted(given));
  return outputs.map(() => given as V);
}

/** So that callbacks of one model never change the rate of another that was given the same optimizer. */
function ownCopy(optimizer: Optimizer): Optimizer {
  return Object.assign(Object.create(Object.getPrototypeOf(optimizer)), optimizer);
}

/** A metric of one of a model's outputs. */
export interface OutputMetric extends Metric {
  /** Which of them. */
  readonly output: number;
}

/** What an output is called, and how many numbers its last axis has. */
export interface MeasuredOutput {
  readonly name: string;
  readonly classes: number;
}

/**
 * Metrics of all outputs, the weighted ones last, their names made unique. Those of several outputs begin with the name of theirs, as in
 * Keras.
 */
export function readMetrics(
  { losses, metricSpecs, weightedMetricSpecs }: Compiled,
  outputs: readonly MeasuredOutput[],
): OutputMetric[] {
  const taken = new Set(['loss', ...lossNames(outputs)]);
  const of = (lists: typeof metricSpecs, weighted: boolean) =>
    lists.flatMap((specs, output) => {
      const context = { loss: losses[output] as Loss, classes: outputs[output]?.classes as number };
      return specs.map((spec) => ({ output, metric: resolveMetric(spec, context, weighted) }));
    });
  return [...of(metricSpecs, false), ...of(weightedMetricSpecs, true)].map(({ output, metric }) => {
    const prefix = outputs.length > 1 ? `${outputs[output]?.name}_` : '';
    let name = prefix + metric.name;
    // As in Keras, where the same metric stands in both lists.
    if (metric.weighted && taken.has(name)) name = `${prefix}weighted_${metric.name}`;
    const first = name;
    for (let i = 1; taken.has(name); i++) name = `${first}_${i}`;
    taken.add(name);
    return {
      ...metric,
      name,
      output,
      result: (sums) => metric.result(sums),
      getConfig: () => metric.getConfig(),
    };
  });
}

/** What the losses of several outputs are called in scores; of one output that is the loss. */
export function lossNames(outputs: readonly Pick<MeasuredOutput, 'name'>[]): string[] {
  return outputs.length > 1 ? outputs.map(({ name }) => `${name}_loss`) : [];
}

export type { EngineName };
