import { type CostResults, costSection } from '../../../bench/cost/report';
import type { CpuResults, Row } from '../../../bench/cpu/results';
import type { Outcome } from '../../../bench/cpu/rounds';
import { between, cpuSection, figures, ratioOf } from '../../../bench/cpu/table';
import { workloads } from '../../../bench/cpu/workloads';

const took = (median: number): Outcome => ({ median, min: median / 2, max: median * 2, runs: 9 });
const rows: Row[] = [
  {
    workload: workloads[0]!,
    mode: 'train',
    flops: 30e6,
    outcomes: { deeprnn: took(2), pytorch: took(5), keras: { reason: 'Keras ended by itself' } },
  },
];
const results: CpuResults = {
  date: '2026-01-02T03:04:05.000Z',
  machine: { cpu: 'Any', processors: 2, memory: 8, system: 'linux-x64', node: 'v20', commit: 'abc', load: 0 },
  threads: 2,
  rounds: 7,
  turn: 300,
  fmaPeak: 150,
  contenders: { deeprnn: { version: '1' }, pytorch: { version: '2' }, keras: { reason: 'not installed' } },
  difference: 2e-7,
  rows,
};

test('a row holds our time, the ratio of each peer, the rate and its share of the peak', () => {
  const text = cpuSection(results);
  expect(text).toContain(
    '| SimpleRNN 64→32, D16 B64 T50 | train | 2.00 [1.00–4.00] | 5.00 (2.50×) | 15.0 | 10 % |',
  );
  expect(text).toContain('Keras (not measured: not installed)');
});

test('a peer without a time has no ratio', () => {
  expect(ratioOf(rows[0]!, 'pytorch')).toBe(2.5);
  expect(ratioOf(rows[0]!, 'keras')).toBeUndefined();
  expect(ratioOf(rows[0]!, 'tfjs')).toBeUndefined();
});

test('figures that count', () => {
  expect([0.03123, 1.049, 52.34, 1234.5].map(figures)).toEqual(['0.0312', '1.05', '52.3', '1235']);
});

test('only what stands between its markers is replaced', () => {
  const page = 'a\n<!-- x -->\nold\n<!-- /x -->\nb\n';
  expect(between(page, 'x', ' new ')).toBe('a\n<!-- x -->\nnew\n<!-- /x -->\nb\n');
  expect(() => between(page, 'y', 'new')).toThrow("'<!-- y -->'");
});

test('costs stand beside what is wanted of them', () => {
  const summary = (median: number) => ({ median, min: median, max: median, runs: 1 });
  const costs: CostResults = {
    ...results,
    loading: { bare: summary(40), library: summary(90), added: 50 },
    size: {
      packed: 2048,
      unpacked: 4096,
      addonPacked: 1024,
      addon: 2048,
      dependencies: { a: 1024, b: 2048 },
    },
    memory: {
      deeprnn: { loaded: 2 ** 25, trained: 2 ** 27 },
      pytorch: { loaded: 2 ** 27, trained: 2 ** 28 },
    },
    overhead: { network: 'N', api: summary(0.5), plan: summary(0.45), added: 0.05 },
    scaling: [{ network: 'N', mode: 'train', times: { 1: took(3), 2: took(2) } }],
    growth: [],
  };
  const text = costSection(costs);
  expect(text).toContain('| 50.0 ms (40.0 → 90.0) | under 60 ms |');
  expect(text).toContain("| 128 MiB (32 MiB once loaded) | at most PyTorch's: 0.50 of it |");
  expect(text).toContain('| 2 other packages that an install brings: files | 3 KiB |');
  expect(text).toContain('50 µs (`trainOnBatch` 500 µs, its plan alone 450 µs; of the fastest runs 50 µs)');
  expect(text).toContain('| N | train | 3.00 | 2.00 | 1.50× |');
  const noTorch = { ...costs, memory: { ...costs.memory, pytorch: { reason: 'not installed' } } };
  expect(costSection(noTorch)).toContain('not measured: not installed');
});
