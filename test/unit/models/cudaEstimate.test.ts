import { layers, losses, optimizers } from '../../../lib';
import type { Layer, SymbolicShape } from '../../../lib/layers/layer';
import { estimatePlan, type PlanEstimate, rungs } from '../../../lib/models/estimate/cudaEstimate';
import { h100 } from '../../../lib/models/estimate/figures';
import { chain } from '../../../lib/models/graph';
import { lower } from '../../../lib/models/lower';
import type { Plan } from '../../../lib/plan/types';

interface Net {
  readonly cell?: 'lstm' | 'gru' | 'simpleRNN';
  readonly H: readonly number[];
  readonly D?: number;
  readonly T: number;
  readonly N: number;
  readonly resetAfter?: boolean;
  readonly cellClip?: number;
  readonly zoneout?: number;
  readonly recurrentDropout?: number;
  readonly recurrentDropoutMode?: 'perStep';
}

/** A plan of a stack and a dense head; no weight is made, so that large ones cost nothing. */
function planOf({ cell = 'lstm', H, D = 16, T, N, ...own }: Net, mode: 'predict' | 'train'): Plan {
  const stack: Layer[] = H.map((units) => layers[cell]({ units, returnSequences: true, ...own }));
  stack.push(layers.dense({ units: 10, activation: 'softmax' }));
  const input: SymbolicShape = { dtype: 'real', shape: [T, D], sequence: true };
  stack.reduce((from, layer, i) => {
    layer.name = `layer_${i}`;
    const to = layer.outputShape(from);
    layer.build(from);
    return to;
  }, input);
  return lower(
    {
      layers: stack,
      graph: chain(input, stack),
      seed: 1,
      losses: [losses.categoricalCrossentropy()],
      optimizer: optimizers.adam({ globalClipNorm: 1 }),
    },
    { mode, inputShapes: [[N, T, D]], weighted: [], initialStates: [], gradientNorms: false },
  ).plan;
}

const train = (net: Net, options = {}) => estimatePlan(planOf(net, 'train'), options);
const seed: Net = { cell: 'simpleRNN', H: [64, 32], T: 50, N: 64 };

function millisecondsOf({ rungs }: PlanEstimate, rung: 'a' | 'b' | 'c' | 'd'): number {
  const found = rungs[rung];
  if (!found.fits) throw new Error(found.reason);
  return found.milliseconds;
}

test.each(rungs)('rung %s takes longer for more steps and for more units', (rung) => {
  for (const precision of ['fp32', 'tf32', 'bf16'] as const) {
    const times = (nets: readonly Net[]) =>
      nets.map((net) => millisecondsOf(train(net, { precision }), rung));
    for (const grown of [
      times([10, 20, 50, 100, 200].map((T) => ({ H: [128, 128], T, N: 32 }))),
      times([32, 64, 128, 256].map((units) => ({ H: [units, units], T: 50, N: 32 }))),
    ])
      expect(grown).toEqual(grown.toSorted((a, b) => a - b));
  }
});

test('the network 64→32 as one persistent kernel takes less than a third of a launch per step', () => {
  const estimate = train(seed);
  expect(estimate.chosen).toBe('d');
  expect(millisecondsOf(estimate, 'a') / millisecondsOf(estimate, 'd')).toBeGreaterThan(3);
  expect(estimate.rungs.a).toMatchObject({ bound: 'launches' });
  expect(estimate.rungs.d).toMatchObject({ bound: 'exchange' });
});

test('rung a launches a product and a cell a step and layer', () => {
  const { stacks } = estimatePlan(planOf(seed, 'predict'));
  // Two layers: 50 cells and 49 products (the first step has no state), and one product with the inputs.
  const launches = 2 * (50 * 2.5 + 49 * 4 + 4);
  expect(stacks[0]?.rungs.a).toMatchObject({ parts: { launches: launches / 1000 } });
});

test('rung d takes a step for every step and every layer but one, at the cost of the slowest', () => {
  const { stacks } = estimatePlan(planOf(seed, 'predict'), { precision: 'bf16' });
  // 51 steps of 2500 clocks and 8 for each of the 8 blocks of the lower layer, at 1.72 GHz.
  expect(stacks[0]?.rungs.d).toMatchObject({ parts: { exchange: expect.closeTo((51 * 2564) / 1.72e6, 9) } });
});

test('4×2048 in fp32 does not fit in persistent kernels', () => {
  const estimate = train({ H: [2048, 2048, 2048, 2048], D: 2048, T: 50, N: 32 });
  const forward = estimate.stacks[0];
  expect(forward?.rungs.c).toEqual({
    fits: false,
    reason: "does not fit: needs 75.8 MiB of 29.3 MiB of shared memory for layer 'layer_0'",
  });
  expect(forward?.rungs.d).toMatchObject({
    fits: false,
    reason: expect.stringMatching(/^does not fit: needs [\d.]+ MiB of 29\.3 MiB of shared memory$/),
  });
  expect([forward?.chosen, estimate.chosen]).toEqual(['b', 'b']);
});

test('4×1024 in bf16 fits a layer at a time, which is not expected to be faster than cuBLAS side by side', () => {
  const estimate = train({ H: [1024, 1024, 1024, 1024], D: 1024, T: 100, N: 64 }, { precision: 'bf16' });
  expect(estimate.rungs.c.fits).toBe(true);
  expect(estimate.rungs.d.fits).toBe(false);
  expect(estimate.chosen).toBe('b');
});

test('a block that cannot hold one tile', () => {
  const gpu = { ...h100, sharedPerBlock: 16384 };
  expect(estimatePlan(planOf({ H: [512], T: 5, N: 4 }, 'predict'), { gpu }).rungs.d).toEqual({
    fits: false,
    reason: expect.stringMatching(
      /^does not fit: needs [\d.]+ MiB of 0\.0 MiB of shared memory in one block$/,
    ),
  });
});

test('a GRU with the reset before the product has rungs a and b only', () => {
  const estimate = train({ cell: 'gru', H: [64, 64], T: 20, N: 32, resetAfter: false });
  expect(Object.values(estimate.rungs).map(({ fits }) => fits)).toEqual([true, true, false, false]);
  expect(estimate.rungs.d).toEqual({
    fits: false,
    reason: 'a GRU with the reset before the product needs two exchanges a step',
  });
});

test('an LSTM with more than the usual equations has rungs a and b only', () => {
  const estimate = train({ H: [64, 64], T: 20, N: 32, cellClip: 3 });
  expect(Object.values(estimate.rungs).map(({ fits }) => fits)).toEqual([true, true, false, false]);
  expect(estimate.rungs.d).toEqual({
    fits: false,
    reason: 'an LSTM with cellClip, peepholes or coupledGates has no persistent kernel',
  });
});

test.each([
  [{ zoneout: 0.1 }, 'a layer with zoneout has no persistent kernel'],
  [
    { recurrentDropout: 0.1, recurrentDropoutMode: 'perStep' },
    'a recurrent dropout mask for each step has no persistent kernel',
  ],
] as const)('a layer with %o has rungs a and b only', (options, reason) => {
  const estimate = train({ H: [64, 64], T: 20, N: 32, ...options });
  expect(Object.values(estimate.rungs).map(({ fits }) => fits)).toEqual([true, true, false, false]);
  expect(estimate.rungs.d).toEqual({ fits: false, reason });
});

test('layers side by side take less than one after another', () => {
  const estimate = train({ H: [128, 128, 128, 128], T: 100, N: 32 });
  expect(millisecondsOf(estimate, 'b')).toBeLessThan(millisecondsOf(estimate, 'a') / 2);
});

test('the parts add up, and the run is its stacks and the rest', () => {
  for (const rung of rungs) {
    const estimate = train({ H: [96, 64], T: 30, N: 48 });
    const found = estimate.rungs[rung];
    if (!found.fits) throw new Error(found.reason);
    const sum = Object.values(found.parts).reduce((a, b) => a + b, 0);
    expect(sum).toBeCloseTo(found.milliseconds, 9);
    const stacks = estimate.stacks.map((stack) => stack.rungs[rung]);
    const own = stacks.reduce((a, stack) => a + (stack.fits ? stack.milliseconds : Number.NaN), 0);
    expect(own).toBeLessThan(found.milliseconds);
  }
});

test('a plan without recurrent layers has no rung', () => {
  const estimate = train({ H: [], T: 5, N: 4 });
  expect(estimate).toMatchObject({ chosen: null, stacks: [] });
  expect(estimate.milliseconds).toBeGreaterThan(0);
});
