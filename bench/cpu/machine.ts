// On what it was measured.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from './paths';

export interface Machine {
  readonly cpu: string;
  /** Processors that the process may use. */
  readonly processors: number;
  /** GiB. */
  readonly memory: number;
  /** Platform and architecture. */
  readonly system: string;
  readonly node: string;
  /** Of this library; `+` after it where files had been changed since. */
  readonly commit: string;
  /** Load average of a minute before the start: what else was running. */
  readonly load: number;
}

const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();

function commit(): string {
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', 'lib', 'native', 'bench');
    return git('rev-parse', '--short=10', 'HEAD') + (changed === '' ? '' : '+');
  } catch {
    return 'unknown';
  }
}

export function machine(): Machine {
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    processors: os.availableParallelism(),
    memory: Math.round(os.totalmem() / 2 ** 30),
    system: `${process.platform}-${process.arch}`,
    node: process.version,
    commit: commit(),
    load: os.loadavg()[0] as number,
  };
}

/** A sentence for where other programs were running before the measurement began, or nothing. */
export function noteOnLoad({ load, processors }: Machine): string {
  if (load <= 0.25 * processors) return '';
  return `Other programs kept this machine busy (load ${load.toFixed(1)}): times are too long, and ratios are not to be trusted.`;
}

/** What the cores can do at most in float32, GFLOP/s, or why that is not known: it needs a compiler for this very machine. */
export function fmaPeak(threads: number): number | { readonly reason: string } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'deeprnn-bench-'));
  try {
    const program = path.join(folder, 'fma_peak');
    const source = path.join(root, 'bench', 'cpu', 'fma_peak.cpp');
    const flags = ['-O3', '-march=native', '-ffp-contract=fast', '-pthread', '-std=c++17'];
    execFileSync(process.env['CXX'] ?? 'c++', [...flags, source, '-o', program], { stdio: 'pipe' });
    return Number.parseFloat(execFileSync(program, [`${threads}`], { encoding: 'utf8', timeout: 60_000 }));
  } catch (error) {
    return { reason: error instanceof Error ? (error.message.split('\n')[0] as string) : String(error) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
