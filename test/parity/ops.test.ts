import { type ActivationKind, activationCodes, activationsFromInput } from '../../lib/plan/codes';
import type { LossAttrs, MetricAttrs } from '../../lib/plan/types';
import {
  checkParity,
  type Operand,
  RandomInputs,
  reference,
  runOp,
  scalar,
  tested,
  tolerance,
} from './harness';

let stream = 10_000;
const fresh = () => new RandomInputs(stream++);
const EXACT = 0;
const ROUNDING = tolerance(1);

describe('moving data', () => {
  test.each(['batchToTime', 'timeToBatch'] as const)('%s of real and int32 arrays', (kind) => {
    const r = fresh();
    checkParity(kind, [r.normal([5, 3, 7])], {}, EXACT);
    checkParity(kind, [r.integers([65, 11], 100)], {}, EXACT);
    checkParity(kind, [r.normal([1, 9, 2, 3])], {}, EXACT);
  });

  test('add, broadcastRows, sumRows, sumScalars, assign', () => {
    const r = fresh();
    checkParity('add', [r.normal([5, 7]), r.normal([5, 7])], {}, ROUNDING);
    checkParity('broadcastRows', [r.normal([11])], { rows: 5 }, EXACT);
    checkParity('sumRows', [r.normal([65, 11])], {}, tolerance(65));
    checkParity('sumRows', [r.normal([9, 5, 3])], {}, tolerance(45));
    const terms = [scalar(1.25), scalar(-3), scalar(1e-9)];
    checkParity('sumScalars', terms, {}, EXACT);
    checkParity('sumScalars', terms, { factors: [0.3, -2, 0] }, tolerance(3));
    checkParity('assign', [r.normal([3, 5]), { ...r.normal([3, 5]), variable: true }].slice(0, 1), {}, EXACT);
  });

  test('masks of steps', () => {
    const r = fresh();
    // Of some rows every feature is the padding's, of others one.
    const x = r.integers([9, 5, 2], 2);
    const values = Float64Array.from(x.values, (v) => 0.1 * v);
    checkParity('stepMask', [{ ...x, dtype: 'real', values }], { value: 0.1 }, EXACT);
    checkParity('stepMask', [r.integers([9, 5], 3)], { value: 0 }, EXACT);
    checkParity('lengthMask', [r.integers([5], 10)], { steps: 9 }, EXACT);
    const valid = r.integers([9, 5], 2);
    checkParity('maskRows', [r.normal([9, 5, 11]), valid], {}, EXACT);
    const none = { ...valid, values: new Int32Array(45) };
    for (const mask of [valid, none]) {
      for (const weights of [undefined, r.uniform([9, 5], 0, 2)]) {
        for (const normalize of [false, true])
          checkParity('maskWeights', [mask, weights], { normalize }, ROUNDING);
      }
    }
    checkParity('reverseTime', [r.normal([9, 5, 3])], {}, EXACT);
    checkParity('reverseTime', [r.integers([4, 5], 100)], {}, EXACT);
  });

  test('concat, slice, multiply, scale', () => {
    const r = fresh();
    checkParity('concat', [r.normal([9, 5, 3]), r.normal([9, 5, 11]), r.normal([9, 5, 1])], {}, EXACT);
    checkParity('concat', [r.normal([7, 4])], {}, EXACT);
    checkParity('slice', [r.normal([9, 5, 11])], { first: 3, width: 5 }, EXACT);
    checkParity('multiply', [r.normal([5, 7]), r.normal([5, 7])], {}, ROUNDING);
    checkParity('scale', [r.normal([5, 7])], { factor: 0.5 }, EXACT);
  });

  test.each(['max', 'min'] as const)('extremum, %s, and its gradient, with equal values and NaN', (kind) => {
    const r = fresh();
    const [a, b] = [r.integers([70, 131], 5), r.integers([70, 131], 5)].map(
      (x): Operand => ({ ...x, dtype: 'real', values: Float64Array.from(x.values) }),
    ) as [Operand, Operand];
    const [holedA, holedB] = [a, b].map((x, k) => ({
      ...x,
      values: Float64Array.from(x.values, (v, i) => (i % 7 === k ? Number.NaN : v)),
    }));
    checkParity('extremum', [a, b], { kind }, EXACT);
    checkParity('extremum', [holedA, holedB], { kind }, EXACT);
    for (const want of [undefined, [true, false], [false, true]])
      checkParity(
        'extremumGrad',
        [holedA, holedB, r.normal([70, 131])],
        { kind },
        EXACT,
        want ? { want } : {},
      );
  });

  test('eitherMask', () => {
    const r = fresh();
    checkParity('eitherMask', [r.integers([9, 5], 2), r.integers([9, 5], 3)], {}, EXACT);
  });

  test('reshape and transpose', () => {
    const r = fresh();
    checkParity('reshape', [r.normal([5, 3, 7])], { shape: [21, 5] }, EXACT);
    checkParity('transpose', [r.normal([5, 3])], { axes: [1, 0] }, EXACT);
    checkParity('transpose', [r.normal([65, 33, 11])], { axes: [2, 1, 0] }, EXACT);
    checkParity('transpose', [r.normal([2, 3, 5, 7])], { axes: [1, 3, 0, 2] }, EXACT);
  });

  test('embedding and its gradient, ids repeated', () => {
    const r = fresh();
    const ids = r.integers([9, 5], 6);
    checkParity('embedding', [ids, r.normal([6, 11])], {}, EXACT);
    checkParity('embeddingGrad', [ids, r.normal([9, 5, 11])], { size: 6 }, tolerance(45));
  });
});

describe('dense', () => {
  test.each([
    [1, 1, 1],
    [3, 7, 11],
    [65, 100, 10],
    [130, 33, 64],
    [1792, 64, 48],
  ])('%i rows, %i → %i: values and gradients', (rows, inputs, units) => {
    const r = fresh();
    const [x, kernel, bias, dy] = [
      r.normal([rows, inputs]),
      r.normal([inputs, units]),
      r.normal([units]),
      r.normal([rows, units]),
    ];
    checkParity('dense', [x, kernel, bias], {}, tolerance(inputs));
    checkParity('dense', [x, kernel, undefined], {}, tolerance(inputs));
    checkParity('denseGrad', [x, kernel, dy], {}, tolerance(Math.max(rows, units)));
    // As a convolution has it.
    const split = { ...kernel, shape: [1, inputs, units] };
    checkParity('dense', [x, split, bias], {}, tolerance(inputs));
    checkParity('denseGrad', [x, split, dy], {}, tolerance(Math.max(rows, units)));
    checkParity('denseGrad', [x, kernel, dy], {}, tolerance(rows), { want: [false, true, false] });
    const table = r.normal([units, inputs]);
    const transposed = { transposed: true };
    checkParity('dense', [x, table, bias], transposed, tolerance(inputs));
    checkParity('denseGrad', [x, table, dy], transposed, tolerance(Math.max(rows, units)));
    checkParity('denseGrad', [x, table, dy], transposed, tolerance(rows), { want: [false, true, false] });
  });
});

describe('matmul', () => {
  test.each([
    [1, 1, 1, 1],
    [1, 70, 33, 129],
    [7, 5, 3, 11],
    [40, 13, 64, 9],
    [3, 1, 300, 2],
  ])('%i products [%i, %i] · [%i], each factor as it is and transposed', (count, rows, depth, columns) => {
    const r = fresh();
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const a = r.normal([count, ...(transposeA ? [depth, rows] : [rows, depth])]);
        const b = r.normal([count, ...(transposeB ? [columns, depth] : [depth, columns])]);
        checkParity('matmul', [a, b], { transposeA, transposeB }, tolerance(depth));
      }
    }
  });

  test('gives the same bits with any number of threads', () => {
    if (tested().name !== 'cpu') return;
    const r = fresh();
    const operands = [r.normal([6, 40, 33]), r.normal([6, 33, 50])];
    const attrs = { transposeA: false, transposeB: false };
    const [one, ...others] = [1, 2, 7, 16].map((threads) =>
      runOp(tested(), 'matmul', operands, attrs, { threads }),
    );
    for (const other of others) expect(other).toEqual(one);
  });
});

describe('normalizeRows', () => {
  test.each([
    [1, 1],
    [65, 33],
    [5, 1030],
  ])('%i rows of %i, values and gradients', (rows, width) => {
    const r = fresh();
    const epsilon = 1e-7;
    // Of the last rows the norm is below epsilon.
    const x = r.normal([rows, width]);
    const values = Float64Array.from(x.values, (v, i) =>
      i < (rows - 2) * width ? v : Math.fround(1e-12 * v),
    );
    checkParity('normalizeRows', [{ ...x, values }], { epsilon }, ROUNDING);
    checkParity('normalizeRowsGrad', [{ ...x, values }, r.normal([rows, width])], { epsilon }, tolerance(1));
    checkParity('normalizeRowsGrad', [x, r.normal([rows, width])], { epsilon }, tolerance(width));
  });
});

describe('layerNorm', () => {
  test.each([
    [1, 1],
    [65, 33],
    [700, 7],
    [5, 1030],
  ])('%i rows of %i, values and gradients', (rows, width) => {
    const r = fresh();
    const vector = () => r.normal([width]);
    // Far from 0: a variance from sums of squares would have no digit left.
    for (const shift of [0, 3000]) {
      const x = r.normal([rows, width], 1, shift);
      checkParity('layerNorm', [x, vector(), vector()], { epsilon: 1e-3 }, ROUNDING);
      checkParity('layerNorm', [x, undefined, undefined], { epsilon: 1e-5 }, ROUNDING);
      const dy = r.normal([rows, width]);
      checkParity('layerNormGrad', [x, vector(), dy], { epsilon: 1e-3 }, tolerance(rows));
      const want = [false, true, true];
      checkParity('layerNormGrad', [x, undefined, dy], { epsilon: 1e-3 }, tolerance(rows), { want });
    }
  });

  test('sequences, dx alone', () => {
    const r = fresh();
    const operands = [r.normal([5, 3, 11]), r.normal([11]), r.normal([5, 3, 11])];
    checkParity('layerNormGrad', operands, { epsilon: 1e-3 }, ROUNDING, { want: [true, false, false] });
  });
});

describe('batchNorm', () => {
  test.each([
    [1, 1],
    [65, 33],
    [700, 7],
    [1500, 40],
  ])('%i rows of %i, values and gradients', (rows, width) => {
    const r = fresh();
    const vector = () => r.normal([width]);
    const variance = r.uniform([width], 0.5, 2);
    const attrs = { training: true, epsilon: 1e-3, momentum: 0.9 };
    const none: Operand = { dtype: 'int32', shape: [rows], values: new Int32Array(rows) };
    // Far from 0: a variance from sums of squares would have no digit left.
    for (const shift of [0, 3000]) {
      const x = r.normal([rows, width], 1, shift);
      const dy = r.normal([rows, width]);
      for (const valid of [undefined, r.integers([rows], 2), none]) {
        for (const training of [true, false]) {
          const own = { ...attrs, training };
          const forward = [x, valid, vector(), vector(), vector(), variance];
          checkParity('batchNorm', forward, own, ROUNDING);
          // Where a column's rows are as good as equal, what reaches them cancels.
          checkParity('batchNormGrad', [x, valid, vector(), vector(), variance, dy], own, tolerance(rows), {
            scale: 1,
          });
        }
      }
      const want = [true, false, false];
      checkParity('batchNorm', [x, undefined, undefined, undefined, vector(), variance], attrs, ROUNDING, {
        want,
      });
      const backward = [x, undefined, undefined, vector(), variance, dy];
      for (const only of [want, [false, true, true]])
        checkParity('batchNormGrad', backward, attrs, tolerance(rows), { want: only, scale: 1 });
    }
  });

  test('gives the same bits with any number of threads', () => {
    if (tested().name !== 'cpu') return;
    const r = fresh();
    const [x, dy] = [r.normal([1700, 33]), r.normal([1700, 33])];
    const moving = [r.normal([33]), r.uniform([33], 0.5, 2)];
    const attrs = { training: true, epsilon: 1e-3, momentum: 0.9 };
    const runs = [1, 2, 7, 16].map((threads) => [
      runOp(tested(), 'batchNorm', [x, undefined, undefined, undefined, ...moving], attrs, { threads }),
      runOp(tested(), 'batchNormGrad', [x, undefined, undefined, ...moving, dy], attrs, { threads }),
    ]);
    for (const run of runs) expect(run).toEqual(runs[0]);
  });
});

describe('windows over steps', () => {
  const windows = [
    { size: 3, stride: 1, dilation: 1, before: 0, windows: 9 },
    { size: 3, stride: 1, dilation: 1, before: 2, windows: 11 },
    { size: 4, stride: 3, dilation: 1, before: 1, windows: 4 },
    { size: 3, stride: 1, dilation: 4, before: 8, windows: 11 },
    { size: 1, stride: 2, dilation: 1, before: 0, windows: 6 },
    { size: 20, stride: 1, dilation: 1, before: 5, windows: 2 },
  ];
  test.each(windows)(
    'unfold and fold, $size steps, stride $stride, dilation $dilation, $before before',
    (attrs) => {
      const r = fresh();
      checkParity('unfold', [r.normal([11, 3, 7])], attrs, EXACT);
      const { windows: count, ...rest } = attrs;
      const dy = r.normal([count, 3, 7 * attrs.size]);
      checkParity('fold', [dy], { ...rest, steps: 11 }, tolerance(attrs.size));
    },
  );

  test.each(['max', 'average'] as const)('%s, with and without a mask, and gradients', (kind) => {
    const r = fresh();
    const x = r.normal([11, 5, 33]);
    for (const { dilation: _, windows: count, ...window } of windows) {
      const attrs = { kind, ...window };
      for (const valid of [undefined, r.integers([11, 5], 2)]) {
        checkParity('pool', [x, valid], { ...attrs, windows: count }, tolerance(window.size));
        checkParity('poolGrad', [x, valid, r.normal([count, 5, 33])], attrs, tolerance(window.size));
      }
    }
    // Of equal ones the first is the largest; NaN is larger than all.
    const equal: Operand = { dtype: 'real', shape: [4, 1, 2], values: [1, 2, 1, NaN, 0, 3, 1, NaN] };
    const whole = { kind, size: 4, stride: 1, before: 0 };
    checkParity('pool', [equal, undefined], { ...whole, windows: 1 }, ROUNDING);
    checkParity('poolGrad', [equal, undefined, r.normal([1, 1, 2])], whole, ROUNDING);
  });
});

describe('activations', () => {
  const kinds = Object.keys(activationCodes) as ActivationKind[];
  test.each(kinds)('%s and its gradient', (kind) => {
    const r = fresh();
    const attrs = { kind, alpha: kind === 'leakyRelu' ? 0.2 : 0.7 };
    for (const scale of [0.01, 1, 8]) {
      const x = r.normal([13, 11], scale);
      checkParity('activation', [x], attrs, tolerance(11));
      const y: Operand = {
        ...x,
        values: (runOp(reference(), 'activation', [x], attrs)['0'] as Float64Array).map(Math.fround),
      };
      const dy = r.normal([13, 11]);
      const fromInput = activationsFromInput.has(kind);
      checkParity(
        'activationGrad',
        [fromInput ? x : undefined, fromInput ? undefined : y, dy],
        attrs,
        tolerance(11),
      );
    }
  });

  test('extreme inputs stay finite where the function is', () => {
    const x: Operand = { dtype: 'real', shape: [1, 6], values: [-1e4, -100, -0, 0, 100, 1e4] };
    for (const kind of kinds.filter((k) => k !== 'exponential')) {
      checkParity('activation', [x], { kind, alpha: 1 }, tolerance(6));
    }
  });
});

describe('dropout', () => {
  test.each([0, 0.1, 0.5, 0.9])('rate %f draws the same mask on both engines, in both modes', (rate) => {
    const r = fresh();
    const x = r.normal([5, 3, 11]);
    for (const mode of ['element', 'sharedOverTime'] as const) {
      for (const step of [0, 1, 4294967296 * 3 + 17]) {
        checkParity(
          'dropout',
          [x, scalar(step)],
          { mode, seed: 9007199254740991, stream: 33, rate },
          ROUNDING,
        );
      }
    }
  });
});

test('noise draws the same numbers on both engines', () => {
  const r = fresh();
  for (const step of [0, 4294967296 * 3 + 17]) {
    for (const decay of [0, 0.275]) {
      const attrs = { seed: 9007199254740991, stream: 5, stddev: 0.7, decay };
      checkParity('noise', [r.normal([70, 5, 33]), scalar(step)], attrs, ROUNDING);
    }
  }
});

describe('penalties', () => {
  test('l1, l2 and both, values and gradients', () => {
    const r = fresh();
    // More than the elements of two tasks.
    const x = r.normal([165, 133]);
    for (const attrs of [
      { l1: 0.3, l2: 0, scale: 1 },
      { l1: 0, l2: 0.7, scale: 0.25 },
      { l1: 0.1, l2: 0.2, scale: 1 / 65 },
    ]) {
      checkParity('penalty', [x], attrs, tolerance(1));
      checkParity('penaltyGrad', [x], attrs, tolerance(1));
    }
  });
});

describe('losses', () => {
  const cases: LossAttrs[] = [
    ...[0, 0.1].flatMap((parameter) =>
      (['categoricalCrossentropy', 'sparseCategoricalCrossentropy', 'binaryCrossentropy'] as const).flatMap(
        (kind) => [true, false].map((fromLogits) => ({ kind, fromLogits, parameter })),
      ),
    ),
    { kind: 'meanSquaredError', fromLogits: false, parameter: 0 },
    { kind: 'meanAbsoluteError', fromLogits: false, parameter: 0 },
    { kind: 'huber', fromLogits: false, parameter: 0.8 },
    { kind: 'logCosh', fromLogits: false, parameter: 0 },
    { kind: 'klDivergence', fromLogits: false, parameter: 0 },
    ...[true, false].flatMap((fromLogits) =>
      [0, 0.5, 2].flatMap((gamma): LossAttrs[] => [
        { kind: 'binaryFocalCrossentropy', fromLogits, parameter: 0.1, gamma },
        { kind: 'binaryFocalCrossentropy', fromLogits, parameter: 0, gamma, alpha: 0.25 },
        { kind: 'categoricalFocalCrossentropy', fromLogits, parameter: 0.1, gamma, alpha: 0.25 },
      ]),
    ),
    ...(
      [
        'cosineSimilarity',
        'poisson',
        'hinge',
        'squaredHinge',
        'categoricalHinge',
        'meanSquaredLogarithmicError',
        'meanAbsolutePercentageError',
      ] as const
    ).map((kind) => ({ kind, fromLogits: false, parameter: 0 })),
  ];

  test.each(cases)('$kind, from logits: $fromLogits, parameter $parameter', (attrs) => {
    const r = fresh();
    const [rows, classes] = [35, 11];
    const probabilities =
      attrs.kind.endsWith('Crossentropy') || attrs.kind === 'klDivergence' || attrs.kind === 'poisson';
    const pred =
      probabilities && !attrs.fromLogits ? r.distribution(rows, classes) : r.normal([rows, classes], 2);
    const target =
      attrs.kind === 'sparseCategoricalCrossentropy'
        ? r.integers([rows], classes)
        : probabilities
          ? r.distribution(rows, classes)
          : r.normal([rows, classes]);
    for (const weight of [undefined, r.uniform([rows], 0, 3)]) {
      checkParity('loss', [pred, target, weight], attrs, tolerance(1));
      checkParity('lossGrad', [pred, target, weight], attrs, tolerance(classes));
      checkParity('lossGrad', [pred, target, weight], { ...attrs, lossWeight: 0.3 }, tolerance(classes));
    }
  });

  test('sequence-shaped predictions [T, N, C]', () => {
    const r = fresh();
    const attrs: LossAttrs = { kind: 'sparseCategoricalCrossentropy', fromLogits: true, parameter: 0 };
    const operands = [r.normal([5, 7, 9], 3), r.integers([5, 7], 9), r.uniform([5, 7], 0, 1)];
    checkParity('loss', operands, attrs, tolerance(1));
    checkParity('lossGrad', operands, attrs, tolerance(9));
  });

  test('logits of ±1e4 give finite losses', () => {
    const pred: Operand = { dtype: 'real', shape: [2, 3], values: [1e4, -1e4, 0, -1e4, -1e4, 1e4] };
    const target: Operand = { dtype: 'int32', shape: [2], values: [1, 2] };
    const attrs: LossAttrs = { kind: 'sparseCategoricalCrossentropy', fromLogits: true, parameter: 0 };
    const { 0: value } = runOp(tested(), 'loss', [pred, target, undefined], attrs);
    expect(value?.[0]).toBe(1e4);
  });
});

describe('metrics', () => {
  const dense: MetricAttrs[] = [
    { kind: 'binaryAccuracy', sparse: false, thresholds: [0.4] },
    { kind: 'categoricalAccuracy', sparse: false },
    { kind: 'topK', sparse: false, k: 3 },
    { kind: 'squaredError', sparse: false },
    { kind: 'absoluteError', sparse: false },
    { kind: 'r2', sparse: false },
    { kind: 'confusion', sparse: false, thresholds: [0.1, 0.5], argmax: false },
    { kind: 'confusion', sparse: false, thresholds: [], argmax: true },
    { kind: 'histogram', sparse: false, bins: 200 },
    { kind: 'crossentropy', sparse: false, fromLogits: false },
  ];
  const sparse: MetricAttrs[] = [
    { kind: 'categoricalAccuracy', sparse: true },
    { kind: 'topK', sparse: true, k: 2 },
    { kind: 'confusion', sparse: true, thresholds: [0.3], argmax: false },
    { kind: 'confusion', sparse: true, thresholds: [], argmax: true },
    { kind: 'crossentropy', sparse: true, fromLogits: true },
    { kind: 'crossentropy', sparse: true, fromLogits: false },
  ];

  test.each([...dense, ...sparse])('$kind, sparse: $sparse', (attrs) => {
    const r = fresh();
    const [rows, classes] = [65, 7];
    const pred = r.distribution(rows, classes);
    const oneHot = r.integers([rows], classes);
    const target: Operand = attrs.sparse
      ? oneHot
      : attrs.kind === 'r2' || attrs.kind.endsWith('Error')
        ? r.normal([rows, classes])
        : {
            dtype: 'real',
            shape: [rows, classes],
            values: Float64Array.from({ length: rows * classes }, (_, i) =>
              Number(oneHot.values[Math.floor(i / classes)] === i % classes),
            ),
          };
    for (const weight of [undefined, r.uniform([rows], 0, 3)])
      checkParity('metric', [pred, target, weight], attrs, tolerance(1));
  });
});
