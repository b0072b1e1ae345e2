// Prints the tables of docs/profile.md: what the CUDA engine is expected to take on an H100, and the figures that this comes from.
//
//   npm run estimate
import type { RungEstimate } from '../dist/models/estimate/cudaEstimate';
import { estimateOf } from './gpu/plans';
import { inside, type Workload } from './gpu/workloads';

const { BASIS, figures } =
  inside<typeof import('../dist/models/estimate/figures')>('models/estimate/figures');

const stack = (
  name: string,
  cell: Workload['cell'],
  H: number[],
  T: number,
  N: number,
  D: number,
): Workload => ({
  name: `${name}, T ${T}, N ${N}`,
  cell,
  D,
  H,
  T,
  N,
});
const stacks = [
  stack('SimpleRNN 64→32', 'simpleRnn', [64, 32], 50, 64, 16),
  stack('LSTM 1×256', 'lstm', [256], 128, 32, 256),
  stack('LSTM 2×512', 'lstm', [512, 512], 100, 64, 512),
  stack('LSTM 4×1024', 'lstm', [1024, 1024, 1024, 1024], 100, 64, 1024),
  stack('LSTM 1×2048', 'lstm', [2048], 50, 32, 2048),
  stack('LSTM 4×2048', 'lstm', [2048, 2048, 2048, 2048], 50, 32, 2048),
];

const milliseconds = (value: number) => value.toPrecision(3);
const cell = (rung: RungEstimate) => (rung.fits ? milliseconds(rung.milliseconds) : '–');
const row = (...columns: (string | number)[]) => console.log(`| ${columns.join(' | ')} |`);

row('stack', 'precision', 'run', 'a', 'b', 'c', 'd', 'taken', 'ms', 'most of it');
row('---', '---', '---', '---:', '---:', '---:', '---:', '---', '---:', '---');
for (const w of stacks) {
  for (const precision of ['fp32', 'tf32', 'bf16'] as const) {
    for (const mode of ['forward', 'step'] as const) {
      const { rungs, stacks: ops, milliseconds: taken, bound } = estimateOf(w, mode, precision);
      const chosen = ops.map((op) => op.chosen).join(', ');
      const { a, b, c, d } = rungs;
      row(w.name, precision, mode, cell(a), cell(b), cell(c), cell(d), chosen, milliseconds(taken), bound);
    }
  }
}

console.log(`\n${BASIS}:\n`);
row('figure', 'value', 'unit', 'source');
row('---', '---:', '---', '---');
for (const [name, { value, unit, source }] of Object.entries(figures)) row(name, value, unit, source);
