// A contender: a process of its own, asked and answering in lines of JSON, one question at a time.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Mode, Workload } from './workloads';

/** Weights of a small network by `layer/weight`, as the library stores them; x [B, T, D]; labels [B, T]; all flat. */
export interface CheckData {
  readonly weights: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly data: readonly number[] }>
  >;
  readonly x: readonly number[];
  readonly labels: readonly number[];
}

/** Probabilities [B, T, 10], flat, and the losses of the training steps that followed. */
export interface CheckResult {
  readonly y: readonly number[];
  readonly losses: readonly number[];
}

/** What a worker is asked, and what it answers. It answers `{ error }` to what it cannot do. */
export interface Protocol {
  /** First of all. */
  start: { ask: { threads: number }; answer: { version: string } };
  /** Makes a network and its data, in place of those before, and warms up; `milliseconds` is what a run then takes. */
  prepare: { ask: { workload: Workload; mode: Mode }; answer: { milliseconds: number; note?: string } };
  /** Runs until so many milliseconds are over, once at least; times of the runs, ms. */
  run: { ask: { milliseconds: number }; answer: { times: number[] } };
  /** Outputs and losses of a network with given weights; ours, which makes them, is given none. */
  check: {
    ask: { workload: Workload; steps: number; given?: CheckData };
    answer: CheckResult & { given?: CheckData };
  };
  /** Largest resident set so far, bytes. */
  memory: { ask: object; answer: { peak: number } };
}

type Command = keyof Protocol;

/** What made a worker unusable: it ended, was too slow, or answered what is no answer. */
export class WorkerGone extends Error {}

export class Worker {
  private readonly child: ChildProcess;
  private waiting: { resolve(line: object): void; reject(error: Error): void } | undefined;
  /** Why it can be asked no more. */
  gone: WorkerGone | undefined;
  /** The end of what it wrote to stderr, to explain its end. */
  private complaint = '';

  constructor(
    readonly name: string,
    command: readonly [string, ...string[]],
    env: NodeJS.ProcessEnv = {},
  ) {
    const [file, ...args] = command;
    this.child = spawn(file, args, { stdio: 'pipe', env: { ...process.env, ...env } });
    this.child.on('error', (error) => this.end(`could not be started: ${error.message}`));
    this.child.on('close', (code, signal) => {
      const words = this.complaint.trim().split('\n').at(-1) ?? '';
      this.end(`ended by itself (${signal ?? `exit status ${code}`})${words && `: ${words}`}`);
    });
    this.child.stdin?.on('error', () => {}); // 'close' tells of it
    this.child.stderr?.on('data', (text) => {
      this.complaint = (this.complaint + text).slice(-4000);
    });
    // Lines that are no JSON objects are a library's own, not answers.
    if (this.child.stdout)
      createInterface({ input: this.child.stdout }).on('line', (line) => {
        const answer = parsed(line);
        if (answer) this.waiting?.resolve(answer);
      });
  }

  /** @throws WorkerGone when it has ended or does not answer in time; Error when it says why it cannot */
  async ask<C extends Command>(
    command: C,
    ask: Protocol[C]['ask'],
    timeout: number,
  ): Promise<Protocol[C]['answer']> {
    if (this.gone) throw this.gone;
    const clock = setTimeout(() => this.kill(`did not answer in ${timeout / 1000} s`), timeout);
    try {
      const answer = await new Promise<object>((resolve, reject) => {
        this.waiting = { resolve, reject };
        this.child.stdin?.write(`${JSON.stringify({ do: command, ...ask })}\n`);
      });
      if ('error' in answer) throw new Error(String(answer.error));
      return answer as Protocol[C]['answer'];
    } finally {
      clearTimeout(clock);
      this.waiting = undefined;
    }
  }

  kill(reason = 'was stopped'): void {
    this.end(reason);
    this.child.kill('SIGKILL');
  }

  private end(reason: string): void {
    this.gone ??= new WorkerGone(`${this.name} ${reason}`);
    this.waiting?.reject(this.gone);
  }
}

function parsed(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
