import { readConfig } from '../config';
import type { Callback, CallbackModel, Logs, TrainingParams, WeightValues } from './callback';
import { epochs, Monitor, type MonitorOptions } from './monitor';

export interface EarlyStoppingOptions extends MonitorOptions {
  /** Epochs without improvement after which training stops. Default 0. */
  patience?: number;
  /** Only better values than this count as improvement. */
  baseline?: number;
  /**
   * End with the weights of the best epoch instead of the last. Default false. A fit that is aborted or fails keeps its last.
   */
  restoreBestWeights?: boolean;
  /** Epochs to wait before watching. Default 0. */
  startFromEpoch?: number;
}

interface State {
  wait: number;
  best: number | null;
  stopped: boolean;
}

const SUBJECT = 'callbacks.earlyStopping';

/** Stops training when a number has stopped improving; the rules are Keras's. */
class EarlyStopping implements Callback {
  readonly stateKey: string;
  private readonly monitor: Monitor;
  private readonly patience: number;
  private readonly baseline: number | undefined;
  private readonly restore: boolean;
  private readonly startFromEpoch: number;
  private model: CallbackModel | undefined;
  private wait = 0;
  private best: number | undefined;
  private stopped = false;
  private bestWeights: ReadonlyMap<string, WeightValues> | undefined;

  constructor(options: EarlyStoppingOptions) {
    const known = [
      'monitor',
      'mode',
      'minDelta',
      'patience',
      'baseline',
      'restoreBestWeights',
      'startFromEpoch',
    ] as const;
    const o = readConfig(options, known, SUBJECT) as EarlyStoppingOptions;
    this.monitor = new Monitor(SUBJECT, o);
    this.stateKey = `earlyStopping ${this.monitor.name}`;
    this.patience = epochs(`${SUBJECT}: patience`, o.patience, 0);
    this.startFromEpoch = epochs(`${SUBJECT}: startFromEpoch`, o.startFromEpoch, 0);
    this.baseline = o.baseline;
    this.restore = o.restoreBestWeights ?? false;
  }

  onTrainBegin(model: CallbackModel, params: TrainingParams): void {
    this.model = model;
    this.monitor.begin(params);
    this.wait = 0;
    this.best = undefined;
    this.stopped = false;
    this.bestWeights = undefined;
  }

  async onEpochEnd(epoch: number, logs: Logs): Promise<void> {
    const value = this.monitor.read(SUBJECT, logs);
    if (epoch < this.startFromEpoch) return;
    const improved = this.monitor.improves(value, this.best);
    if (this.restore && (improved || !this.bestWeights))
      this.bestWeights = await (this.model as CallbackModel).getWeights();
    this.wait++;
    if (improved) {
      this.best = value;
      if (this.baseline === undefined || this.monitor.improves(value, this.baseline)) this.wait = 0;
      return;
    }
    if (this.wait >= this.patience && epoch > 0) this.stop();
  }

  private stop(): void {
    this.stopped = true;
    (this.model as CallbackModel).stopTraining = true;
  }

  async onTrainEnd(_logs: Logs, error?: unknown): Promise<void> {
    // A fit that was aborted or has failed has not ended: the model keeps what it has learned.
    if (error === undefined && this.bestWeights) await this.model?.setWeights(this.bestWeights);
  }

  getState(): State {
    return { wait: this.wait, best: this.best ?? null, stopped: this.stopped };
  }

  getArrays(): ReadonlyMap<string, WeightValues> {
    return this.bestWeights ?? new Map();
  }

  setState(state: unknown, arrays: ReadonlyMap<string, WeightValues>): void {
    const { wait, best, stopped } = state as State;
    this.wait = wait;
    this.best = best ?? undefined;
    this.bestWeights = this.restore && arrays.size > 0 ? arrays : undefined;
    // The run that wrote this had ended: not another epoch, unless it is now given more patience.
    if (stopped && wait >= this.patience) this.stop();
  }
}

export function earlyStopping(options: EarlyStoppingOptions = {}): Callback {
  return new EarlyStopping(options);
}
