import type { Metric } from '../metrics/metric';
import { lossNames } from './compiled';
import type { OutputKeys } from './graph';
import type { LoadedPlan } from './runner';

/** Loss and metrics by name. A metric with several results (f1 per class, r2 per output) is an array; `History` keeps its mean. */
export type Scores = {
  loss: number;
  /** Where `compile` was asked for it. */
  accuracy: number;
} & Record<string, number | number[]>;

/** What a {@link ScoreKeeper} holds, for checkpoints. */
export interface ScoreState {
  readonly examples: number;
  readonly lossSum: number;
  /** Of several outputs. */
  readonly outputLosses?: readonly number[];
  readonly sums: readonly (readonly number[])[];
}

/** Adds losses and metric sums up over batches: the loss as a mean weighted by examples, metrics from their sums. */
export class ScoreKeeper {
  private examples = 0;
  private lossSum = 0;
  private readonly outputLosses: number[];
  private sums: Float64Array[] = [];

  constructor(
    private readonly metrics: readonly Metric[],
    private readonly outputs: readonly OutputKeys[],
    state?: ScoreState,
  ) {
    this.outputLosses = [...(state?.outputLosses ?? lossNames(outputs).map(() => 0))];
    if (!state) return;
    this.examples = state.examples;
    this.lossSum = state.lossSum;
    this.sums = state.sums.map((s) => Float64Array.from(s));
  }

  add({ executable }: LoadedPlan, examples: number): void {
    this.examples += examples;
    this.lossSum += (executable.output('loss')[0] as number) * examples;
    for (const i of this.outputLosses.keys()) {
      const own = executable.output((this.outputs[i] as OutputKeys).loss)[0] as number;
      this.outputLosses[i] = (this.outputLosses[i] as number) + own * examples;
    }
    this.metrics.forEach((_, i) => {
      const batch = executable.output(`metric.${i}`);
      const total = this.sums[i];
      if (total)
        for (let k = 0; k < total.length; k++) total[k] = (total[k] as number) + (batch[k] as number);
      else this.sums[i] = Float64Array.from(batch);
    });
  }

  get state(): ScoreState {
    const { examples, lossSum, outputLosses } = this;
    return {
      examples,
      lossSum,
      ...(outputLosses.length > 0 ? { outputLosses: [...outputLosses] } : {}),
      sums: this.sums.map((s) => [...s]),
    };
  }

  /** Everything so far. */
  scores(): Scores {
    const scores = { loss: this.lossSum / this.examples } as Scores;
    for (const [i, name] of lossNames(this.outputs).entries())
      scores[name] = (this.outputLosses[i] as number) / this.examples;
    this.metrics.forEach((metric, i) => {
      scores[metric.name] = metric.result(this.sums[i] as Float64Array);
    });
    return scores;
  }

  /** The same for logs, which hold single numbers: a metric with several results counts as their mean. */
  logs(prefix = ''): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this.scores()).map(([name, value]) => [prefix + name, single(value)]),
    );
  }
}

function single(value: number | number[]): number {
  return typeof value === 'number' ? value : value.reduce((a, b) => a + b, 0) / value.length;
}
