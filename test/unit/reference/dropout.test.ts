import { philox4x32 } from '../../../lib/tensors/random';
import { Draws } from './gradientCheck';
import { type Arg, real, runOp, scalar } from './runOp';
import { runStack, type StackChoice, stackArgs, stackAttrs, stackOutputs } from './stacks';

const ones = (shape: number[]): Arg => real(Array(shape.reduce((a, b) => a * b, 1)).fill(1), shape);

describe('dropout', () => {
  test('draws word `element & 3` of counter (element >> 2, stream, step low, step high)', () => {
    const [seed, step, stream, rate] = [5 * 2 ** 32 + 77, 3 * 2 ** 32 + 9, 12, 0.3];
    const [mask] = runOp('dropout', { mode: 'element', seed, stream, rate }, [ones([5, 7]), scalar(step)]);
    const draws = new Uint32Array(4);
    for (let e = 0; e < 35; e++) {
      philox4x32(e >> 2, stream, 9, 3, 77, 5, draws);
      expect(mask![e]).toBe((draws[e & 3] as number) < Math.floor(0.3 * 2 ** 32) ? 0 : 1 / 0.7);
    }
  });

  test('shared over time, step t repeats the mask that one step would have', () => {
    const attrs = { mode: 'sharedOverTime', seed: 3, stream: 1, rate: 0.5 } as const;
    const [mask] = runOp('dropout', attrs, [ones([4, 3, 7]), scalar(2)]);
    const [first] = runOp('dropout', { ...attrs, mode: 'element' }, [ones([3, 7]), scalar(2)]);
    for (let t = 0; t < 4; t++) expect(mask!.slice(t * 21, (t + 1) * 21)).toEqual(first);
  });

  test('drops the share that was asked for, keeps the mean, and changes with seed, stream and step', () => {
    const draw = (seed: number, stream: number, step: number) =>
      runOp('dropout', { mode: 'element', seed, stream, rate: 0.25 }, [ones([100, 100]), scalar(step)])[0]!;
    const mask = draw(1, 2, 3);
    // Four standard deviations of a binomial count of 10,000.
    expect(Math.abs(mask.filter((m) => m === 0).length - 2500)).toBeLessThan(
      4 * Math.sqrt(10000 * 0.25 * 0.75),
    );
    expect(draw(1, 2, 3)).toEqual(mask);
    for (const other of [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)]) expect(other).not.toEqual(mask);
  });

  test('of rate 0 changes nothing', () => {
    expect(
      runOp('dropout', { mode: 'element', seed: 1, stream: 1, rate: 0 }, [ones([3]), scalar(0)])[0],
    ).toEqual(Float64Array.of(1, 1, 1));
  });
});

describe('dropout inside a recurrent stack', () => {
  const draws = new Draws(20);
  const layer = { cell: 'lstm', units: 5, initialState: true } as const;

  test.each([
    ['element', false],
    ['element', true],
    ['sharedOverTime', false],
    ['sharedOverTime', true],
  ] as const)(
    'of its input, per %s, backwards %s, is that of the dropout op on the stored input',
    (mode, goBackwards) => {
      const choice: StackChoice = { T: 4, N: 3, D: 7, layers: [layer], goBackwards };
      const dropping: StackChoice = { ...choice, layers: [{ ...layer, inputDropout: { mode, rate: 0.4 } }] };
      const args = stackArgs(choice, draws, 6);
      const within = runOp('rnnStack', stackAttrs(dropping), args, { want: stackOutputs(choice) });
      const { seed } = stackAttrs(choice);
      const [dropped] = runOp('dropout', { mode, seed, stream: 0, rate: 0.4 }, [args[1], scalar(6)]);
      const before = runOp(
        'rnnStack',
        stackAttrs(choice),
        [args[0], real(dropped!, [4, 3, 7]), ...args.slice(2)],
        {
          want: stackOutputs(choice),
        },
      );
      expect(within.slice(1)).toEqual(before.slice(1));
    },
  );

  test('between two layers is that of the dropout op on the sequence between them', () => {
    const lower = { cell: 'gru', units: 6, resetAfter: true } as const;
    const upper = { cell: 'simpleRnn', units: 4 } as const;
    const dropout = { mode: 'sharedOverTime', rate: 0.5 } as const;
    const both: StackChoice = { T: 4, N: 3, D: 2, layers: [lower, { ...upper, inputDropout: dropout }] };
    const args = stackArgs(both, draws, 6);
    const fused = runOp('rnnStack', stackAttrs(both), args);
    const alone = (choice: StackChoice, own: (Arg | undefined)[]) =>
      runOp('rnnStack', stackAttrs(choice), own, { want: [false, true] })[1]!;
    const below = alone({ ...both, layers: [lower] }, args.slice(0, 9));
    // Layer 1 of `stackAttrs` draws its input mask from stream 2.
    const [dropped] = runOp('dropout', { ...dropout, seed: 7, stream: 2 }, [
      real(below, [4, 3, 6]),
      scalar(6),
    ]);
    const above = alone({ ...both, D: 6, layers: [upper] }, [
      args[0],
      real(dropped!, [4, 3, 6]),
      undefined,
      ...args.slice(9),
    ]);
    expect(fused[4]).toEqual(above);
  });

  test.each(['simpleRnn', 'lstm', 'gru'] as const)(
    'of the state of a %s enters the recurrent products only',
    (cell) => {
      const choice: StackChoice = { T: 1, N: 3, D: 2, layers: [{ cell, units: 7, initialState: true }] };
      const dropping: StackChoice = { ...choice, layers: [{ ...choice.layers[0]!, recurrentDropout: 0.5 }] };
      const args = stackArgs(choice, draws, 6);
      const [mask] = runOp('dropout', { mode: 'element', seed: 7, stream: 1, rate: 0.5 }, [
        ones([3, 7]),
        scalar(6),
      ]);
      const masked = [...args];
      masked[6] = real(
        mask!.map((m, i) => m * (args[6]!.data[i] as number)),
        [3, 7],
      );
      const [within, before] = [runStack(dropping, args, []), runStack(choice, masked, [])].map(
        (run) => run.outputs[1]!,
      );
      if (cell !== 'gru') {
        expect(within).toEqual(before);
        return;
      }
      // h_1 = z ⊙ h_0 + (1 − z) ⊙ n: masking h_0 itself changes the first term too, by z ⊙ h_0 ⊙ (1 − mask).
      const z = (runStack(dropping, args, []).outputs[0] as Float64Array).subarray(0, 63);
      for (let n = 0; n < 3; n++) {
        for (let j = 0; j < 7; j++) {
          const gate = 1 / (1 + Math.exp(-(z[n * 21 + 7 + j] as number)));
          const i = n * 7 + j;
          expect(within![i]! - before![i]!).toBeCloseTo(
            gate * (args[6]!.data[i] as number) * (1 - mask![i]!),
            12,
          );
        }
      }
    },
  );
});

test.each(['simpleRnn', 'lstm'] as const)(
  'of the state of a %s per step, step t draws its elements t·N·H and up',
  (cell) => {
    const draws = new Draws(21);
    const [T, N, D, H] = [4, 3, 2, 5];
    const layer = { cell, units: H, initialState: true } as const;
    const dropping = { ...layer, recurrentDropout: 0.5, recurrentDropoutMode: 'element' } as const;
    const args = stackArgs({ T, N, D, layers: [layer] }, draws, 6);
    const outputs = runStack({ T, N, D, layers: [dropping] }, args, []).outputs;
    const [mask] = runOp('dropout', { mode: 'element', seed: 7, stream: 1, rate: 0.5 }, [
      ones([T, N, H]),
      scalar(6),
    ]);
    let [h, c] = [args[6], args[7]];
    for (let t = 0; t < T; t++) {
      const own = [...args];
      own[1] = real(Array.from(args[1]!.data).slice(t * N * D, (t + 1) * N * D), [1, N, D]);
      own[6] = real(
        Array.from(h!.data).map((v, i) => v * mask![t * N * H + i]!),
        [N, H],
      );
      own[7] = c;
      const after = runStack({ T: 1, N, D, layers: [layer] }, own, []).outputs;
      expect(outputs[1]!.slice(t * N * H, (t + 1) * N * H)).toEqual(after[2]);
      [h, c] = [real(after[2]!, [N, H]), after[3] && real(after[3], [N, H])];
    }
  },
);
