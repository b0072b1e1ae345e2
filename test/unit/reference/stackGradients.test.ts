import type { ActivationKind } from '../../../lib/plan/codes';
import { activationCodes, rowActivations } from '../../../lib/plan/codes';
import { contract, Draws, expectGradient, testSeed } from './gradientCheck';
import { type LayerChoice, runStack, type StackChoice, stackArgs, stackOutputs } from './stacks';

type Cell = Pick<
  LayerChoice,
  | 'cell'
  | 'resetAfter'
  | 'cellClip'
  | 'peepholes'
  | 'coupledGates'
  | 'zoneout'
  | 'cellZoneout'
  | 'zoneoutExpected'
>;

const cells: Record<string, Cell> = {
  simpleRnn: { cell: 'simpleRnn' },
  lstm: { cell: 'lstm' },
  'lstm with cellClip': { cell: 'lstm', cellClip: 0.3 },
  'lstm with peepholes': { cell: 'lstm', peepholes: true },
  'lstm with coupledGates': { cell: 'lstm', coupledGates: true },
  'lstm with peepholes and coupledGates': { cell: 'lstm', peepholes: true, coupledGates: true },
  'simpleRnn with zoneout': { cell: 'simpleRnn', zoneout: 0.4 },
  'lstm with zoneout of h': { cell: 'lstm', zoneout: 0.4 },
  'lstm with zoneout of h and c, on average': {
    cell: 'lstm',
    zoneout: 0.4,
    cellZoneout: 0.3,
    zoneoutExpected: true,
  },
  'lstm with all variants and zoneout': {
    cell: 'lstm',
    cellClip: 0.4,
    peepholes: true,
    coupledGates: true,
    zoneout: 0.2,
    cellZoneout: 0.5,
  },
  'gru with zoneout': { cell: 'gru', resetAfter: false, zoneout: 0.4 },
  'gru, reset after, with zoneout on average': {
    cell: 'gru',
    resetAfter: true,
    zoneout: 0.4,
    zoneoutExpected: true,
  },
  'gru, reset before': { cell: 'gru', resetAfter: false },
  'gru, reset after': { cell: 'gru', resetAfter: true },
};

const elementwise = (Object.keys(activationCodes) as ActivationKind[]).filter((k) => !rowActivations.has(k));

describe(`recurrent stack gradients against central differences (seed ${testSeed})`, () => {
  const draws = new Draws();

  /** Checks the gradient of every input, with random gradients on every output of every layer. */
  function expectStackGradients(
    choice: StackChoice,
    reaches: (output: number) => boolean = () => true,
    cancelled = 0,
  ): void {
    const args = stackArgs(choice, draws);
    const sizes = outputSizes(choice);
    const dOut = sizes.map((size, i) => (i > 0 && size > 0 && reaches(i) ? draws.normals(size) : undefined));
    const { forward, gradients } = runStack(choice, args, dOut);
    const f = () => contract(forward.run(), dOut);
    expectGradient('x', gradients[0]!, forward.input(1) as Float64Array, f, cancelled);
    const names = ['kernel', 'recurrentKernel', 'bias', 'h0', 'c0', 'peephole'];
    args.slice(3).forEach((arg, i) => {
      if (!arg) return;
      const name = `layer ${Math.floor(i / names.length)} ${names[i % names.length]}`;
      expectGradient(name, gradients[2 + i]!, forward.input(3 + i) as Float64Array, f, cancelled);
    });
  }

  function outputSizes(choice: StackChoice): number[] {
    const { T, N, layers, returnSequences = true } = choice;
    const sizes = layers.flatMap(({ units }, l) => {
      const rows = returnSequences || l < layers.length - 1 ? T * N : N;
      return [rows * units, N * units, N * units];
    });
    return [0, ...sizes].map((size, i) => (stackOutputs(choice)[i] ? size : 0));
  }

  describe.each(Object.entries(cells))('%s', (_, cell) => {
    const one = (layer: Partial<LayerChoice> = {}, rest: Partial<StackChoice> = {}): StackChoice => {
      return { T: 4, N: 2, D: 3, layers: [{ ...cell, units: 5, ...layer }], ...rest };
    };
    const options: [string, StackChoice][] = [
      ['plain', one()],
      ['without bias', one({ useBias: false })],
      ['from an initial state', one({ initialState: true })],
      ['backwards', one({ initialState: true }, { goBackwards: true })],
      ['last step only', one({}, { returnSequences: false })],
      ['one step', one({ initialState: true }, { T: 1 })],
      ['one row', one({ initialState: true }, { N: 1 })],
      ['one unit', one({ units: 1 })],
      ['input dropout per element', one({ inputDropout: { mode: 'element', rate: 0.4 } })],
      ['input dropout shared over time', one({ inputDropout: { mode: 'sharedOverTime', rate: 0.4 } })],
      ['recurrent dropout', one({ recurrentDropout: 0.4, initialState: true })],
      [
        'recurrent dropout per step, backwards',
        one(
          { recurrentDropout: 0.4, recurrentDropoutMode: 'element', initialState: true },
          { goBackwards: true, N: 3, valid: [1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0] },
        ),
      ],
      [
        'steps that do not count',
        one({ initialState: true }, { N: 3, valid: [1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0] }),
      ],
      [
        'backwards with both dropouts, steps that do not count',
        one(
          { inputDropout: { mode: 'element', rate: 0.3 }, recurrentDropout: 0.3 },
          { goBackwards: true, N: 3, valid: [1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0] },
        ),
      ],
    ];
    test.each(options)('%s', (_name, choice) => expectStackGradients(choice));

    test('with only the end state used, and with only the sequence', () => {
      expectStackGradients(one(), (output) => output > 1);
      expectStackGradients(one(), (output) => output === 1);
    });

    // e^(e^x) in a loop leaves float64 within a few steps unless it starts small.
    const scales: Partial<Record<ActivationKind, number>> = { exponential: 0.2, tanhShrink: 3 };
    // x − tanh x is off by as much as x is, of which some tens add up.
    const cancelled: Partial<Record<ActivationKind, number>> = { tanhShrink: 16 * 2 ** -52 };

    test.each(elementwise)('activation %s', (kind) => {
      const scale = scales[kind] ?? 1;
      expectStackGradients(one({ activation: kind, units: 3 }, { T: 3, scale }), undefined, cancelled[kind]);
    });

    if (cell.cell !== 'simpleRnn') {
      test.each(elementwise)('recurrent activation %s', (kind) => {
        const scale = scales[kind] ?? 1;
        expectStackGradients(
          one({ recurrentActivation: kind, units: 3 }, { T: 3, scale }),
          undefined,
          cancelled[kind],
        );
      });
    }
  });

  const mixed: LayerChoice[] = [
    { cell: 'lstm', units: 5, initialState: true, recurrentDropout: 0.2 },
    { cell: 'gru', units: 3, resetAfter: true, inputDropout: { mode: 'sharedOverTime', rate: 0.3 } },
    {
      cell: 'simpleRnn',
      units: 4,
      activation: 'gelu',
      inputDropout: { mode: 'element', rate: 0.3 },
      initialState: true,
    },
    { cell: 'lstm', units: 3, peepholes: true, cellClip: 0.5, recurrentDropout: 0.2 },
    { cell: 'gru', units: 2, useBias: false, recurrentDropout: 0.3 },
  ];

  test('five layers of all cells, with gradients on every output of every layer', () => {
    expectStackGradients({ T: 3, N: 2, D: 3, layers: mixed });
  });

  test('five layers backwards, of which only the last step is used', () => {
    const choice = { T: 3, N: 2, D: 3, layers: mixed, returnSequences: false, goBackwards: true };
    expectStackGradients(choice, (output) => output === 13);
  });

  test.each([true, false])(
    'steps past the end of a row leave it as a shorter sequence would, whole sequence %s',
    (whole) => {
      const [N, D] = [2, 3];
      const layers = mixed.map(
        (layer) => ({ ...layer, inputDropout: { mode: 'sharedOverTime', rate: 0 } }) as const,
      );
      const short: StackChoice = { T: 3, N, D, layers, returnSequences: whole };
      const args = stackArgs(short, draws);
      const long: StackChoice = { ...short, T: 5, valid: [1, 1, 1, 1, 1, 1, 0, 0, 0, 0] };
      const x = [...Array.from(args[1]!.data), ...draws.normals(2 * N * D)];
      const dOut = outputSizes(short).map((size, i) => (i > 0 && size > 0 ? draws.normals(size) : undefined));
      const wanted = runStack(short, args, dOut);
      const padded = (d: ArrayLike<number> | undefined, i: number) =>
        d && [...Array.from(d), ...new Array<number>(outputSizes(long)[i]! - d.length).fill(0)];
      const found = runStack(
        long,
        stackArgs(long, draws).map((arg, i) => (i === 1 ? { ...arg!, data: x } : i === 2 ? arg : args[i])),
        dOut.map(padded),
      );
      wanted.outputs.forEach((output, i) => {
        if (i > 0) expect(found.outputs[i]?.slice(0, output?.length)).toEqual(output);
      });
      wanted.gradients.forEach((gradient, i) => {
        if (i === 1) return;
        expect(found.gradients[i]?.slice(0, gradient?.length)).toEqual(gradient);
        // No gradient reaches what was not read.
        expect(found.gradients[i]?.slice(gradient?.length).every((v) => v === 0) ?? true).toBe(true);
      });
    },
  );

  test('stepNorms are the norms of the gradient that reaches each state', () => {
    // The gradient that reaches h_t is what the loss sends there plus that of the initial state of the steps after t.
    const [T, N, D, H] = [5, 3, 4, 6];
    const layer: LayerChoice = { cell: 'gru', units: H, resetAfter: true, initialState: true };
    const choice: StackChoice = { T, N, D, layers: [layer] };
    const args = stackArgs(choice, draws);
    const dy = draws.normals(T * N * H);
    const { outputs, gradients } = runStack(choice, args, [undefined, dy]);
    const y = outputs[1]!;
    for (let t = 0; t < T; t++) {
      const dh = dy.slice(t * N * H, (t + 1) * N * H);
      if (t < T - 1) {
        const after = { ...choice, T: T - 1 - t };
        const rest = [...args];
        rest[1] = { data: Array.from(args[1]!.data).slice((t + 1) * N * D), shape: [T - 1 - t, N, D] };
        rest[6] = { data: y.slice(t * N * H, (t + 1) * N * H), shape: [N, H] };
        const dh0 = runStack(after, rest, [undefined, dy.slice((t + 1) * N * H)]).gradients[5]!;
        for (let i = 0; i < dh.length; i++) dh[i]! += dh0[i]!;
      }
      expect(gradients[1]![t]).toBeCloseTo(Math.hypot(...dh), 10);
    }
  });
});
