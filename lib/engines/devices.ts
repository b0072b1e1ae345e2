import { availableParallelism, totalmem } from 'node:os';
import { refuse } from '../errors';
import { cpuEngine, cpuInfo } from './cpu';
import { type CudaDevice, cudaEngine, cudaInfo } from './cuda';
import { type Engine, type EngineName, enginePrecisions, type Precision } from './engine';

/** One place where models can run, or the reason why it cannot be used. */
export interface Device {
  /** What `compile({ device })` takes. */
  readonly device: string;
  readonly engine: EngineName;
  readonly available: boolean;
  /** Why it cannot be used, and what would help. Only when not available. */
  readonly reason?: string;
  readonly name?: string;
  /** Bytes of memory. */
  readonly memory?: number;
  /** Of a CUDA device, e.g. `GPU-01234567-…`; `cuda:<UUID>` names it whatever its number. */
  readonly uuid?: string;
  /** Of a CUDA device, e.g. `9.0`. */
  readonly computeCapability?: string;
  /** The instruction set in use, e.g. `avx512bf16`. */
  readonly instructionSet?: string;
  readonly threads?: number;
  /** What `compile({ precision })` takes. Only when available. */
  readonly precisions?: readonly Precision[];
}

/** All engines of this library on this machine, usable or not. Never throws. */
export function devices(): Device[] {
  return [
    cpuDevice(),
    ...cudaDevices(),
    {
      device: 'reference',
      engine: 'reference',
      available: true,
      name: 'TypeScript, float64',
      threads: 1,
      precisions: enginePrecisions.reference,
    },
  ];
}

function cpuDevice(): Device {
  const info = cpuInfo();
  if ('reason' in info) return { device: 'cpu', engine: 'cpu', available: false, reason: info.reason };
  return {
    device: 'cpu',
    engine: 'cpu',
    available: true,
    name: 'C++',
    memory: totalmem(),
    instructionSet: info.isa,
    threads: info.threads ?? availableParallelism(),
    precisions: enginePrecisions.cpu,
  };
}

/** A device that is there, though perhaps for a reason of no use. */
type ListedDevice = CudaDevice & { readonly reason?: string };

function cudaDevices(): Device[] {
  const info = cudaInfo();
  if ('reason' in info) return [{ device: 'cuda', engine: 'cuda', available: false, reason: info.reason }];
  return info.devices.map(({ index, reason, name, uuid, memory, computeCapability }: ListedDevice) => ({
    device: `cuda:${index}`,
    engine: 'cuda',
    available: reason === undefined,
    ...(reason === undefined ? { precisions: enginePrecisions.cuda } : { reason }),
    name,
    uuid,
    memory,
    computeCapability,
  }));
}

/** Loaded when it is asked for: a service has no use for the oracle. */
const reference = () => (require('./reference') as typeof import('./reference')).referenceEngine;

/**
 * The engine for a device name; by default the one that the environment variable DEEPRNN_DEVICE names, else `'cpu'`.
 * @throws ERR_DEVICE when it cannot be used, with the reason; ERR_VALUE for a name that means nothing
 */
export function createEngine(device: string = process.env['DEEPRNN_DEVICE'] || 'cpu'): Engine {
  if (device === 'reference') return reference();
  if (device === 'cpu') return cpuEngine();
  const cuda = /^cuda(?::(\d+|GPU-[\da-f-]+))?$/.exec(device);
  if (cuda) return cudaEngine(cuda[1] ?? '0');
  return refuse(
    'ERR_VALUE',
    'device',
    "'cpu', 'cuda', 'cuda:<number or UUID>' or 'reference'",
    `'${device}'`,
  );
}
