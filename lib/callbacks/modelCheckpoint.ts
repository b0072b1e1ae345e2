import { rm } from 'node:fs/promises';
import { readConfig } from '../config';
import { refuse } from '../errors';
import type { Callback, CallbackModel, Logs, TrainingParams } from './callback';
import { Monitor, type MonitorOptions } from './monitor';
import { checkTemplate, fillIn } from './pathTemplate';

export interface ModelCheckpointOptions extends MonitorOptions {
  /**
   * The file; `{epoch}` (counted from 1) and names of the logs are filled in, `{val_loss:4}` with four decimals. Keras's
   * `{epoch:02d}` and `{val_loss:.4f}` do as well.
   */
  path: string;
  /** Only when the monitored number has improved. Default false. */
  saveBestOnly?: boolean;
  /** After every epoch (default), or after every n batches. */
  saveFreq?: 'epoch' | number;
  /** Keep all that `fit({ resumeFrom })` needs to go on bit for bit. Default true. */
  checkpoint?: boolean;
  /** Files to keep, the newest; older ones are deleted. Default: all. */
  keep?: number;
}

const SUBJECT = 'callbacks.modelCheckpoint';

/** Saves the model while it is trained. */
class ModelCheckpoint implements Callback {
  readonly last = true;
  readonly stateKey: string;
  private readonly monitor: Monitor;
  private readonly options: ModelCheckpointOptions;
  private model: CallbackModel | undefined;
  private epoch = 0;
  private batches = 0;
  private best: number | undefined;
  private written: string[] = [];

  constructor(options: ModelCheckpointOptions) {
    const known = [
      'path',
      'monitor',
      'mode',
      'minDelta',
      'saveBestOnly',
      'saveFreq',
      'checkpoint',
      'keep',
    ] as const;
    const o = readConfig(options, known, SUBJECT) as unknown as ModelCheckpointOptions;
    checkTemplate(`${SUBJECT}: path`, o.path);
    const { saveFreq = 'epoch', keep } = o;
    if (saveFreq !== 'epoch' && !(Number.isSafeInteger(saveFreq) && saveFreq >= 1)) {
      refuse('ERR_VALUE', `${SUBJECT}: saveFreq`, "'epoch' or a number of batches", saveFreq);
    }
    if (keep !== undefined && !(Number.isSafeInteger(keep) && keep >= 1))
      refuse('ERR_VALUE', `${SUBJECT}: keep`, 'a positive integer', keep);
    this.options = o;
    this.monitor = new Monitor(SUBJECT, o);
    this.stateKey = `modelCheckpoint ${o.path}`;
  }

  onTrainBegin(model: CallbackModel, params: TrainingParams): void {
    this.model = model;
    this.monitor.begin(params);
    this.best = undefined;
    this.batches = 0;
    this.written = [];
  }

  onEpochBegin(epoch: number): void {
    this.epoch = epoch;
  }

  async onBatchEnd(_batch: number, logs: Logs): Promise<void> {
    const { saveFreq } = this.options;
    this.batches++;
    if (typeof saveFreq === 'number' && this.batches % saveFreq === 0) await this.save(logs);
  }

  async onEpochEnd(_epoch: number, logs: Logs): Promise<void> {
    if ((this.options.saveFreq ?? 'epoch') === 'epoch') await this.save(logs);
  }

  private async save(logs: Logs): Promise<void> {
    if (this.options.saveBestOnly) {
      const value = this.monitor.read(SUBJECT, logs);
      if (!this.monitor.improves(value, this.best)) return;
      this.best = value;
    }
    const file = fillIn(`${SUBJECT}: path`, this.options.path, { epoch: this.epoch + 1, ...logs });
    this.written = [...this.written.filter((f) => f !== file), file];
    await this.model?.save(file, { checkpoint: this.options.checkpoint ?? true });
    const { keep } = this.options;
    while (keep !== undefined && this.written.length > keep)
      await rm(this.written.shift() as string, { force: true });
  }

  getState(): unknown {
    return { best: this.best ?? null, batches: this.batches, written: this.written };
  }

  setState(state: unknown): void {
    const { best, batches, written } = state as { best: number | null; batches: number; written: string[] };
    this.best = best ?? undefined;
    this.batches = batches;
    this.written = [...written];
  }
}

export function modelCheckpoint(options: ModelCheckpointOptions): Callback {
  return new ModelCheckpoint(options);
}
