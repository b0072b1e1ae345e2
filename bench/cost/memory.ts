import { ours, peers, Seat } from '../cpu/contenders';
import { workload } from '../cpu/workloads';

/** The largest resident set of a process, bytes: with the library loaded, and once it has trained. */
export interface Memory {
  readonly loaded: number;
  readonly trained: number;
}

const TIMEOUT = 60_000;
const TRAINING = 500; // ms
export const trainedNetwork = workload('lstm', [512, 512], [256, 32, 64]);

async function peakOf(seat: Seat): Promise<Memory> {
  try {
    const worker = await seat.open();
    const { peak: loaded } = await worker.ask('memory', {}, TIMEOUT);
    await worker.ask('prepare', { workload: trainedNetwork, mode: 'train' }, TIMEOUT);
    await worker.ask('run', { milliseconds: TRAINING }, TIMEOUT);
    const { peak: trained } = await worker.ask('memory', {}, TIMEOUT);
    return { loaded, trained };
  } finally {
    seat.close();
  }
}

/** Memory of training the same network here and in PyTorch, or why that is not known of PyTorch. */
export async function measureMemory(threads: number): Promise<Record<string, Memory | { reason: string }>> {
  const found: Record<string, Memory | { reason: string }> = {};
  found[ours.name] = await peakOf(new Seat(ours, threads));
  for (const peer of peers.filter(({ name }) => name === 'pytorch')) {
    try {
      found[peer.name] = await peakOf(new Seat(peer, threads));
    } catch (error) {
      found[peer.name] = { reason: error instanceof Error ? error.message : String(error) };
    }
  }
  return found;
}
