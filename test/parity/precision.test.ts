import { enginePrecisions, type Precision } from '../../lib/engines/engine';
import type { CellKind } from '../../lib/plan/codes';
import { expectNorms, normLimits, RandomInputs, reference, runOp, tested } from './harness';
import { runStack, type StackCase } from './stackCases';

/** Those beside float32 that the engine under test has. */
const rounded = enginePrecisions[tested().name].filter(
  (p): p is Exclude<Precision, 'fp32'> => p !== 'fp32' && tested().name !== 'reference',
);
const cells: { cell: CellKind; resetAfter?: boolean; peepholes?: boolean; coupledGates?: boolean }[] = [
  { cell: 'simpleRnn' },
  { cell: 'lstm' },
  { cell: 'lstm', peepholes: true },
  { cell: 'lstm', coupledGates: true },
  { cell: 'gru', resetAfter: true },
  { cell: 'gru', resetAfter: false },
];
const usual = { steps: 9, batch: 3, inputSize: 7 };

let stream = 900_000;

describe.each(rounded)('products in %s', (precision) => {
  const { forward, backward } = normLimits[precision];

  test.each(cells)('a stack of $cell is near the reference', (layer) => {
    const cases: StackCase[] = [
      { ...usual, layers: [{ ...layer, units: 11 }] },
      { ...usual, batch: 1, inputSize: 1, layers: [{ ...layer, units: 37 }] },
      {
        ...usual,
        batch: 33,
        layers: [
          { ...layer, units: 65, initialState: true, recurrentDropout: 0.2 },
          { ...layer, units: 16, useBias: false },
        ],
        masked: 'anywhere',
        returnSequences: false,
        stateGradients: true,
      },
      { ...usual, layers: [{ ...layer, units: 19 }], goBackwards: true, masked: 'end', padding: 1e9 },
    ];
    for (const c of cases) {
      const actual = runStack(tested(), c, stream, { precision });
      const wanted = runStack(reference(), c, stream++, { precision });
      expectNorms(actual.forward, wanted.forward, forward);
      expectNorms(actual.backward, wanted.backward, backward);
    }
  });

  test.each([
    [1, 1, 65],
    [3, 7, 11],
    [130, 33, 65],
    [5, 700, 10],
  ])('dense with %i rows, %i → %i, is near the reference', (rows, inputs, units) => {
    const r = new RandomInputs(stream++);
    // A single sum of numbers with both signs may come out as next to nothing, beside which what was rounded away is much.
    const draw = (shape: number[]) => (rows * inputs > 1 ? r.normal(shape) : r.uniform(shape, 0.5, 2));
    const x = draw([rows, inputs]);
    const kernel = draw([inputs, units]);
    const bias = draw([units]);
    const dy = draw([rows, units]);
    const both = <R>(run: (engine: typeof tested) => R): [R, R] => [run(tested), run(reference)];
    expectNorms(...both((engine) => runOp(engine(), 'dense', [x, kernel, bias], {}, { precision })), forward);
    if (precision === 'int8') {
      expect(() => runOp(tested(), 'denseGrad', [x, kernel, dy], {}, { precision })).toThrow(
        'cpu engine: bad plan: gradients in 8-bit integers, which have none.',
      );
      return;
    }
    expectNorms(
      ...both((engine) => runOp(engine(), 'denseGrad', [x, kernel, dy], {}, { precision })),
      forward,
    );
  });

  test('the number of threads changes no bit', () => {
    const c: StackCase = {
      steps: 6,
      batch: 23,
      inputSize: 40,
      layers: [
        { cell: 'lstm', units: 70 },
        { cell: 'gru', units: 33 },
      ],
      masked: 'anywhere',
    };
    const one = runStack(tested(), c, stream, { precision, threads: 1 });
    for (const threads of [2, 3, 5])
      expect(runStack(tested(), c, stream, { precision, threads })).toEqual(one);
    stream++;
  });
});
