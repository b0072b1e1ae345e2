// Proves that a peer computes what this library does: the same weights and data give the same outputs and the same losses of the
// training steps that follow.
import type { Seat } from './contenders';
import type { CheckResult } from './worker';
import { checked } from './workloads';

const STEPS = 3;
/** Probabilities and losses of float32 networks this small agree to a few units in the last place. */
const TOLERANCE = 1e-5;
const TIMEOUT = 30_000;

/** The largest difference, NaN where anything is. @throws Error when the lengths differ */
export function largestDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length || a.length === 0)
    throw new Error(`expected ${a.length} numbers to compare, got ${b.length}`);
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));
}

/** The largest difference found. @throws Error when one is too large */
export async function crossCheck(ours: Seat, peer: Seat): Promise<number> {
  let worst = 0;
  for (const workload of checked) {
    const steps = workload.modes.includes('train') ? STEPS : 0;
    const { given, ...own } = await (await ours.open()).ask('check', { workload, steps }, TIMEOUT);
    if (!given) throw new Error('no weights were given');
    const theirs = await (await peer.open()).ask('check', { workload, steps, given }, TIMEOUT);
    const all = ({ y, losses }: CheckResult) => [...y, ...losses];
    const difference = largestDifference(all(own), all(theirs));
    if (!(difference <= TOLERANCE))
      throw new Error(
        `${workload.name}: outputs or losses differ by ${difference} from ${peer.contender.title}`,
      );
    worst = Math.max(worst, difference);
  }
  return worst;
}
