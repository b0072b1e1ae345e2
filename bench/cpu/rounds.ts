// Times contenders in turns, never two at once: what slows the machine down for a while then slows down all of them.
import type { Seat } from './contenders';
import { type Summary, summarize } from './statistics';
import type { Worker } from './worker';
import type { Mode, Workload } from './workloads';

/** What came of one contender: its times, or why it has none. */
export type Outcome = (Summary & { readonly note?: string }) | { readonly reason: string };

export interface Pace {
  readonly rounds: number;
  /** What a turn should take, ms. */
  readonly turn: number;
  /** The longest that preparing may take, ms. */
  readonly patience: number;
}

/** The rounds that a contender takes part in, one run of which takes so many milliseconds: slow ones have their say in few. */
export function roundsOf(milliseconds: number, { rounds, turn }: Pace): number {
  const fewer = milliseconds < 3 * turn ? rounds : milliseconds < 10 * turn ? 3 : 1;
  return Math.min(rounds, fewer);
}

interface Runner {
  readonly seat: Seat;
  readonly worker: Worker;
  readonly rounds: number;
  readonly times: number[];
  readonly note: string | undefined;
}

const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
/** Threads of some libraries go on spinning for a while after a run; those of ONNX Runtime for some 30 ms. */
const PAUSE = 60;

/** Times all seats at one workload; the outcome of each by its name. */
export async function compete(
  seats: readonly Seat[],
  workload: Workload,
  mode: Mode,
  pace: Pace,
): Promise<Record<string, Outcome>> {
  const outcomes: Record<string, Outcome> = {};
  let runners: Runner[] = [];
  const fail = (seat: Seat, error: unknown) => {
    outcomes[seat.contender.name] = { reason: reasonOf(error) };
    // A library that has run out of memory may fail at all that follows: the next network finds a fresh process.
    seat.close();
  };
  for (const seat of seats) {
    try {
      const worker = await seat.open();
      const { milliseconds, note } = await worker.ask('prepare', { workload, mode }, pace.patience);
      runners.push({ seat, worker, rounds: roundsOf(milliseconds, pace), times: [], note });
    } catch (error) {
      fail(seat, error);
    }
  }
  for (let round = 0; round < pace.rounds; round++) {
    // Another one begins each time, so that nobody always runs behind the same one.
    const order = runners.map((_, i) => runners[(i + round) % runners.length] as Runner);
    for (const runner of order.filter(({ rounds }) => round < rounds)) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
      try {
        const timeout = pace.patience + 10 * pace.turn;
        runner.times.push(...(await runner.worker.ask('run', { milliseconds: pace.turn }, timeout)).times);
      } catch (error) {
        fail(runner.seat, error);
        runners = runners.filter((other) => other !== runner);
      }
    }
  }
  for (const { seat, times, note } of runners) {
    outcomes[seat.contender.name] = { ...summarize(times), ...(note === undefined ? {} : { note }) };
  }
  return outcomes;
}
