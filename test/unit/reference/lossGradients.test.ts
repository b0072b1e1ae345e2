import { type LossKind, lossCodes } from '../../../lib/plan/codes';
import { Draws, expectGradient, testSeed } from './gradientCheck';
import { type Arg, ints, loadOp, real, runOp } from './runOp';

describe(`loss gradients against central differences (seed ${testSeed})`, () => {
  const draws = new Draws();
  const [R, C] = [6, 5];

  const logits = () => real(draws.normals(R * C, 2), [R, C]);
  /** Not normalised: the derivative of the normalisation is part of the loss. */
  const probabilities = () => real(draws.uniforms(R * C, 0.05, 0.95), [R, C]);
  const reals = () => real(draws.normals(R * C, 2), [R, C]);

  function targetsFor(kind: LossKind): Arg {
    if (kind === 'sparseCategoricalCrossentropy') return ints(draws.integers(R, C));
    if (crossentropies.has(kind) || kind === 'klDivergence' || kind === 'categoricalHinge')
      return probabilities();
    return reals();
  }

  const crossentropies = new Set<LossKind>([
    'categoricalCrossentropy',
    'sparseCategoricalCrossentropy',
    'binaryCrossentropy',
    'binaryFocalCrossentropy',
    'categoricalFocalCrossentropy',
  ]);
  /** Of predictions above 0. */
  const positive = new Set<LossKind>(['klDivergence', 'poisson', 'meanSquaredLogarithmicError']);
  const focal = { gamma: 1.5, alpha: 0.25 };
  const cases = (Object.keys(lossCodes) as LossKind[]).flatMap((kind) => {
    const parameters = crossentropies.has(kind) ? [0, 0.2] : kind === 'huber' ? [1, 0.6] : [0];
    const forms = crossentropies.has(kind) ? [false, true] : [false];
    return forms.flatMap((fromLogits) =>
      parameters.flatMap((parameter) =>
        [false, true].map((weighted) => ({
          kind,
          fromLogits,
          parameter,
          weighted,
          ...(kind.includes('Focal') ? focal : {}),
        })),
      ),
    );
  });

  test.each(cases)(
    '$kind, from logits $fromLogits, parameter $parameter, weights $weighted',
    ({ weighted, ...attrs }) => {
      const bounded = !attrs.fromLogits && (crossentropies.has(attrs.kind) || positive.has(attrs.kind));
      const pred = attrs.fromLogits ? logits() : bounded ? probabilities() : reals();
      const weight = weighted ? real(draws.uniforms(R, 0, 2), [R]) : undefined;
      const args = [pred, targetsFor(attrs.kind), weight];
      const forward = loadOp('loss', attrs, args);
      const [dPred] = runOp('lossGrad', attrs, args);
      expectGradient('pred', dPred!, forward.input(0) as Float64Array, () => forward.run()[0]![0]!);
    },
  );

  test('where a prediction is clipped, the gradient is zero and the loss stays finite', () => {
    const attrs = { kind: 'binaryCrossentropy', fromLogits: false, parameter: 0 } as const;
    const args = [real([0, 1, 1.5, -2], [2, 2]), real([1, 0, 0, 1], [2, 2])];
    expect(runOp('loss', attrs, args)[0]![0]).toBeCloseTo(-Math.log(1e-7), 6);
    expect(Array.from(runOp('lossGrad', attrs, args)[0]!)).toEqual([0, 0, 0, 0]);
  });

  test.each([
    ['categoricalCrossentropy', 2000],
    ['binaryCrossentropy', 1000],
  ] as const)('%s from logits of ±1000 does not overflow', (kind, expected) => {
    const attrs = { kind, fromLogits: true, parameter: 0 };
    const args = [real([1000, -1000], [1, 2]), real([0, 1], [1, 2])];
    expect(runOp('loss', attrs, args)[0]![0]).toBe(expected);
    for (const d of runOp('lossGrad', attrs, args)[0]!) expect(Math.abs(d)).toBeLessThanOrEqual(1);
  });

  test.each(['binaryFocalCrossentropy', 'categoricalFocalCrossentropy'] as const)(
    '%s with a gamma of 0 is the cross-entropy',
    (kind) => {
      const [pred, target] = [logits(), probabilities()];
      for (const fromLogits of [false, true]) {
        const args = [fromLogits ? pred : probabilities(), target];
        const own = { kind, fromLogits, parameter: 0.1, gamma: 0 };
        const plain = { ...own, kind: kind.replace('Focal', '') as LossKind };
        for (const op of ['loss', 'lossGrad'] as const) {
          const [actual, expected] = [own, plain].map((attrs) => runOp(op, attrs, args)[0]!);
          actual!.forEach((v, i) => {
            expect(v).toBeCloseTo(expected![i]!, 12);
          });
        }
      }
    },
  );

  test.each([0.5, 2])('focal losses of certain predictions stay finite, gamma %p', (gamma) => {
    for (const kind of ['binaryFocalCrossentropy', 'categoricalFocalCrossentropy'] as const) {
      for (const [fromLogits, sure] of [
        [true, 1000],
        [false, 1],
      ] as const) {
        const low = fromLogits ? -sure : 0;
        const args = [real([sure, low, low, sure], [2, 2]), real([1, 0, 1, 0], [2, 2])];
        const attrs = { kind, fromLogits, parameter: 0, gamma, alpha: 0.5 };
        for (const op of ['loss', 'lossGrad'] as const)
          expect(runOp(op, attrs, args)[0]!.every(Number.isFinite)).toBe(true);
      }
    }
  });

  test('cosineSimilarity of zeros is 0', () => {
    const attrs = { kind: 'cosineSimilarity', fromLogits: false, parameter: 0 } as const;
    expect(runOp('loss', attrs, [real([0, 0], [1, 2]), real([1, 0], [1, 2])])[0]![0]).toBeCloseTo(0, 15);
    expect(runOp('loss', attrs, [real([1, 0], [1, 2]), real([0, 0], [1, 2])])[0]![0]).toBeCloseTo(0, 15);
  });

  test('logCosh of ±1000 does not overflow', () => {
    const attrs = { kind: 'logCosh', fromLogits: false, parameter: 0 } as const;
    const args = [real([1000, -1000], [1, 2]), real([0, 0], [1, 2])];
    expect(runOp('loss', attrs, args)[0]![0]).toBeCloseTo(1000 - Math.LN2, 10);
    expect(Array.from(runOp('lossGrad', attrs, args)[0]!)).toEqual([0.5, -0.5]);
  });
});
