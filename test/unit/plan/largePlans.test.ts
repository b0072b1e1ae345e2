import { planBuffers } from '../../../lib/plan/buffers';
import { PlanBuilder } from '../../../lib/plan/builder';
import { encodePlan } from '../../../lib/plan/encode';
import { ProgramBuilder } from '../../../lib/plan/program/programBuilder';
import { ABSENT, type Plan, type ValueId } from '../../../lib/plan/types';
import { sizeOf } from '../../../lib/tensors/tensor';

/** A chain of ops; `read(i)` says which values the i-th reads beside the one before it. */
function chain(length: number, widthOf: (i: number) => number, read: (i: number) => readonly number[]): Plan {
  const builder = new PlanBuilder('chain');
  const x = builder.input('x', 'real', [1, 1]);
  const made: ValueId[] = [];
  for (let i = 0; i < length; i++) {
    const before = made[i - 1] ?? x;
    const inputs = [before, ...read(i).map((k) => made[k] as ValueId)];
    const [wide] = builder.emit('concat', inputs, {}, `${i}`) as [ValueId];
    const size = builder.spec(wide).shape[1] as number;
    const width = Math.min(widthOf(i), size);
    made.push(builder.emit('slice', [wide], { first: 0, width }, `${i}`)[0] as ValueId);
  }
  builder.output('y', made[length - 1] as ValueId);
  return builder.finish();
}

/** Values whose lifetimes meet and whose bytes do too. */
function collisions({ values, ops }: Plan, offsets: readonly (number | undefined)[]): string[] {
  const lives = new Map<ValueId, [number, number]>();
  ops.forEach((op, at) => {
    for (const id of [...op.outputs, ...op.inputs]) lives.set(id, [lives.get(id)?.[0] ?? at, at]);
  });
  const blocks = [...lives].flatMap(([id, [born, dies]]) => {
    const offset = offsets[id];
    const bytes = 4 * sizeOf(values[id]?.shape ?? []);
    return offset === undefined ? [] : [{ id, born, dies, offset, end: offset + bytes }];
  });
  const found: string[] = [];
  for (const [i, a] of blocks.entries())
    for (const b of blocks.slice(i + 1))
      if (a.born <= b.dies && b.born <= a.dies && a.offset < b.end && b.offset < a.end)
        found.push(`${a.id} and ${b.id}`);
  return found;
}

describe('values of a plan in one block', () => {
  let state = 1;
  const below = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
  // Below and above the size from which they are laid out in the order of their making.
  it.each([100, 2500])('never meet while both live, of %d steps that read others far behind', (length) => {
    const plan = chain(
      length,
      () => 1 + below(40),
      (i) => (i < 2 ? [] : [below(i), Math.max(0, i - 1 - below(5))]),
    );
    const { offsets, arenaBytes } = planBuffers(plan, 4);
    expect(collisions(plan, offsets)).toEqual([]);
    const ends = plan.values.map(({ id, shape }) => (offsets[id] ?? 0) + 4 * sizeOf(shape));
    expect(arenaBytes).toBeGreaterThanOrEqual(Math.max(...ends));
    expect(arenaBytes % 64).toBe(0);
  });

  it.each([100, 2500])('are taken again when nobody reads them, of a chain of %d steps', (length) => {
    const plan = chain(
      length,
      () => 4,
      () => [],
    );
    expect(planBuffers(plan, 4).arenaBytes).toBe(2 * 64);
  });
});

test('places that were apart are one place again when all of them are free', () => {
  // Two values of 64 bytes side by side, then one of 128, over and over.
  const builder = new PlanBuilder('pairs');
  const x = builder.input('x', 'real', [1, 32]);
  let whole = x;
  for (let i = 0; i < 1500; i++) {
    const half = (first: number) =>
      builder.emit('slice', [whole], { first, width: 16 }, `${i}`)[0] as ValueId;
    const halves = [half(0), half(16)];
    const [next] = builder.emit('concat', [...halves].reverse(), {}, `${i}`) as [ValueId];
    // One after the other, so that both halves are free before the next two are made.
    whole = builder.emit('scale', [next], { factor: 1 }, `${i}`)[0] as ValueId;
  }
  builder.output('y', whole);
  const plan = builder.finish();
  const { offsets, arenaBytes } = planBuffers(plan, 4);
  expect(offsets.filter((offset) => offset !== undefined).length).toBeGreaterThan(4096);
  expect(arenaBytes).toBe(256);
});

describe('emitOnce', () => {
  it('gives the same op upon the same inputs, and another for other attributes or inputs', () => {
    const builder = new PlanBuilder('once');
    const [x, z] = [builder.input('x', 'real', [2, 6]), builder.input('z', 'real', [2, 6])];
    const once = (id: ValueId, shape: number[]) => builder.emitOnce('reshape', [id], { shape }, 'r');
    const first = once(x, [3, 4]);
    expect(once(x, [4, 3])).not.toBe(first);
    expect(once(z, [3, 4])).not.toBe(first);
    expect(once(x, [3, 4])).toBe(first);
    expect(builder.ops).toHaveLength(3);
    // An op that was emitted otherwise is known too, and one that a pass has dropped is not.
    const [scaled] = builder.emit('scale', [x], { factor: 2 }, 's');
    expect(builder.emitOnce('scale', [x], { factor: 2 }, 's')).toBe(scaled);
    builder.ops = builder.ops.filter(({ kind }) => kind !== 'reshape');
    expect(once(x, [3, 4])).not.toBe(first);
  });
});

test('a program of more numbers than a call takes arguments is encoded', () => {
  const count = 40_000;
  const program = new ProgramBuilder();
  let value = program.operand('sequence', 1);
  for (let i = 0; i < count; i++) value = program.emit('scale', [value], 1, [], [2]);
  const attrs = program.finish({ steps: 1, batch: 1, reverse: false, seed: 0 });
  const builder = new PlanBuilder('long');
  const x = builder.input('x', 'real', [1, 1, 1]);
  const want = Array.from({ length: count }, (_, i) => i === count - 1);
  builder.output('y', builder.emit('program', [ABSENT, x], attrs, 'long', want)[count - 1] as ValueId);
  const { words, floats } = encodePlan(builder.finish(), 4, () => 0);
  // Of each instruction its code, register, value, and how many values, ints and floats; its register's width; an output.
  expect(words.length).toBeGreaterThan(8 * count);
  expect(floats).toHaveLength(count);
});
