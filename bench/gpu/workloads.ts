// What is measured, shared with pytorch.py through workloads.json, and the way to the parts of the library under its public face.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** D features, layers of H units from the bottom up, T steps, N examples. */
export interface Workload {
  readonly name: string;
  readonly cell: 'simpleRnn' | 'lstm' | 'gru';
  readonly D: number;
  readonly H: readonly number[];
  readonly T: number;
  readonly N: number;
  /** Also measured through the public API, from arrays on the host. */
  readonly api?: boolean;
}

/** Classes of the head that a training step ends in. */
export const CLASSES = 10;

const here = createRequire(__filename);
const root = path.dirname(here.resolve('deeprnn/package.json'));

/** A built module of the library that its package does not export: a plan can be timed only beneath the models. */
export function inside<Module>(module: string): Module {
  return here(path.join(root, 'dist', module)) as Module;
}

/** The workloads whose names contain `only`; `tiny` keeps their layers and shrinks every size, to prove the way through. */
export function readWorkloads(only: string, tiny: boolean): Workload[] {
  const file = path.join(root, 'bench', 'gpu', 'workloads.json');
  const all = JSON.parse(readFileSync(file, 'utf8')) as Workload[];
  return all
    .filter(({ name }) => name.includes(only))
    .map((w) => (tiny ? { ...w, D: 5, H: w.H.map((units) => units / 32), T: 3, N: 2 } : w));
}
