import { referenceEngine } from '../../../lib/engines/reference';
import { PlanBuilder } from '../../../lib/plan/builder';
import { type ActivationKind, activationCodes, activationsFromInput } from '../../../lib/plan/codes';
import { gradients as differentiate } from '../../../lib/plan/gradients';
import { ABSENT } from '../../../lib/plan/types';
import { contract, Draws, expectGradient, testSeed } from './gradientCheck';
import { type Arg, ints, loadOp, real, runOp, scalar } from './runOp';

describe(`layer gradients against central differences (seed ${testSeed})`, () => {
  const draws = new Draws();

  test.each([true, false])('dense, bias %s', (withBias) => {
    const [T, N, D, U] = [2, 3, 7, 5];
    const args = [real(draws.normals(T * N * D), [T, N, D]), real(draws.normals(D * U), [D, U])];
    if (withBias) args.push(real(draws.normals(U), [U]));
    const dy = draws.normals(T * N * U);
    const forward = loadOp('dense', {}, args);
    const gradients = runOp('denseGrad', {}, [args[0], args[1], real(dy, [T, N, U])]);
    args.forEach((_, i) => {
      expectGradient(`input ${i}`, gradients[i]!, forward.input(i) as Float64Array, () =>
        contract(forward.run(), [dy]),
      );
    });
  });

  test.each(Object.keys(activationCodes) as ActivationKind[])('activation %s', (kind) => {
    const [R, C] = [5, 11];
    const attrs = { kind, alpha: 0.3 };
    const x = real(draws.normals(R * C, 3), [R, C]);
    const dy = draws.normals(R * C);
    const forward = loadOp('activation', attrs, [x]);
    const [y] = forward.run();
    const from = activationsFromInput.has(kind) ? [x, undefined] : [undefined, real(y!, [R, C])];
    const [dx] = runOp('activationGrad', attrs, [...from, real(dy, [R, C])]);
    expectGradient(kind, dx!, forward.input(0) as Float64Array, () => contract(forward.run(), [dy]));
  });

  test('at their kinks, activations take the derivatives that docs/plan.md fixes', () => {
    const slopeAt = (kind: ActivationKind, x: number, alpha = 0.3) => {
      const attrs = { kind, alpha };
      const point = real([x], [1]);
      const [y] = runOp('activation', attrs, [point]);
      const from: (Arg | undefined)[] = activationsFromInput.has(kind)
        ? [point, undefined]
        : [undefined, real(y!, [1])];
      return runOp('activationGrad', attrs, [...from, real([1], [1])])[0]![0];
    };
    expect(slopeAt('relu', 0)).toBe(0);
    expect(slopeAt('relu6', 0)).toBe(0);
    expect(slopeAt('relu6', 6)).toBe(0);
    expect(slopeAt('leakyRelu', 0)).toBe(0.3);
    expect(slopeAt('elu', 0)).toBe(0.3);
    expect(slopeAt('selu', 0)).toBe(1.0507009873554805 * 1.6732632423543772);
    expect(slopeAt('hardSigmoid', 3)).toBe(0);
    expect(slopeAt('hardSigmoid', -3)).toBe(0);
  });

  test('embedding, with ids that repeat and one that never comes', () => {
    const [V, E] = [6, 5];
    const ids = ints([3, 1, 3, 0, 5, 3, 1, 2], [4, 2]);
    const dy = draws.normals(8 * E);
    const forward = loadOp('embedding', {}, [ids, real(draws.normals(V * E), [V, E])]);
    const [dTable] = runOp('embeddingGrad', { size: V }, [ids, real(dy, [4, 2, E])]);
    expectGradient('table', dTable!, forward.input(1) as Float64Array, () => contract(forward.run(), [dy]));
    expect(Array.from(dTable!.subarray(4 * E, 5 * E))).toEqual([0, 0, 0, 0, 0]);
  });

  test('embedding refuses ids that no check has proved', () => {
    const table = real(draws.normals(4), [2, 2]);
    expect(() => runOp('embedding', {}, [ints([2]), table])).toThrow(
      'embedding: expected ids from 0 to 1, got 2.',
    );
    expect(() => runOp('embeddingGrad', { size: 2 }, [ints([-1]), real([1, 2], [1, 2])])).toThrow(
      'embedding: expected ids from 0 to 1, got -1.',
    );
  });

  test.each(['element', 'sharedOverTime'] as const)('dropout per %s', (mode) => {
    const shape = [5, 3, 7];
    const attrs = { mode, seed: testSeed, stream: 9, rate: 0.4 };
    const dy = draws.normals(105);
    const forward = loadOp('dropout', attrs, [real(draws.normals(105), shape), scalar(12)]);
    const [dx] = runOp('dropout', attrs, [real(dy, shape), scalar(12)]);
    expectGradient('x', dx!, forward.input(0) as Float64Array, () => contract(forward.run(), [dy]));
  });

  test('reshape and transpose', () => {
    const x = real(draws.normals(30), [2, 3, 5]);
    const dy = draws.normals(30);
    const [axes, back] = [
      [1, 2, 0],
      [2, 0, 1],
    ];
    const forward = loadOp('transpose', { axes: axes! }, [x]);
    const [dx] = runOp('transpose', { axes: back! }, [real(dy, [3, 5, 2])]);
    expectGradient('x', dx!, forward.input(0) as Float64Array, () => contract(forward.run(), [dy]));
    expect(runOp('reshape', { shape: [6, 5] }, [x])[0]).toEqual(x.data);
  });

  test.each(['max', 'min'] as const)('extremum, %s', (kind) => {
    const args = [real(draws.normals(30), [5, 6]), real(draws.normals(30), [5, 6])];
    const dy = draws.normals(30);
    const forward = loadOp('extremum', { kind }, args);
    const gradients = runOp('extremumGrad', { kind }, [...args, real(dy, [5, 6])]);
    args.forEach((_, i) => {
      expectGradient(`input ${i}`, gradients[i]!, forward.input(i) as Float64Array, () =>
        contract(forward.run(), [dy]),
      );
    });
    // Of equal ones the first.
    const equal = runOp('extremumGrad', { kind }, [real([2], [1]), real([2], [1]), real([3], [1])]);
    expect(equal.map((g) => g?.[0])).toEqual([3, 0]);
  });

  test.each([
    [0, 3],
    [3, 2],
    [5, 3],
    [0, 8],
    [7, 1],
  ])('slice of columns %i, + %i: what reaches them, and zeros beside', (first, width) => {
    const builder = new PlanBuilder('slice');
    const x = builder.input('x', 'real', [2, 8]);
    const [part] = builder.emit('slice', [x], { first, width }, 'slice') as [number];
    const target = builder.input('target', 'real', [2, width]);
    const attrs = { kind: 'meanSquaredError', fromLogits: false, parameter: 0 } as const;
    const [loss] = builder.emit('loss', [part, target, ABSENT], attrs, 'loss') as [number];
    builder.output('dx', differentiate(builder, [loss], [x]).of.get(x) as number);
    const executable = referenceEngine.createSession().load(builder.finish());
    const [values, wanted] = [draws.normals(16), draws.normals(2 * width)];
    executable.input('x').set(values);
    executable.input('target').set(wanted);
    executable.runSync();
    const expected = Array.from(values, (v, i) => {
      const c = (i % 8) - first;
      return c < 0 || c >= width ? 0 : (v - wanted[Math.floor(i / 8) * width + c]!) / width;
    });
    executable.output('dx').forEach((v, i) => {
      expect(v).toBeCloseTo(expected[i] as number, 12);
    });
  });

  test('normalizeRows', () => {
    const x = real(draws.normals(30), [5, 6]);
    const dy = draws.normals(30);
    // Above the norms of some rows, below those of others.
    const epsilon = 2.3;
    const forward = loadOp('normalizeRows', { epsilon }, [x]);
    const [dx] = runOp('normalizeRowsGrad', { epsilon }, [x, real(dy, [5, 6])]);
    expectGradient('x', dx!, forward.input(0) as Float64Array, () => contract(forward.run(), [dy]));
  });

  test.each([true, false])('layerNorm, gamma and beta %s', (withVectors) => {
    const [R, D] = [4, 7];
    const args: (Arg | undefined)[] = [real(draws.normals(R * D), [R, D])];
    args.push(...[0, 1].map(() => (withVectors ? real(draws.normals(D), [D]) : undefined)));
    const dy = draws.normals(R * D);
    const forward = loadOp('layerNorm', { epsilon: 0.01 }, args);
    const gradients = runOp('layerNormGrad', { epsilon: 0.01 }, [args[0], args[1], real(dy, [R, D])]);
    args.forEach((arg, i) => {
      if (!arg) return;
      expectGradient(`input ${i}`, gradients[i]!, forward.input(i) as Float64Array, () =>
        contract(forward.run(), [dy]),
      );
    });
  });

  test.each([
    [true, true, true],
    [true, false, false],
    [true, true, false],
    [false, false, true],
  ])('batchNorm, training %s, masked %s, gamma and beta %s', (training, masked, withVectors) => {
    const [T, N, D] = [3, 4, 5];
    const attrs = { training, epsilon: 0.01, momentum: 0.9 };
    const vector = () => (withVectors ? real(draws.normals(D), [D]) : undefined);
    const valid = masked ? ints([1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1], [T, N]) : undefined;
    const moving = [real(draws.normals(D), [D]), real(draws.uniforms(D, 0.5, 2), [D])];
    const args = [real(draws.normals(T * N * D), [T, N, D]), valid, vector(), vector(), ...moving];
    // Rows that do not count are normalized too, and what reaches them goes to the statistics.
    const dy = draws.normals(T * N * D);
    const forward = loadOp('batchNorm', attrs, args, { want: [true, false, false] });
    const gradients = runOp('batchNormGrad', attrs, [
      args[0],
      valid,
      args[2],
      ...moving,
      real(dy, [T, N, D]),
    ]);
    [0, 2, 3].forEach((input, i) => {
      if (!args[input]) return;
      expectGradient(`input ${input}`, gradients[i]!, forward.input(input) as Float64Array, () =>
        contract(forward.run(), [dy]),
      );
    });
  });

  test.each([
    [3, 1, 1, 0, 5],
    [2, 3, 1, 1, 3],
    [3, 1, 2, 4, 7],
  ])('unfold of %i steps, stride %i, dilation %i, %i before', (size, stride, dilation, before, windows) => {
    const [T, N, D] = [7, 2, 3];
    const window = { size, stride, dilation, before };
    const dy = draws.normals(windows * N * size * D);
    const forward = loadOp('unfold', { ...window, windows }, [real(draws.normals(T * N * D), [T, N, D])]);
    const [dx] = runOp('fold', { ...window, steps: T }, [real(dy, [windows, N, size * D])]);
    expectGradient('x', dx!, forward.input(0) as Float64Array, () => contract(forward.run(), [dy]));
  });

  test.each([
    ['max', false],
    ['max', true],
    ['average', false],
    ['average', true],
  ] as const)('pool, %s, masked %s', (kind, masked) => {
    const [T, N, D, windows] = [7, 2, 3, 4];
    const window = { kind, size: 3, stride: 2, before: 1 };
    const valid = masked ? ints([1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0], [T, N]) : undefined;
    const x = real(draws.normals(T * N * D), [T, N, D]);
    const dy = draws.normals(windows * N * D);
    const forward = loadOp('pool', { ...window, windows }, [x, valid]);
    const [dx] = runOp('poolGrad', window, [x, valid, real(dy, [windows, N, D])]);
    expectGradient('x', dx!, forward.input(0) as Float64Array, () => contract(forward.run(), [dy]));
  });

  test('penalty', () => {
    const attrs = { l1: 0.7, l2: 0.2, scale: 1.3 };
    const x = real(draws.normals(35), [5, 7]);
    const forward = loadOp('penalty', attrs, [x]);
    const [dx] = runOp('penaltyGrad', attrs, [x]);
    expectGradient('x', dx!, forward.input(0) as Float64Array, () => forward.run()[0]![0]!);
    expect(runOp('penaltyGrad', attrs, [real([0], [1])])[0]![0]).toBe(0);
  });

  test('broadcastRows and sumRows are adjoint', () => {
    const x = draws.normals(7);
    const dy = draws.normals(21);
    const [y] = runOp('broadcastRows', { rows: 3 }, [real(x, [7])]);
    const [dx] = runOp('sumRows', {}, [real(dy, [3, 7])]);
    expect(contract([y], [dy])).toBeCloseTo(contract([x], [dx]), 12);
  });
});
