import type { Metric } from '../metrics/metric';
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
  readonly sums: readonly (readonly number[])[];
}

/** Adds losses and metric sums up over batches: the loss as a mean weighted by examples, metrics from their sums. */
export class ScoreKeeper {
  private examples = 0;
  private lossSum = 0;
  private sums: Float64Array[] = [];

  constructor(
    private readonly metrics: readonly Metric[],
    state?: ScoreState,
  ) {
    if (!state) return;
    this.examples = state.examples;
    this.lossSum = state.lossSum;
    this.sums = state.sums.map((s) => Float64Array.from(s));
  }

  add({ executable }: LoadedPlan, examples: number): void {
    this.examples += examples;
    this.lossSum += (executable.output('loss')[0] as number) * examples;
    this.metrics.forEach((_, i) => {
      const batch = executable.output(`metric.${i}`);
      const total = this.sums[i];
      if (total)
        for (let k = 0; k < total.length; k++) total[k] = (total[k] as number) + (batch[k] as number);
      else this.sums[i] = Float64Array.from(batch);
    });
  }

  get state(): ScoreState {
    return { examples: this.examples, lossSum: this.lossSum, sums: this.sums.map((s) => [...s]) };
  }

  /** Everything so far. */
  scores(): Scores {
    const scores = { loss: this.lossSum / this.examples } as Scores;
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
