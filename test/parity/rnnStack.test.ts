import { devices } from '../../lib/engines/devices';
import type { Executable } from '../../lib/engines/engine';
import { type ActivationKind, activationCodes, rowActivations } from '../../lib/plan/codes';
import {
  expectNorms,
  expectParity,
  normLimits,
  type Outputs,
  reference,
  tested,
  testedPrecision,
  tolerance,
} from './harness';
import { type LayerCase, runStack, type StackCase } from './stackCases';

/** Terms behind one value: products in a step times steps through which errors travel. */
function limits(c: StackCase): { forward: number; backward: number } {
  const widest = Math.max(c.inputSize, ...c.layers.map((l) => l.units));
  const length = widest * c.steps * c.layers.length;
  return { forward: tolerance(length), backward: 4 * tolerance(length * c.batch) };
}

/** Gates without an upper bound: the map from step to step magnifies what was rounded. */
const wild = (c: StackCase): boolean =>
  c.layers.some((l) => /relu|silu/.test(l.recurrentActivation?.kind ?? 'sigmoid'));

/** The size of the terms that outputs are sums of: one cell of three rows may have nothing but what is left of terms that cancel. */
const OUTPUT_TERMS = 1 / 16;

/** The size of the terms that gradients are sums of, from the largest: those of few weights may be what is left of terms that cancel. */
function termsOf(gradients: Outputs): number {
  let largest = 0;
  for (const [name, values] of Object.entries(gradients))
    if (!name.startsWith('norms'))
      for (const v of values) if (Number.isFinite(v)) largest = Math.max(largest, Math.abs(v));
  return largest / 16;
}

function check(c: StackCase, stream: number): void {
  if (wild(c) && testedPrecision !== 'fp32') return;
  const actual = runStack(tested(), c, stream, { loaded: (executable) => expectRung(executable, c) });
  const wanted = runStack(reference(), c, stream);
  const kinds = c.layers.flatMap((l) => [l.activation?.kind, l.recurrentActivation?.kind]);
  for (const direction of ['forward', 'backward'] as const) {
    if (testedPrecision === 'fp32') {
      // What shrinks takes a constant away from what is hardly larger.
      const cancels = kinds.some((kind) => kind && /shrink/i.test(kind));
      const margin = wild(c) || cancels ? 4 : 1;
      const scale = direction === 'backward' ? termsOf(wanted.backward) : OUTPUT_TERMS;
      expectParity(actual[direction], wanted[direction], margin * limits(c)[direction], scale);
      continue;
    }
    // Rounding may carry a sum over a kink, and the slope with it.
    const kinks =
      kinds.some((kind) => kind && /relu|^hard|^selu|shrink|threshold|^sparse/i.test(kind)) ||
      c.layers.some((l) => l.cellClip);
    if (direction === 'backward' && kinks) continue;
    // The usual cell forgets what was rounded; others may keep it.
    const usual = c.layers.every(
      ({ activation, recurrentActivation }) =>
        (activation?.kind ?? 'tanh') === 'tanh' && (recurrentActivation?.kind ?? 'sigmoid') === 'sigmoid',
    );
    const margin = usual ? 1 : 4;
    expectNorms(actual[direction], wanted[direction], margin * normLimits[testedPrecision][direction]);
  }
}

/** A rung of the CUDA engine that is forced is the one that runs, but where it cannot: a test of one is never of another. */
function expectRung({ notes }: Executable, c: StackCase): void {
  const forced = process.env['DEEPRNN_CUDA_RUNG'];
  if (tested().name !== 'cuda' || !forced) return;
  const twoExchanges = c.layers.some((l) => l.cell === 'gru' && l.resetAfter === false);
  const variant = c.layers.some((l) => l.cellClip || l.peepholes || l.coupledGates);
  const perStep = c.layers.some((l) => l.recurrentDropout && l.recurrentDropoutMode);
  const zones = c.layers.some((l) => l.zoneout || l.cellZoneout);
  const stepwise = variant || perStep || zones;
  const most = /[cd]/.test(forced) && (twoExchanges || stepwise) ? 'b' : forced;
  const rung = most === 'b' && (c.steps < 2 || c.layers.length === 1) ? 'a' : most;
  expect(notes.filter((note) => note !== '')).toEqual([expect.stringContaining(`rung ${rung}`)]);
  if (stepwise && !twoExchanges && most !== forced)
    expect(notes.join()).toContain('has no persistent kernel');
}

type Variants = 'cellClip' | 'peepholes' | 'coupledGates' | 'zoneout' | 'cellZoneout' | 'zoneoutExpected';

interface CellCase extends Pick<LayerCase, 'cell' | 'resetAfter' | Variants> {
  readonly name: string;
}

const cells: CellCase[] = [
  { name: 'simpleRnn', cell: 'simpleRnn' },
  { name: 'lstm', cell: 'lstm' },
  { name: 'lstm with cellClip', cell: 'lstm', cellClip: 0.3 },
  { name: 'lstm with peepholes', cell: 'lstm', peepholes: true },
  { name: 'lstm with coupledGates', cell: 'lstm', coupledGates: true },
  { name: 'lstm with peepholes and coupledGates', cell: 'lstm', peepholes: true, coupledGates: true },
  { name: 'simpleRnn with zoneout', cell: 'simpleRnn', zoneout: 0.3 },
  { name: 'lstm with zoneout of h and c', cell: 'lstm', zoneout: 0.2, cellZoneout: 0.4 },
  {
    name: 'lstm with zoneout of c on average, peepholes and coupledGates',
    cell: 'lstm',
    cellZoneout: 0.4,
    zoneoutExpected: true,
    peepholes: true,
    coupledGates: true,
  },
  { name: 'gru (reset after) with zoneout', cell: 'gru', resetAfter: true, zoneout: 0.3 },
  {
    name: 'gru (reset before) with zoneout on average',
    cell: 'gru',
    resetAfter: false,
    zoneout: 0.3,
    zoneoutExpected: true,
  },
  { name: 'gru (reset after)', cell: 'gru', resetAfter: true },
  { name: 'gru (reset before)', cell: 'gru', resetAfter: false },
];

const allSizes = [
  [1, 37],
  [65, 11],
  [5, 64],
  [1, 11],
  [65, 37],
  [3, 1],
  [2, 16],
] as const;
/** An emulated device is slow: the first ones show what the others do. */
const emulated = devices().some((d) => d.engine === 'cuda' && d.name === 'emulated device');
const sizes = emulated && tested().name === 'cuda' ? allSizes.slice(0, 3) : allSizes;

let stream = 0;
const odd = { steps: 5, batch: 3, inputSize: 7 };

describe.each(cells)(
  '$name on the CPU engine equals the reference, values and all gradients',
  ({ name: _, ...layer }) => {
    test.each([1, 200])('T = %i, batch 1 and 65, widths off the SIMD width', (steps) => {
      // Over many steps weights of full size make a map that is now and then chaotic: rounding would grow without bound.
      const weightScale = steps > 100 ? 0.6 : 1;
      for (const [batch, units] of sizes) {
        // Of many states one lies so near to the bound that rounding carries it over, and its gradient with it.
        if (layer.cellClip && steps * batch * units > 5000) continue;
        check({ steps, batch, inputSize: 7, layers: [{ ...layer, units }], weightScale }, stream++);
      }
    });

    test('last step only', () => {
      check({ ...odd, layers: [{ ...layer, units: 11 }], returnSequences: false }, stream++);
      check(
        {
          ...odd,
          layers: [
            { ...layer, units: 11 },
            { ...layer, units: 5 },
          ],
          returnSequences: false,
        },
        stream++,
      );
    });

    test('a forward pass that keeps nothing for a backward one gives the same', () => {
      const c: StackCase = {
        ...odd,
        layers: [
          { ...layer, units: 11, initialState: true },
          { ...layer, units: 6, inputDropout: { rate: 0.3, mode: 'element' } },
          { ...layer, units: 9 },
        ],
      };
      const kept = runStack(tested(), c, stream, { loaded: (executable) => expectRung(executable, c) });
      expect(runStack(tested(), c, stream++, { inference: true }).forward).toEqual(kept.forward);
    });

    test('backwards in time', () => {
      check({ ...odd, layers: [{ ...layer, units: 11 }], goBackwards: true }, stream++);
      check(
        {
          ...odd,
          layers: [
            { ...layer, units: 11 },
            { ...layer, units: 9 },
          ],
          goBackwards: true,
          returnSequences: false,
        },
        stream++,
      );
    });

    test('without bias', () => {
      check({ ...odd, layers: [{ ...layer, units: 11, useBias: false }] }, stream++);
    });

    test('with initial states, and gradients into the end states', () => {
      check(
        { ...odd, layers: [{ ...layer, units: 11, initialState: true }], stateGradients: true },
        stream++,
      );
      check(
        {
          ...odd,
          layers: [
            { ...layer, units: 11, initialState: true },
            { ...layer, units: 6 },
          ],
          stateGradients: true,
          returnSequences: false,
        },
        stream++,
      );
    });

    test('input dropout, shared over time and per element', () => {
      for (const mode of ['sharedOverTime', 'element'] as const) {
        check({ ...odd, layers: [{ ...layer, units: 11, inputDropout: { rate: 0.4, mode } }] }, stream++);
        check(
          {
            ...odd,
            layers: [
              { ...layer, units: 11 },
              { ...layer, units: 5, inputDropout: { rate: 0.3, mode } },
            ],
          },
          stream++,
        );
      }
    });

    test('recurrent dropout', () => {
      check({ ...odd, layers: [{ ...layer, units: 11, recurrentDropout: 0.35 }] }, stream++);
      check(
        {
          ...odd,
          layers: [
            {
              ...layer,
              units: 11,
              recurrentDropout: 0.35,
              inputDropout: { rate: 0.2, mode: 'sharedOverTime' },
              initialState: true,
            },
          ],
        },
        stream++,
      );
    });

    test('recurrent dropout with a mask for each step', () => {
      const dropping = { ...layer, recurrentDropout: 0.35, recurrentDropoutMode: 'element' } as const;
      check(
        { ...odd, layers: [{ ...dropping, units: 11, initialState: true }], goBackwards: true },
        stream++,
      );
      check(
        {
          steps: 7,
          batch: 21,
          inputSize: 5,
          masked: 'anywhere',
          layers: [
            { ...dropping, units: 11 },
            { ...dropping, units: 6, initialState: true },
          ],
          stateGradients: true,
        },
        stream++,
      );
    });

    test.each(['end', 'anywhere'] as const)('steps that do not count, %s', (masked) => {
      const upper = { ...layer, units: 6 };
      check({ ...odd, masked, layers: [{ ...layer, units: 11 }], stateGradients: true }, stream++);
      check(
        {
          steps: 7,
          batch: 21,
          inputSize: 5,
          masked,
          layers: [{ ...layer, units: 11, initialState: true }, upper],
          stateGradients: true,
          returnSequences: false,
        },
        stream++,
      );
      const dropping = { recurrentDropout: 0.35, inputDropout: { rate: 0.2, mode: 'element' } } as const;
      const layers = [
        { ...layer, units: 11, ...dropping },
        { ...upper, ...dropping, initialState: true },
      ];
      check({ ...odd, masked, layers, goBackwards: true }, stream++);
      const c: StackCase = { ...odd, masked, layers: [{ ...layer, units: 11 }, upper] };
      const kept = runStack(tested(), c, stream);
      expect(runStack(tested(), c, stream++, { inference: true }).forward).toEqual(kept.forward);
    });

    test.each([false, true])('steps of a longer sequence; goBackwards %s', (goBackwards) => {
      const part = { first: 2, of: 11 };
      const dropping = { inputDropout: { rate: 0.2, mode: 'element' } } as const;
      const layers = [
        { ...layer, units: 11, initialState: true, ...dropping },
        { ...layer, units: 6, initialState: true, ...dropping },
      ];
      for (const more of [{}, { masked: 'anywhere' }, { returnSequences: false }] as const)
        check({ ...odd, part, layers, goBackwards, stateGradients: true, ...more }, stream++);
    });

    const elementwise = (Object.keys(activationCodes) as ActivationKind[]).filter(
      (k) => !rowActivations.has(k),
    );
    test.each(elementwise)('activation %s', (kind) => {
      // Elsewhere hardShrink and threshold jump, and what softShrink leaves of a cell has few digits where it takes much.
      const alphas: Partial<Record<ActivationKind, number>> = {
        leakyRelu: 0.2,
        hardShrink: 0,
        threshold: 0,
        softShrink: 0.1,
      };
      const activation = { kind, alpha: alphas[kind] ?? 1 };
      // e^e^e^… leaves the range of float32 within five steps unless the weights are small.
      const weightScale = kind === 'exponential' ? 0.1 : 1;
      check({ ...odd, weightScale, layers: [{ ...layer, units: 11, activation }] }, stream++);
    });

    test.each(['hardSigmoid', 'tanh', 'relu', 'silu'] as const)('recurrent activation %s', (kind) => {
      if (layer.cell === 'simpleRnn') return;
      check({ ...odd, layers: [{ ...layer, units: 11, recurrentActivation: { kind, alpha: 0 } }] }, stream++);
    });
  },
);

test('a stack of mixed cells and widths equals the reference', () => {
  check(
    {
      steps: 9,
      batch: 13,
      inputSize: 6,
      layers: [
        { cell: 'lstm', units: 17, initialState: true },
        { cell: 'gru', units: 5, resetAfter: false, inputDropout: { rate: 0.25, mode: 'element' } },
        { cell: 'simpleRnn', units: 33 },
        {
          cell: 'lstm',
          units: 10,
          peepholes: true,
          cellClip: 0.6,
          recurrentDropout: 0.3,
          initialState: true,
        },
        { cell: 'gru', units: 12, recurrentDropout: 0.2 },
      ],
      stateGradients: true,
    },
    stream++,
  );
});

test('a stack of mixed cells, the reset after the product, with all dropouts equals the reference', () => {
  check(
    {
      steps: 9,
      batch: 41,
      inputSize: 6,
      layers: [
        { cell: 'lstm', units: 17, initialState: true, recurrentDropout: 0.3 },
        {
          cell: 'gru',
          units: 12,
          inputDropout: { rate: 0.25, mode: 'element' },
          recurrentDropout: 0.2,
        },
        {
          cell: 'simpleRnn',
          units: 33,
          initialState: true,
          inputDropout: { rate: 0.3, mode: 'sharedOverTime' },
        },
        { cell: 'gru', units: 8, initialState: true },
      ],
      stateGradients: true,
    },
    stream++,
  );
});

test('a stack of mixed cells with zoneout equals the reference', () => {
  check(
    {
      steps: 9,
      batch: 41,
      inputSize: 6,
      layers: [
        {
          cell: 'lstm',
          units: 17,
          initialState: true,
          recurrentDropout: 0.3,
          zoneout: 0.2,
          cellZoneout: 0.3,
        },
        { cell: 'gru', units: 12, inputDropout: { rate: 0.25, mode: 'element' }, zoneout: 0.4 },
        { cell: 'simpleRnn', units: 33, initialState: true },
        { cell: 'lstm', units: 7, cellClip: 0.6, peepholes: true, cellZoneout: 0.3 },
      ],
      stateGradients: true,
    },
    stream++,
  );
});

test('what lies in steps that do not count changes nothing', () => {
  const c: StackCase = {
    steps: 6,
    batch: 9,
    inputSize: 4,
    masked: 'end',
    layers: [
      { cell: 'lstm', units: 17 },
      { cell: 'gru', units: 9 },
      { cell: 'simpleRnn', units: 5 },
    ],
  };
  for (const returnSequences of [true, false]) {
    const one = runStack(tested(), { ...c, returnSequences }, stream);
    const other = runStack(tested(), { ...c, returnSequences, padding: 1e3 }, stream++);
    expect(other).toEqual(one);
  }
});

// The emulated device has no other way for these, and takes long.
const onCpu = tested().name === 'cpu' ? test : test.skip;
onCpu.each(cells.filter(({ name }) => /^lstm$|before/.test(name)))(
  '$name with more weights than caches hold, which threads share by columns',
  ({ name: _, ...layer }) => {
    const units = { simpleRnn: 1770, lstm: 890, gru: 1030 }[layer.cell];
    const small = { ...layer, units: 9 };
    const c: StackCase = {
      steps: 5,
      batch: 37,
      inputSize: 20,
      layers: [small, { ...layer, units, recurrentDropout: 0.2, initialState: true }],
      masked: 'anywhere',
      stateGradients: true,
      weightScale: 0.6,
    };
    check({ ...c, batch: 3, steps: 2 }, stream++);
    // Jest takes long to compare millions of numbers.
    const same = (a: Outputs, b: Outputs) =>
      Object.entries(a).every(([name, { buffer }]) =>
        Buffer.from(buffer as ArrayBuffer).equals(Buffer.from(b[name]?.buffer as ArrayBuffer)),
      );
    const one = runStack(tested(), c, 999, { threads: 1 });
    const two = runStack(tested(), c, 999, { threads: 2 });
    const inference = runStack(tested(), c, 999, { threads: 2, inference: true });
    expect([same(one.forward, two.forward), same(one.backward, two.backward)]).toEqual([true, true]);
    expect(same(inference.forward, one.forward)).toBe(true);
  },
);

test('the same bits with any number of threads', () => {
  for (const { name: _, ...layer } of cells) {
    const c: StackCase = {
      steps: 12,
      batch: 37,
      inputSize: 10,
      layers: [
        { ...layer, units: 24 },
        { ...layer, units: 13 },
      ],
      masked: 'anywhere',
    };
    const one = runStack(tested(), c, 999, { threads: 1 });
    for (const threads of [2, 3, 5]) expect(runStack(tested(), c, 999, { threads })).toEqual(one);
  }
});
