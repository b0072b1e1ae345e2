import type { activationCodes } from '../../lib/plan/codes';
import type { OperandKind, ProgramAttrs } from '../../lib/plan/program/program';
import { ProgramBuilder, type ProgramValue } from '../../lib/plan/program/programBuilder';
import type { Operand, RandomInputs } from './harness';

/** What a program under test reads, in its order. */
export interface ProgramCase {
  readonly attrs: ProgramAttrs;
  readonly operands: readonly Operand[];
  /** Numbers of the registers whose steps are looked at. */
  readonly results: readonly number[];
}

export interface CaseSizes {
  readonly T: number;
  readonly N: number;
  readonly W: number;
  readonly reverse: boolean;
}

/**
 * A program with every instruction that has a gradient, through two carries, of which one begins with an operand. All values stay in a range
 * where no function has a kink or a pole.
 */
export function programCase(r: RandomInputs, { T, N, W, reverse }: CaseSizes): ProgramCase {
  const b = new ProgramBuilder();
  const operands: Operand[] = [];
  const read = (kind: OperandKind, operand: Operand, rows = 1): ProgramValue => {
    operands.push(operand);
    const width = kind === 'valid' ? 1 : (operand.shape[operand.shape.length - 1] as number);
    return b.operand(kind, width, rows);
  };
  const x = read('sequence', r.normal([T, N, W]));
  const fixed = read('rows', r.normal([N, W]));
  const begin = read('rows', r.normal([N, W]));
  const kernel = read('weight', r.normal([W, 2 * W], 1 / Math.sqrt(W)), W);
  const recurrent = read('weight', r.normal([W, 2 * W], 1 / Math.sqrt(W)), W);
  const bias = read('weight', r.normal([2 * W]));
  const vector = read('weight', r.normal([W]));
  const single = read('weight', r.normal([1]));
  const groups = read('weight', r.normal([2, 3], 0.5), 2);
  const valid = read('valid', r.integers([T, N], 2));
  const h = b.carry(W, begin);
  const c = b.carry(W);

  const two = (kind: 'add' | 'multiply' | 'subtract' | 'divide', p: ProgramValue, q: ProgramValue) =>
    b.emit(kind, [p, q], Math.max(p.width, q.width));
  const act = (kind: keyof typeof activationCodes, p: ProgramValue) =>
    b.activation({ kind, alpha: kind === 'elu' ? 1 : 0 }, p);
  const gates = two(
    'add',
    two('add', b.emit('matmul', [x, kernel], 2 * W, [0, 1]), b.emit('matmul', [h, recurrent], 2 * W, [0, 1])),
    bias,
  );
  const gate = act('sigmoid', b.emit('slice', [gates], W, [0]));
  const candidate = act('tanh', two('add', b.emit('slice', [gates], W, [W]), two('multiply', fixed, vector)));
  const mixed = two(
    'add',
    two('multiply', gate, c),
    two('subtract', candidate, two('multiply', gate, candidate)),
  );
  // Positive: for roots, logarithms and quotients.
  const positive = b.emit('shift', [two('multiply', mixed, mixed)], W, [], [0.5]);
  const root = b.emit('sqrt', [positive], W);
  const ratio = two('divide', candidate, root);
  const inverse = b.emit('reciprocal', [positive], W);
  const logged = b.emit('log', [positive], W);
  const shares = b.activation({ kind: 'softmax', alpha: 0 }, logged, W);
  const mean = b.emit('scale', [b.emit('sumGroups', [candidate], 1, [W])], 1, [], [1 / W]);
  const centred = two('subtract', candidate, b.emit('expandGroups', [mean], W, [W]));
  const spread = two('subtract', candidate, mean);
  const joined = b.emit('concat', [shares, centred], 2 * W);
  const reversed = b.emit('gather', [joined], 2 * W, [
    1,
    ...Array.from({ length: 2 * W - 1 }, (_, j) => 2 * W - 2 - j),
    -1,
  ]);
  const swapped = b.emit('gather', [joined], 2 * W, [W, 1, -1]);
  const columnwise = b.emit('scatterAdd', [ratio], W, [
    1,
    ...Array.from({ length: W }, (_, j) => (j === 0 ? -1 : j % 2)),
  ]);
  const scattered = two('add', columnwise, b.emit('scatterAdd', [joined], W, [W, 0, 0]));
  // W pairs of columns, each of which becomes three.
  const tripled = b.emit('matmul', [two('add', reversed, swapped), groups], 3 * W, [0, W]);
  const folded = b.emit('sumGroups', [tripled], W, [3]);
  const larger = b.emit('maximum', [folded, candidate], W);
  const smaller = b.emit('minimum', [scattered, spread], W);
  const chosen = b.emit('select', [b.emit('greater', [candidate, mixed], W), larger, smaller], W);
  const size = b.emit('abs', [chosen], W);
  const kept = b.emit('dropMask', [], W, [3, 0], [0.3, 1]);
  const shared = b.emit('dropMask', [], W, [4, 1], [0.4, 1 / 0.6]);
  const padded = b.emit('slice', [b.emit('pad', [inverse], 2 * W + 1, [1])], W, [1]);
  const sum = two('add', two('multiply', act('gelu', chosen), kept), two('multiply', size, shared));
  const next = act('tanh', two('add', two('add', sum, two('multiply', padded, single)), act('elu', centred)));
  const on = b.emit('valid', [valid], 1);
  const state = b.emit('select', [on, next, h], W);
  const cell = b.emit('select', [on, mixed, c], W);
  b.carryFrom(h, state);
  b.carryFrom(c, cell);
  const attrs = b.finish({ steps: T, batch: N, reverse, seed: 12345 });
  return { attrs, operands, results: [state.index, tripled.index, shares.index] };
}
