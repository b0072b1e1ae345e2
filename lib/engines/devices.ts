import { availableParallelism, totalmem } from 'node:os';
import { DeepRnnError, refuse } from '../errors';
import { loadAddon } from './addon';
import { cpuEngine, cpuInfo } from './cpu';
import type { Engine, EngineName } from './engine';
import { referenceEngine } from './reference';

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
  /** The instruction set in use, e.g. `avx512`. */
  readonly instructionSet?: string;
  readonly threads?: number;
}

/** All engines of this library on this machine, usable or not. Never throws. */
export function devices(): Device[] {
  return [
    cpuDevice(),
    cudaDevice(),
    { device: 'reference', engine: 'reference', available: true, name: 'TypeScript, float64', threads: 1 },
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
  };
}

function cudaDevice(): Device {
  const found = loadAddon('cuda');
  return {
    device: 'cuda',
    engine: 'cuda',
    available: false,
    reason: 'reason' in found ? found.reason : 'This version of deeprnn has no CUDA engine yet.',
  };
}

/**
 * The engine for a device name; by default the one that the environment variable DEEPRNN_DEVICE names, else `'cpu'`.
 * @throws ERR_DEVICE when it cannot be used, with the reason; ERR_VALUE for a name that means nothing
 */
export function createEngine(device: string = process.env['DEEPRNN_DEVICE'] || 'cpu'): Engine {
  if (device === 'reference') return referenceEngine;
  if (device === 'cpu') return cpuEngine();
  if (/^cuda(:\d+)?$/.test(device)) {
    throw new DeepRnnError('ERR_DEVICE', `device '${device}' cannot be used: ${cudaDevice().reason}`);
  }
  return refuse('ERR_VALUE', 'device', "'cpu', 'cuda', 'cuda:<number>' or 'reference'", `'${device}'`);
}
