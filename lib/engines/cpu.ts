import { DeepRnnError, quoted, reasonOf, refuse } from '../errors';
import { loadAddon } from './addon';
import { checkPrecision, type Engine, type Precision } from './engine';
import { type NativeSession, openSession } from './native';

/** What `deeprnn-cpu.node` exports. */
interface CpuAddon {
  Session: new (options: { threads?: number; precision: Precision }) => NativeSession;
  info(): CpuInfo;
}

export interface CpuInfo {
  /** The instruction set whose kernels run. */
  readonly isa: string;
  readonly availableIsas: readonly string[];
  readonly threads: number;
}

/**
 * The environment variable DEEPRNN_NUM_THREADS is the addon's to read; one that it would pass over in silence is refused.
 * @throws ERR_VALUE
 */
function checkThreadsVariable(): void {
  const set = process.env['DEEPRNN_NUM_THREADS'];
  if (set === undefined || set === '') return;
  const threads = Number(set);
  if (!/^\d+$/.test(set) || threads < 1 || threads > 1024)
    refuse('ERR_VALUE', 'DEEPRNN_NUM_THREADS', 'an integer from 1 to 1024', quoted(set));
}

/** Facts of the CPU engine, or why it cannot be used. */
export function cpuInfo(): CpuInfo | { readonly reason: string } {
  const found = loadAddon('cpu');
  if ('reason' in found) return found;
  try {
    checkThreadsVariable();
    return (found.addon as CpuAddon).info();
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

/** @throws ERR_DEVICE when the addon cannot be loaded, with all that was tried and the way out */
export function cpuEngine(): Engine {
  const found = loadAddon('cpu');
  if ('reason' in found) throw new DeepRnnError('ERR_DEVICE', `device 'cpu' cannot be used: ${found.reason}`);
  checkThreadsVariable();
  const addon = found.addon as CpuAddon;
  return {
    name: 'cpu',
    createSession: ({ threads, precision = 'fp32' } = {}) => {
      checkPrecision('cpu', precision);
      const options = { precision, ...(threads === undefined ? {} : { threads }) };
      return openSession('cpu', () => new addon.Session(options));
    },
  };
}
