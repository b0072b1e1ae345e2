// What a run leaves behind, as JSON in bench/results/.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Machine } from './machine';
import { root } from './paths';
import type { Outcome } from './rounds';
import type { Mode, Workload } from './workloads';

export interface Row {
  readonly workload: Workload;
  readonly mode: Mode;
  readonly flops: number;
  /** By the contender's name, ours among them. */
  readonly outcomes: Readonly<Record<string, Outcome>>;
}

export interface CpuResults {
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly threads: number;
  /** Rounds, and what a turn should take, ms. */
  readonly rounds: number;
  readonly turn: number;
  /** GFLOP/s. */
  readonly fmaPeak: number | { readonly reason: string };
  /** Version of each contender that was measured, or why it was not. */
  readonly contenders: Readonly<Record<string, { readonly version: string } | { readonly reason: string }>>;
  /** The largest difference between outputs and losses of the same small networks here and in PyTorch, or why it is not known. */
  readonly difference: number | { readonly reason: string };
  readonly rows: readonly Row[];
}

const folder = path.join(root, 'bench', 'results');

/** Writes a text file whole or not at all. */
export function writeWhole(file: string, text: string): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.tmp`, text);
  renameSync(`${file}.tmp`, file);
}

/** Writes results of a kind under their date, or those of part of a benchmark, where the next ones replace them. Gives the file's path. */
export function writeResults(
  kind: 'cpu' | 'cost' | 'earlier',
  results: { readonly date: string },
  whole: boolean,
): string {
  const file = path.join(folder, `${kind}-${whole ? results.date.slice(0, 10) : 'part'}.json`);
  writeWhole(file, `${JSON.stringify(results, null, 1)}\n`);
  return path.relative(root, file);
}

/** The newest results of a kind, or undefined where there are none. */
export function newestResults<R>(kind: 'cpu' | 'cost'): R | undefined {
  const dated = new RegExp(`^${kind}-\\d{4}-\\d\\d-\\d\\d\\.json$`);
  const names = existsSync(folder) ? readdirSync(folder) : [];
  const newest = names
    .filter((name) => dated.test(name))
    .sort()
    .at(-1);
  return newest === undefined
    ? undefined
    : (JSON.parse(readFileSync(path.join(folder, newest), 'utf8')) as R);
}
