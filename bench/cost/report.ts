// Results of `npm run bench:cost` as a page's section and a chart.
import type { TopLevelSpec } from 'vega-lite';
import { colours } from '../cpu/chart';
import { type Machine, noteOnLoad } from '../cpu/machine';
import { figures, markdownTable } from '../cpu/table';
import type { Point, Scaling } from './growth';
import type { Loading } from './loading';
import { type Memory, trainedNetwork } from './memory';
import type { Overhead } from './overhead';
import type { Size } from './size';

export interface CostResults {
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly threads: number;
  readonly loading: Loading;
  readonly size: Size;
  /** By the library's name. */
  readonly memory: Readonly<Record<string, Memory | { readonly reason: string }>>;
  readonly overhead: Overhead;
  readonly scaling: readonly Scaling[];
  readonly growth: readonly Point[];
}

const kib = (bytes: number) => `${Math.round(bytes / 2 ** 10)} KiB`;
const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
const us = (milliseconds: number) => `${Math.round(1000 * milliseconds)} µs`;

function memoryOf(memory: Memory | { readonly reason: string } | undefined): string {
  if (!memory) return 'not measured';
  return 'reason' in memory
    ? `not measured: ${memory.reason}`
    : `${mib(memory.trained)} (${mib(memory.loaded)} once loaded)`;
}

export function costSection(results: CostResults): string {
  const { date, machine, threads, loading, size, memory, overhead, scaling } = results;
  const note = noteOnLoad(machine);
  const { deeprnn, pytorch } = memory;
  const dependencies = Object.values(size.dependencies).reduce((sum, bytes) => sum + bytes, 0);
  const count = Object.keys(size.dependencies).length;
  const comparison =
    deeprnn && pytorch && 'trained' in deeprnn && 'trained' in pytorch
      ? `at most PyTorch's: ${(deeprnn.trained / pytorch.trained).toFixed(2)} of it`
      : "at most PyTorch's";
  const rows = [
    [
      'Loading: what `require` adds to a bare start of Node',
      `${figures(loading.added)} ms (${figures(loading.bare.median)} → ${figures(loading.library.median)})`,
      'under 60 ms',
    ],
    ['Package: tarball (files)', `${kib(size.packed)} (${kib(size.unpacked)})`, ''],
    ['Addon of this platform: compressed (file)', `${kib(size.addonPacked)} (${kib(size.addon)})`, ''],
    [`${count} other packages that an install brings: files`, kib(dependencies), ''],
    [`Largest resident set, training ${trainedNetwork.name}`, memoryOf(deeprnn), comparison],
    ['The same in PyTorch', memoryOf(pytorch), ''],
    [
      `Outside the kernels in a training step, ${overhead.network}`,
      `${us(overhead.added)} (\`trainOnBatch\` ${us(overhead.api.median)}, its plan alone ${us(overhead.plan.median)}; of the fastest runs ${us(overhead.api.min - overhead.plan.min)})`,
      'under 60 µs',
    ],
  ];
  const scaled = scaling.flatMap(({ network, mode, times }) => {
    const [one, all] = [times['1'], times[`${threads}`]];
    if (!one || !all || 'reason' in one || 'reason' in all) return [];
    return [
      [network, mode, figures(one.median), figures(all.median), `${(one.median / all.median).toFixed(2)}×`],
    ];
  });
  return `${date.slice(0, 10)}, commit ${machine.commit}, ${machine.cpu} (${machine.processors} processors, ${machine.memory} GiB), ${threads} threads,
Node ${machine.node}. Medians.${note && ` ${note}`}

${markdownTable(['what', 'measured', 'wanted'], rows)}

${markdownTable(['network', '', '1 thread, ms', `${threads} threads, ms`, 'faster'], scaled)}

![Time against steps, units, batch and layers](images/bench-growth.svg)

An LSTM of 2 layers of 128 units, 64 features, a batch of 32 and 64 steps, of which one size is varied at a time.`;
}

/** Time against each size, both axes logarithmic. */
export function growthChart(points: readonly Point[]): TopLevelSpec {
  const values = points.flatMap(({ size, value, mode, outcome }) =>
    'median' in outcome
      ? [{ size, value, run: mode === 'infer' ? 'inference' : 'training step', ms: outcome.median }]
      : [],
  );
  return {
    background: 'white',
    config: { font: 'sans-serif' },
    data: { values },
    facet: { field: 'size', type: 'nominal', title: null, sort: null },
    columns: 4,
    spec: {
      width: 170,
      height: 170,
      mark: { type: 'line', point: true },
      encoding: {
        // Every size doubles from one value to the next.
        x: { field: 'value', type: 'ordinal', title: null, axis: { labelAngle: 0, labelFontSize: 9 } },
        y: { field: 'ms', type: 'quantitative', scale: { type: 'log' }, title: 'ms (logarithmic)' },
        color: { field: 'run', type: 'nominal', title: null, scale: { range: colours.slice(0, 2) } },
      },
    },
    resolve: { scale: { x: 'independent' } },
  };
}
