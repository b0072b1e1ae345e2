import { ANY, type Harmless, readConfig, withoutHarmless } from '../config';
import { type EngineName, type Precision, precisions } from '../engines/engine';
import { oneOf, quoted, refuse } from '../errors';
import { type Loss, type LossSpec, resolveLoss } from '../losses/loss';
import { type Metric, type MetricSpec, resolveMetric } from '../metrics/metric';
import { type Optimizer, type OptimizerSpec, resolveOptimizer } from '../optimizers/optimizer';

export interface CompileOptions {
  readonly loss: LossSpec;
  /** Default `'rmsprop'`, as in Keras. */
  readonly optimizer?: OptimizerSpec;
  /** Measured over examples that all count alike, whatever their sample and class weights. */
  readonly metrics?: readonly MetricSpec[];
  /** Metrics in which sample and class weights count. */
  readonly weightedMetrics?: readonly MetricSpec[];
  /** `'cpu'`, `'cuda'`, `'cuda:1'`, `'reference'`; default: the environment variable DEEPRNN_DEVICE, else `'cpu'`. */
  readonly device?: string;
  /** CPU threads; default: the processors available to the process. */
  readonly threads?: number;
  /**
   * In what products are computed: `'fp32'` (default), `'bf16'`, on `'cuda'` also `'tf32'`, which are faster; on `'cpu'` also `'int8'`,
   * for inference only. Weights are float32 in each: compiling again changes the precision of the same model.
   */
  readonly precision?: Precision;
}

/** What `compile` settled. Metrics wait for the model's output size. */
export interface Compiled {
  readonly loss: Loss;
  readonly optimizer: Optimizer;
  readonly metricSpecs: readonly MetricSpec[];
  readonly weightedMetricSpecs: readonly MetricSpec[];
  readonly device: string | undefined;
  readonly threads: number | undefined;
  readonly precision: Precision | undefined;
}

/** Options of Keras's compile that change nothing here, with the values at which that is so. */
const kerasOptions: Harmless = {
  lossWeights: [null],
  runEagerly: [false],
  // How Keras computes, not what.
  jitCompile: ANY,
  stepsPerExecution: [1],
  autoScaleLoss: ANY,
};

export function readCompileOptions(options: CompileOptions): Compiled {
  const names = [
    'loss',
    'optimizer',
    'metrics',
    'weightedMetrics',
    'device',
    'threads',
    'precision',
  ] as const;
  const known = readConfig(
    withoutHarmless(options, kerasOptions, 'compile'),
    names,
    'compile',
  ) as CompileOptions;
  if (known.loss === undefined)
    refuse('ERR_VALUE', 'compile: loss', "a loss, e.g. 'categoricalCrossentropy'", 'nothing');
  const list = (key: 'metrics' | 'weightedMetrics'): readonly MetricSpec[] => {
    const specs = known[key] ?? [];
    if (!Array.isArray(specs))
      refuse('ERR_VALUE', `compile: ${key}`, "an array, e.g. ['accuracy']", quoted(specs));
    return specs;
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
    loss: resolveLoss(known.loss, 'compile: loss'),
    optimizer: ownCopy(resolveOptimizer(known.optimizer ?? 'rmsprop')),
    metricSpecs: list('metrics'),
    weightedMetricSpecs: list('weightedMetrics'),
    device,
    threads,
    precision,
  };
}

/** So that callbacks of one model never change the rate of another that was given the same optimizer. */
function ownCopy(optimizer: Optimizer): Optimizer {
  return Object.assign(Object.create(Object.getPrototypeOf(optimizer)), optimizer);
}

/** Metrics for a model with `classes` outputs, the weighted ones last, their names made unique. */
export function readMetrics({ loss, metricSpecs, weightedMetricSpecs }: Compiled, classes: number): Metric[] {
  const taken = new Set(['loss']);
  const metrics = [
    ...metricSpecs.map((spec) => resolveMetric(spec, { loss, classes })),
    ...weightedMetricSpecs.map((spec) => resolveMetric(spec, { loss, classes }, true)),
  ];
  return metrics.map((metric) => {
    let name = metric.name;
    // As in Keras, where the same metric stands in both lists.
    if (metric.weighted && taken.has(name)) name = `weighted_${name}`;
    const first = name;
    for (let i = 1; taken.has(name); i++) name = `${first}_${i}`;
    taken.add(name);
    return name === metric.name
      ? metric
      : { ...metric, name, result: (sums) => metric.result(sums), getConfig: () => metric.getConfig() };
  });
}

export type { EngineName };
