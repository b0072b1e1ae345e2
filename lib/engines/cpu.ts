import { DeepRnnError, quoted, reasonOf, refuse } from '../errors';
import { loadAddon } from './addon';
import type { Engine } from './engine';
import { type NativeSession, openSession } from './native';

/** What `deeprnn-cpu.node` exports. */
interface CpuAddon {
  Session: new (options: { threads?: number }) => NativeSession;
  info(): CpuInfo;
}

export interface CpuInfo {
  /** The instruction set whose kernels run. */
  readonly isa: string;
  readonly availableIsas: readonly string[];
  readonly threads: number;
}

/** Facts of the CPU engine, or why it cannot be used. */
export function cpuInfo(): CpuInfo | { readonly reason: string } {
  const found = loadAddon('cpu');
  if ('reason' in found) return found;
  try {
    return (found.addon as CpuAddon).info();
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

/** @throws ERR_DEVICE when the addon cannot be loaded, with all that was tried and the way out */
export function cpuEngine(): Engine {
  const found = loadAddon('cpu');
  if ('reason' in found) throw new DeepRnnError('ERR_DEVICE', `device 'cpu' cannot be used: ${found.reason}`);
  const addon = found.addon as CpuAddon;
  return {
    name: 'cpu',
    createSession: ({ threads, precision = 'fp32' } = {}) => {
      if (precision !== 'fp32') refuse('ERR_VALUE', 'precision', "'fp32' on device 'cpu'", quoted(precision));
      return openSession('cpu', () => new addon.Session(threads === undefined ? {} : { threads }));
    },
  };
}
