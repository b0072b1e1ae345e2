import { DeepRnnError, reasonOf } from '../errors';
import { loadAddon } from './addon';
import { checkPrecision, type Engine, type Precision } from './engine';
import { type NativeSession, openSession } from './native';

/** What `deeprnn-cuda.node` exports. */
interface CudaAddon {
  Session: new (options: { device: string; precision: Precision }) => NativeSession;
  info(): CudaInfo;
}

export interface CudaDevice {
  readonly index: number;
  readonly name: string;
  /** As nvidia-smi writes it. */
  readonly uuid: string;
  /** Bytes. */
  readonly memory: number;
  /** `'9.0'` */
  readonly computeCapability: string;
  readonly multiprocessors: number;
}

export interface CudaInfo {
  readonly devices: readonly CudaDevice[];
  /** CUDA versions of the driver and of the runtime that the addon is built with. */
  readonly driver: string;
  readonly runtime: string;
}

/** The devices of the CUDA engine, or why it cannot be used. */
export function cudaInfo(): CudaInfo | { readonly reason: string } {
  const found = loadAddon('cuda');
  if ('reason' in found) return found;
  try {
    return (found.addon as CudaAddon).info();
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

/**
 * @param device index or UUID among the devices that the process sees; `'0'` is the first
 * @throws ERR_DEVICE when the addon cannot be loaded; sessions throw it when the device cannot be used
 */
export function cudaEngine(device: string): Engine {
  const found = loadAddon('cuda');
  if ('reason' in found)
    throw new DeepRnnError('ERR_DEVICE', `device 'cuda' cannot be used: ${found.reason}`);
  const addon = found.addon as CudaAddon;
  return {
    name: 'cuda',
    createSession: ({ precision = 'fp32' } = {}) => {
      checkPrecision('cuda', precision);
      return openSession('cuda', () => new addon.Session({ device, precision }));
    },
  };
}
