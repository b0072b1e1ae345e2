import { ints, loadOp, real, runOp, scalar, variable } from './runOp';

const plain = (values: ArrayLike<number> | undefined) => Array.from(values ?? []);

describe('ops that move data', () => {
  test.each(['batchToTime', 'timeToBatch'] as const)(
    '%s swaps the two leading axes of reals and ids',
    (kind) => {
      // [2, 3, 2]: element (a, b, k) holds 100a + 10b + k.
      const x = real([0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121], [2, 3, 2]);
      expect(plain(runOp(kind, {}, [x])[0])).toEqual([0, 1, 100, 101, 10, 11, 110, 111, 20, 21, 120, 121]);
      expect(plain(runOp(kind, {}, [ints([1, 2, 3, 4, 5, 6], [2, 3])])[0])).toEqual([1, 4, 2, 5, 3, 6]);
    },
  );

  test('add, broadcastRows, sumRows, sumScalars', () => {
    expect(plain(runOp('add', {}, [real([1, 2, 3], [3]), real([10, 20, 40], [3])])[0])).toEqual([11, 22, 43]);
    expect(plain(runOp('broadcastRows', { rows: 3 }, [real([1, 2], [2])])[0])).toEqual([1, 2, 1, 2, 1, 2]);
    expect(plain(runOp('sumRows', {}, [real([1, 2, 3, 40, 50, 60], [3, 1, 2])])[0])).toEqual([54, 102]);
    expect(plain(runOp('sumScalars', {}, [scalar(1), scalar(2.5), scalar(-4)])[0])).toEqual([-0.5]);
  });

  test('assign copies into a variable', () => {
    const op = loadOp('assign', {}, [real([4, 5, 6], [3]), variable([0, 0, 0], [3])], { into: 1 });
    op.run();
    expect(op.variable(1)).toEqual([4, 5, 6]);
  });

  test('constraints keep a zero vector at zero', () => {
    for (const kind of ['maxNorm', 'unitNorm'] as const) {
      const op = loadOp('constraint', { kind, axis: 0, limit: 2 }, [variable([0, 0], [2])], { into: 0 });
      op.run();
      expect(op.variable(0)).toEqual([0, 0]);
    }
  });

  test('clipping by norm leaves a gradient whose norm is not finite as it is, and one of norm zero', () => {
    for (const mode of ['norm', 'globalNorm'] as const) {
      const attrs = {
        kind: 'sgd',
        clip: { mode, limit: 1 },
        flag: false,
        constants: [0],
        decay: [0, 0],
      } as const;
      const hyper = { data: [1, 0, 0, 0, 0, 0, 0, 0], shape: [8], dtype: 'float64' } as const;
      const none = new Array<undefined>(5).fill(undefined);
      const parameters = (g: number[]) => [
        variable([0, 0], [2]),
        real(g, [2]),
        ...none,
        variable([0, 0], [2]),
        real([0, 0], [2]),
        ...none,
      ];
      const odd = loadOp('update', attrs, [hyper, ...parameters([Number.POSITIVE_INFINITY, 5])]);
      expect(plain(odd.run()[0])).toEqual([Number.POSITIVE_INFINITY, 0, Number.POSITIVE_INFINITY]);
      expect(odd.variable(1)).toEqual([Number.NEGATIVE_INFINITY, -5]);
      const zero = loadOp('update', attrs, [hyper, ...parameters([0, 0])]);
      expect(plain(zero.run()[0])).toEqual([0, 0, 0]);
      expect(zero.variable(1)).toEqual([0, 0]);
    }
  });
});
