import { quoted, refuse } from '../errors';
import { nearestName } from '../names';
import type { Logs, TrainingParams } from './callback';

export interface MonitorOptions {
  /** A name in the logs. Default `'val_loss'`. */
  monitor?: string;
  /** Whether smaller or larger is better; `'auto'` (default): as of the metric, or by the name where it is none. */
  mode?: 'auto' | 'min' | 'max';
  /** Less of a change than this is none. Default 0. */
  minDelta?: number;
}

/** Names that callbacks of the user's own put into the logs. */
const largerIsBetter = /acc|auc|precision|recall|f1|r2|topk/i;

/** Watches one number of the logs. */
export class Monitor {
  readonly name: string;
  private readonly mode: 'auto' | 'min' | 'max';
  private sign: 1 | -1;
  private readonly minDelta: number;

  constructor(subject: string, { monitor = 'val_loss', mode = 'auto', minDelta = 0 }: MonitorOptions) {
    if (typeof monitor !== 'string')
      refuse('ERR_VALUE', `${subject}: monitor`, 'a name in the logs', monitor);
    if (!['auto', 'min', 'max'].includes(mode))
      refuse('ERR_VALUE', `${subject}: mode`, "'auto', 'min' or 'max'", `'${mode}'`);
    if (typeof minDelta !== 'number' || !Number.isFinite(minDelta))
      refuse('ERR_VALUE', `${subject}: minDelta`, 'a finite number', minDelta);
    this.name = monitor;
    this.mode = mode;
    this.sign = mode === 'max' || (mode === 'auto' && largerIsBetter.test(monitor)) ? -1 : 1;
    this.minDelta = Math.abs(minDelta);
  }

  /** Called as training begins, when the metrics are known. */
  begin({ metrics, largerIsBetter: larger }: TrainingParams): void {
    const metric = this.name.replace(/^val_/, '');
    if (this.mode === 'auto' && metrics.includes(metric)) this.sign = larger.includes(metric) ? -1 : 1;
  }

  /** @throws ERR_VALUE when the logs do not have it */
  read(subject: string, logs: Logs): number {
    const value = logs[this.name];
    if (value !== undefined) return value;
    const names = Object.keys(logs);
    const wanted = `one of ${names.join(', ')}`;
    refuse('ERR_VALUE', `${subject}: monitor`, wanted, quoted(this.name), this.wayOut(names));
  }

  private wayOut(names: readonly string[]): string | undefined {
    if (this.name.startsWith('val_') && !names.some((name) => name.startsWith('val_')))
      return 'Give fit validationData or a validationSplit.';
    const nearest = nearestName(this.name, names);
    return nearest === undefined ? undefined : `Did you mean '${nearest}'?`;
  }

  improves(value: number, best: number | undefined): boolean {
    // NaN is no improvement, also where nothing came before it.
    return (
      !Number.isNaN(value) && (best === undefined || this.sign * value < this.sign * best - this.minDelta)
    );
  }
}

/** Reads a count of epochs. */
export function epochs(subject: string, value: unknown, fallback: number): number {
  const count = value ?? fallback;
  if (!Number.isSafeInteger(count) || (count as number) < 0)
    refuse('ERR_VALUE', subject, 'an integer, 0 or more', quoted(count));
  return count as number;
}
