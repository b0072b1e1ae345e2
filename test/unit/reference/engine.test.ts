import { referenceEngine } from '../../../lib/engines/reference';
import { PlanBuilder } from '../../../lib/plan/builder';
import { PlanCheckError, type ValueId } from '../../../lib/plan/types';

const only = (ids: ValueId[]) => ids[0] as ValueId;

/** y = x W with x checked first, W kept in the session; then W ← W + 1 through `next`. */
function load(session = referenceEngine.createSession()) {
  const b = new PlanBuilder('step');
  const x = b.input('x', 'real', [2, 3]);
  b.emit('check', [x], { mode: 'finite' }, 'input');
  b.emit('check', [b.input('ids', 'int32', [4])], { mode: 'index', size: 5 }, 'ids');
  const W = b.variable('W', 'real', [3, 1]);
  const y = only(b.emit('dense', [x, W], {}, 'dense'));
  b.output('y', y);
  b.emitInto('assign', [b.input('next', 'real', [3, 1])], [W], {}, 'W');
  session.declare('W', 'real', [3, 1]);
  return { session, executable: session.load(b.finish()) };
}

describe('the reference engine', () => {
  test('runs a plan over variables that stay in the session', async () => {
    const { session, executable } = load();
    session.write('W', [1, 10, 100]);
    executable.input('x').set([1, 2, 3, 4, 5, 6]);
    executable.input('next').set([7, 8, 9]);
    await executable.run();
    expect(Array.from(executable.output('y'))).toEqual([321, 654]);
    expect(Array.from(session.read('W'))).toEqual([7, 8, 9]);
    executable.runSync();
    expect(Array.from(executable.output('y'))).toEqual([7 + 16 + 27, 28 + 40 + 54]);
    // Data inputs twice, the output once.
    expect(executable.bytes).toBe(2 * (8 * 6 + 4 * 4 + 8 * 3) + 8 * 2);
  });

  test('a failed check rejects the run with op, element and value, and leaves the variables untouched', async () => {
    const { session, executable } = load();
    executable.input('x')[4] = Number.NaN;
    await expect(executable.run()).rejects.toEqual(new PlanCheckError(0, 4, Number.NaN));
    executable.input('x')[4] = 1;
    executable.input('ids')[2] = 5;
    executable.input('next').fill(3);
    expect(() => executable.runSync()).toThrow(new PlanCheckError(1, 2, 5));
    executable.input('ids')[2] = -1;
    expect(() => executable.runSync()).toThrow(new PlanCheckError(1, 2, -1));
    expect(Array.from(session.read('W'))).toEqual([0, 0, 0]);
    executable.input('ids')[2] = 4;
    executable.runSync();
    expect(Array.from(session.read('W'))).toEqual([3, 3, 3]);
  });

  test('one run at a time', async () => {
    const { session, executable } = load();
    const running = executable.run();
    const busy = {
      code: 'ERR_STATE',
      message: expect.stringMatching(/^reference engine: \w+: a run is in flight\. Await it first\.$/),
    };
    await expect(executable.run()).rejects.toMatchObject(busy);
    for (const call of [
      () => session.read('W'),
      () => session.write('W', [1, 2, 3]),
      () => executable.runSync(),
      () => session.dispose(),
    ]) {
      expect(call).toThrow(expect.objectContaining(busy));
    }
    await running;
    expect(Array.from(session.read('W'))).toEqual([0, 0, 0]);
  });

  test('leaves the event loop free between ops', async () => {
    const { executable } = load();
    let turns = 0;
    const count = () => {
      turns++;
      immediate = setImmediate(count);
    };
    let immediate = setImmediate(count);
    await executable.run();
    clearImmediate(immediate);
    expect(turns).toBeGreaterThanOrEqual(3);
  });

  test('refuses what does not fit', () => {
    const { session, executable } = load();
    expect(() => session.write('W', [1, 2])).toThrow("variable 'W': expected 3 values, got 2 values.");
    expect(() => session.read('V')).toThrow(
      "reference engine: expected variable 'V' to be declared, got none of that name.",
    );
    expect(() => session.declare('W', 'real', [1, 3])).toThrow(
      "variable 'W': expected real [3, 1], got real [1, 3].",
    );
    expect(() => session.declare('W', 'real', [3, 1])).not.toThrow();
    expect(() => executable.input('z')).toThrow("plan 'step': expected an input 'z', got none of that name.");
    expect(() => executable.output('x')).toThrow(
      "plan 'step': expected an output 'x', got none of that name.",
    );
    const other = referenceEngine.createSession();
    other.declare('W', 'real', [3, 2]);
    expect(() => other.load(executable.plan)).toThrow(
      "plan 'step': variable 'W': expected real [3, 1], got real [3, 2].",
    );
    expect(() => referenceEngine.createSession().load(executable.plan)).toThrow(
      "reference engine: expected variable 'W' to be declared, got none of that name.",
    );
  });

  test('after disposal, every call says so', async () => {
    const { session, executable } = load();
    executable.dispose();
    await expect(executable.run()).rejects.toThrow("plan 'step': run: it has been disposed.");
    const second = load(session).executable;
    session.dispose();
    session.dispose();
    expect(() => second.runSync()).toThrow('reference engine: runSync: the session has been disposed.');
    expect(() => session.read('W')).toThrow('reference engine: read: the session has been disposed.');
    expect(() => session.load(second.plan)).toThrow('reference engine: load: the session has been disposed.');
  });
});
