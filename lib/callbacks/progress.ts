import type { SingleBar } from 'cli-progress';
import { readConfig } from '../config';
import { refuse } from '../errors';
import type { Callback, Logs, TrainingParams } from './callback';

export interface ProgressOptions {
  /** `'bar'` a live bar, `'lines'` plain lines; `'auto'` (default): a bar on a terminal, lines elsewhere. */
  mode?: 'auto' | 'bar' | 'lines';
  /** Default: standard error, so that it never mixes with what a program prints. */
  stream?: NodeJS.WriteStream;
  /** Columns of the bar. Default 24. */
  width?: number;
}

/** Time between two lines within an epoch when there is no terminal. */
const LINE_EVERY_MS = 10_000;

/** `12 s`, `3 min 05 s`, `1 h 02 min`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`;
}

function numbers(logs: Logs): string {
  return Object.entries(logs)
    .map(
      ([name, value]) =>
        `${name} ${Math.abs(value) >= 1e-3 || value === 0 ? value.toFixed(4) : value.toExponential(2)}`,
    )
    .join('  ');
}

/** Shows how training goes: epoch, batches, loss and metrics, time a step and time left. */
class Progress implements Callback {
  private readonly live: boolean;
  private readonly stream: NodeJS.WriteStream;
  private readonly width: number;
  private bar: SingleBar | undefined;
  private params: TrainingParams | undefined;
  private epoch = 0;
  private trainStart = 0;
  private epochStart = 0;
  private lastLine = 0;
  private done = 0;
  private stepsBefore = 0;

  constructor(options: ProgressOptions) {
    const {
      mode = 'auto',
      stream = process.stderr,
      width = 24,
    } = readConfig(options, ['mode', 'stream', 'width'], 'callbacks.progress') as ProgressOptions;
    if (!['auto', 'bar', 'lines'].includes(mode))
      refuse('ERR_VALUE', 'callbacks.progress: mode', "'auto', 'bar' or 'lines'", `'${mode}'`);
    this.stream = stream;
    this.width = width;
    this.live = mode === 'bar' || (mode === 'auto' && stream.isTTY === true);
  }

  onTrainBegin(_model: unknown, params: TrainingParams): void {
    this.params = params;
    this.trainStart = performance.now();
    this.stepsBefore = 0;
  }

  onEpochBegin(epoch: number): void {
    this.epoch = epoch;
    this.done = 0;
    this.epochStart = this.lastLine = performance.now();
    if (!this.live) return;
    const total = this.params?.stepsPerEpoch;
    // Loaded by those who look at a bar, not by every service.
    const { SingleBar: Bar } = require('cli-progress') as typeof import('cli-progress');
    this.bar = new Bar({
      stream: this.stream,
      barsize: this.width,
      format: total
        ? '{title} {bar} {value}/{total}  {logs}  {pace}  {left}'
        : '{title} {value}  {logs}  {pace}',
      barCompleteChar: '━',
      barIncompleteChar: '─',
      hideCursor: true,
      fps: 10,
    });
    this.bar.start(total ?? 1, 0, { title: this.title, logs: '', pace: '', left: '' });
  }

  onBatchEnd(batch: number, logs: Logs): void {
    this.done = batch + 1;
    this.stepsBefore++;
    const now = performance.now();
    if (this.bar) {
      this.bar.update(this.done, { logs: numbers(logs), pace: this.pace(now), left: this.left(now) });
    } else if (now - this.lastLine >= LINE_EVERY_MS) {
      this.lastLine = now;
      const total = this.params?.stepsPerEpoch;
      this.line(
        `${this.title} ${this.done}${total ? `/${total}` : ''}  ${numbers(logs)}  ${this.pace(now)}  ${this.left(now)}`,
      );
    }
  }

  onEpochEnd(_epoch: number, logs: Logs): void {
    const now = performance.now();
    this.stopBar(now, logs);
    if (!this.live)
      this.line(`${this.title} ${this.done} steps  ${numbers(logs)}  ${this.pace(now)}  ${this.left(now)}`);
  }

  /** Also after an error or an abort: gives the cursor back. */
  onTrainEnd(): void {
    this.bar?.stop();
    this.bar = undefined;
  }

  private stopBar(now: number, logs: Logs): void {
    if (!this.bar) return;
    this.bar.update(this.done, {
      logs: numbers(logs),
      pace: this.pace(now),
      left: duration((now - this.epochStart) / 1000),
    });
    this.bar.stop();
    this.bar = undefined;
  }

  private get title(): string {
    return `epoch ${this.epoch + 1}/${this.params?.epochs ?? '?'}`;
  }

  private pace(now: number): string {
    return `${((now - this.epochStart) / Math.max(1, this.done)).toFixed(2)} ms/step`;
  }

  /** Time left in all epochs at the pace so far, where their length is known. */
  private left(now: number): string {
    const { stepsPerEpoch, epochs } = this.params ?? { stepsPerEpoch: null, epochs: 0 };
    if (stepsPerEpoch === null) return '';
    const steps = (epochs - this.epoch) * stepsPerEpoch - this.done;
    return `${duration(((now - this.trainStart) / 1000 / Math.max(1, this.stepsBefore)) * steps)} left`;
  }

  private line(text: string): void {
    this.stream.write(`${text.trimEnd()}\n`);
  }
}

export function progress(options: ProgressOptions = {}): Callback {
  return new Progress(options);
}
