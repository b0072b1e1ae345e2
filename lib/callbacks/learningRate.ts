import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { Callback, CallbackModel, Logs, TrainingParams } from './callback';
import { epochs, Monitor, type MonitorOptions } from './monitor';

export interface ReduceLROnPlateauOptions extends MonitorOptions {
  /** What the rate is multiplied by. Default 0.1. */
  factor?: number;
  /** Epochs without improvement before that. Default 10. */
  patience?: number;
  /** Epochs to wait afterwards. Default 0. */
  cooldown?: number;
  /** The rate never goes below this. Default 0. */
  minLR?: number;
}

const PLATEAU = 'callbacks.reduceLROnPlateau';

/** Lowers the learning rate when a number has stopped improving. Default minDelta 1e-4, as in Keras. */
class ReduceLROnPlateau implements Callback {
  readonly stateKey: string;
  private readonly monitor: Monitor;
  private readonly factor: number;
  private readonly patience: number;
  private readonly cooldown: number;
  private readonly minLR: number;
  private model: CallbackModel | undefined;
  private best: number | undefined;
  private wait = 0;
  private cooling = 0;

  constructor(options: ReduceLROnPlateauOptions) {
    const known = ['monitor', 'mode', 'minDelta', 'factor', 'patience', 'cooldown', 'minLR'] as const;
    const o = readConfig(options, known, PLATEAU) as ReduceLROnPlateauOptions;
    this.monitor = new Monitor(PLATEAU, { ...o, minDelta: o.minDelta ?? 1e-4 });
    this.stateKey = `reduceLROnPlateau ${this.monitor.name}`;
    this.factor = o.factor ?? 0.1;
    if (!(this.factor > 0 && this.factor < 1))
      refuse('ERR_VALUE', `${PLATEAU}: factor`, 'a number above 0 and below 1', o.factor);
    this.patience = epochs(`${PLATEAU}: patience`, o.patience, 10);
    this.cooldown = epochs(`${PLATEAU}: cooldown`, o.cooldown, 0);
    this.minLR = o.minLR ?? 0;
    if (!(this.minLR >= 0)) refuse('ERR_VALUE', `${PLATEAU}: minLR`, 'a number, 0 or more', o.minLR);
  }

  onTrainBegin(model: CallbackModel, params: TrainingParams): void {
    this.model = model;
    this.monitor.begin(params);
    this.best = undefined;
    this.wait = 0;
    this.cooling = 0;
  }

  onEpochEnd(_epoch: number, logs: Logs): void {
    const value = this.monitor.read(PLATEAU, logs);
    const model = this.model as CallbackModel;
    logs['learningRate'] = model.learningRate;
    if (this.cooling > 0) {
      this.cooling--;
      this.wait = 0;
    }
    if (this.monitor.improves(value, this.best)) {
      this.best = value;
      this.wait = 0;
    } else if (this.cooling === 0 && ++this.wait >= this.patience) {
      const rate = model.learningRate;
      if (rate > this.minLR) {
        model.learningRate = Math.max(rate * this.factor, this.minLR);
        this.cooling = this.cooldown;
        this.wait = 0;
      }
    }
  }

  getState(): unknown {
    return { best: this.best ?? null, wait: this.wait, cooling: this.cooling };
  }

  setState(state: unknown): void {
    const { best, wait, cooling } = state as { best: number | null; wait: number; cooling: number };
    this.best = best ?? undefined;
    this.wait = wait;
    this.cooling = cooling;
  }
}

export function reduceLROnPlateau(options: ReduceLROnPlateauOptions = {}): Callback {
  return new ReduceLROnPlateau(options);
}

/** Sets the learning rate at the start of every epoch to what `rate(epoch, current)` gives. */
export function learningRateScheduler(rate: (epoch: number, current: number) => number): Callback {
  const subject = 'callbacks.learningRateScheduler';
  if (typeof rate !== 'function')
    refuse('ERR_VALUE', subject, 'a function of epoch and current rate', quoted(rate));
  let model: CallbackModel | undefined;
  return {
    onTrainBegin(m) {
      model = m;
    },
    onEpochBegin(epoch) {
      if (model) model.learningRate = rate(epoch, model.learningRate);
    },
    onEpochEnd(_epoch, logs) {
      if (model) logs['learningRate'] = model.learningRate;
    },
  };
}
