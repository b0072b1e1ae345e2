import { type ActivationKind, activationCodes } from '../../plan/codes';
import { type Instruction, outputOf, type ProgramAttrs, readsGroups } from '../../plan/program/program';
import { philox4x32, splitSeed } from '../../tensors/random';
import { activation, activationGrad, elementwise } from './activation';
import type { Kernel, Operand, Real } from './operands';

const kindOf = new Map<number, ActivationKind>(
  Object.entries(activationCodes).map(([kind, code]) => [code, kind as ActivationKind]),
);

/** Values of N rows at one step; `row` is the distance of two rows, 0 for what all rows share. */
interface View {
  readonly data: Float64Array;
  readonly row: number;
  readonly width: number;
}

const zero: View = { data: new Float64Array(1), row: 0, width: 1 };

/** One step of a program at a time, every instruction over all rows. Outputs are in the order of `outputOf`. */
export const program: Kernel<
  'program',
  [step: Real | undefined, ...operands: Operand[]],
  (Real | undefined)[]
> = (attrs, [step, ...operands], outputs) => {
  const { steps, batch: N, carries, registers, instructions } = attrs;
  // Registers live from step to step, because carries read what they were.
  const values: View[] = registers.map((width) => ({ data: new Float64Array(N * width), row: width, width }));
  for (let i = 0; i < steps; i++) {
    const t = attrs.reverse ? steps - 1 - i : i;
    const carried = carries.map(({ from, init }) => {
      const { data, width } = values[from] as View;
      if (i > 0) return { data: data.slice(), row: width, width };
      const begin = init < 0 ? new Float64Array(N * width) : (operands[init] as Real).data;
      return { data: begin, row: width, width };
    });
    const read = attrs.operands.map(({ kind, width }, k): View => {
      const { data } = operands[k] as Operand;
      if (kind === 'weight') return { data: data as Float64Array, row: 0, width };
      if (kind === 'rows') return { data: data as Float64Array, row: width, width };
      return {
        data: Float64Array.from(data.subarray(t * N * width, (t + 1) * N * width)),
        row: width,
        width,
      };
    });
    const at = (value: number): View =>
      value < 0 ? zero : ([...read, ...carried, ...values][value] as View);
    for (const instruction of instructions) {
      const to = values[instruction.to] as View;
      execute(attrs, instruction, instruction.from.map(at), to, { t, step: step?.data[0] ?? 0 });
    }
    const keep = (place: number, { data }: View) => outputs[place]?.data.set(data, t * data.length);
    carried.forEach((view, k) => {
      keep(outputOf.carry(attrs, k), view);
    });
    values.forEach((view, r) => {
      keep(outputOf.register(attrs, r), view);
    });
  }
  carries.forEach((_, k) => {
    const { from } = carries[k] as { from: number };
    outputs[outputOf.last(attrs, k)]?.data.set((values[from] as View).data);
  });
};

type Where = { readonly t: number; readonly step: number };

function execute(attrs: ProgramAttrs, own: Instruction, from: readonly View[], to: View, where: Where): void {
  const { kind, ints, floats } = own;
  const [a = zero, b = zero, c = zero] = from;
  // Of what moves groups of columns.
  const [size = 1, ...list] = ints;
  const N = attrs.batch;
  const { width } = to;
  const get = (v: View, n: number, j: number) => v.data[n * v.row + (j % v.width)]!;
  const each = (value: (n: number, j: number) => number) => {
    for (let n = 0; n < N; n++) for (let j = 0; j < width; j++) to.data[n * width + j] = value(n, j);
  };
  const unary = (f: (x: number) => number) => each((n, j) => f(get(a, n, j)));
  const binary = (f: (x: number, y: number) => number) => each((n, j) => f(get(a, n, j), get(b, n, j)));
  switch (kind) {
    case 'matmul':
      matmul(attrs, own, a, b, to);
      return;
    case 'activation':
    case 'activationGrad': {
      const named = { kind: kindOf.get(ints[0] as number) as ActivationKind, alpha: floats[0] as number };
      if (!readsGroups(named.kind)) {
        const { value, slope } = elementwise(named);
        // A slope reads x or y, whichever the instruction names.
        if (kind === 'activation') unary(value);
        else binary((known, dy) => dy * slope(known, known));
        return;
      }
      const group = ints[1] as number;
      const shape = [(N * width) / group, group];
      // What all rows share is the same for each.
      const groups = (v: View) =>
        v.row > 0
          ? { data: v.data, shape }
          : { data: Float64Array.from({ length: N * width }, (_, i) => v.data[i % width]!), shape };
      if (kind === 'activation') activation(named, [groups(a)], [groups(to)]);
      else activationGrad(named, [undefined, groups(a), groups(b)], [groups(to)]);
      return;
    }
    case 'log':
      unary(Math.log);
      return;
    case 'sqrt':
      unary(Math.sqrt);
      return;
    case 'abs':
      unary(Math.abs);
      return;
    case 'sign':
      unary((x) => (x > 0 ? 1 : x < 0 ? -1 : 0));
      return;
    case 'reciprocal':
      unary((x) => 1 / x);
      return;
    case 'scale':
      unary((x) => x * floats[0]!);
      return;
    case 'shift':
      unary((x) => x + floats[0]!);
      return;
    case 'add':
      binary((x, y) => x + y);
      return;
    case 'subtract':
      binary((x, y) => x - y);
      return;
    case 'multiply':
      binary((x, y) => x * y);
      return;
    case 'divide':
      binary((x, y) => x / y);
      return;
    case 'maximum':
      binary((x, y) => Math.max(x, y));
      return;
    case 'minimum':
      binary((x, y) => Math.min(x, y));
      return;
    case 'greater':
      binary((x, y) => Number(x > y));
      return;
    case 'greaterEqual':
      binary((x, y) => Number(x >= y));
      return;
    case 'select':
      each((n, j) => (get(a, n, j) !== 0 ? get(b, n, j) : get(c, n, j)));
      return;
    case 'sumGroups': {
      const group = ints[0] as number;
      each((n, j) => {
        let sum = 0;
        for (let k = 0; k < group; k++) sum += get(a, n, j * group + k);
        return sum;
      });
      return;
    }
    case 'expandGroups':
      each((n, j) => get(a, n, Math.floor(j / ints[0]!)));
      return;
    case 'slice':
      each((n, j) => get(a, n, ints[0]! + j));
      return;
    case 'pad':
      each((n, j) => (j >= ints[0]! && j < ints[0]! + a.width ? get(a, n, j - ints[0]!) : 0));
      return;
    case 'concat': {
      const columns = from.flatMap((view) =>
        Array.from({ length: view.width }, (_, j) => [view, j] as const),
      );
      each((n, j) => get(columns[j]![0], n, columns[j]![1]));
      return;
    }
    case 'gather':
      each((n, j) => {
        const source = list[Math.floor(j / size)]!;
        return source < 0 ? 0 : get(a, n, source * size + (j % size));
      });
      return;
    case 'scatterAdd':
      to.data.fill(0);
      for (let n = 0; n < N; n++)
        list.forEach((place, j) => {
          for (let k = 0; k < size && place >= 0; k++)
            to.data[n * width + place * size + k]! += get(a, n, j * size + k);
        });
      return;
    case 'valid':
      unary((x) => Number(x !== 0));
      return;
    case 'dropMask':
      dropMask(attrs, own, to, where);
      return;
  }
}

/** y = a·W, or a·Wᵀ; with `repeat` each row of a is so many rows of the product. */
function matmul({ batch }: ProgramAttrs, { ints }: Instruction, a: View, w: View, y: View): void {
  const [transposed, repeat] = ints as [number, number];
  const [K, M] = [a.width / repeat, y.width / repeat];
  const weight = (k: number, m: number) => (transposed ? w.data[m * K + k]! : w.data[k * M + m]!);
  for (let n = 0; n < batch; n++)
    for (let s = 0; s < repeat; s++)
      for (let m = 0; m < M; m++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += a.data[n * a.row + s * K + k]! * weight(k, m);
        y.data[n * y.row + s * M + m] = sum;
      }
}

/** 0 where the draw of docs/plan.md is below rate · 2³², `kept` elsewhere. */
function dropMask(
  { seed, batch }: ProgramAttrs,
  { ints, floats }: Instruction,
  to: View,
  { t, step }: Where,
): void {
  const [stream, shared] = ints as [number, number];
  const [rate, kept] = floats as [number, number];
  const [seedLo, seedHi] = splitSeed(seed);
  const [stepLo, stepHi] = splitSeed(step, 'step');
  const threshold = Math.floor(rate * 2 ** 32);
  const count = batch * to.width;
  const draws = new Uint32Array(4);
  let block = -1;
  for (let i = 0; i < count; i++) {
    const element = (shared ? 0 : t * count) + i;
    if (Math.floor(element / 4) !== block) {
      block = Math.floor(element / 4);
      philox4x32(block, stream, stepLo, stepHi, seedLo, seedHi, draws);
    }
    to.data[i] = draws[element % 4]! < threshold ? 0 : kept;
  }
}
