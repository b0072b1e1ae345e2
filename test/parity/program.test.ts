import type { Engine } from '../../lib/engines/engine';
import { PlanBuilder } from '../../lib/plan/builder';
import { gradients } from '../../lib/plan/gradients';
import { instructionCodes, outputOf } from '../../lib/plan/program/program';
import { ProgramBuilder } from '../../lib/plan/program/programBuilder';
import { ABSENT, type ValueId } from '../../lib/plan/types';
import {
  expectNorms,
  expectParity,
  normLimits,
  type Operand,
  type Outputs,
  RandomInputs,
  reference,
  runOp,
  scalar,
  tested,
  testedPrecision,
  tolerance,
} from './harness';
import { type CaseSizes, type ProgramCase, programCase } from './programCases';

let stream = 50_000;
const fresh = () => new RandomInputs(stream++);
const step = scalar(7);

const sizes: readonly CaseSizes[] = [
  { T: 1, N: 1, W: 1, reverse: false },
  { T: 5, N: 3, W: 4, reverse: false },
  { T: 7, N: 33, W: 17, reverse: true },
  { T: 3, N: 2, W: 96, reverse: false },
];

/** The last state of every carry, and all steps of some values. */
function wanted({ attrs, results }: ProgramCase): boolean[] {
  const want: boolean[] = new Array(2 * attrs.carries.length + attrs.registers.length).fill(false);
  attrs.carries.forEach((_, i) => {
    want[outputOf.last(attrs, i)] = true;
  });
  for (const r of results) want[outputOf.register(attrs, r)] = true;
  return want;
}

/** Half the squares of all that the program gives, and their gradients by the number of the operand. */
function differentiated(engine: Engine, c: ProgramCase, operands: readonly Operand[] = c.operands): Outputs {
  const builder = new PlanBuilder('program');
  const session = engine.createSession(engine.name === 'reference' ? {} : { precision: testedPrecision });
  try {
    const ids = operands.map(({ dtype, shape, values }, i) => {
      if (dtype !== 'real') return builder.input(`in${i}`, dtype, shape);
      session.declare(`v${i}`, dtype, shape);
      session.write(`v${i}`, values);
      return builder.variable(`v${i}`, dtype, shape);
    });
    const keyed = builder.input('step', 'float64', [1]);
    const outputs = builder.emit('program', [keyed, ...ids], c.attrs, 'program', wanted(c));
    const terms = outputs
      .filter((id) => id !== ABSENT)
      .map((id) => builder.emit('penalty', [id], { l1: 0, l2: 0.5, scale: 1 }, 'root')[0] as ValueId);
    builder.output('loss', builder.emit('sumScalars', terms, {}, 'loss')[0] as ValueId);
    const real = ids.filter((_, i) => operands[i]?.dtype === 'real');
    const found = gradients(builder, terms, real).of;
    ids.forEach((id, i) => {
      const grad = found.get(id);
      if (grad !== undefined) builder.output(`d${i}`, grad);
    });
    const executable = session.load(builder.finish());
    executable.input('step').set([7]);
    operands.forEach(({ dtype, values }, i) => {
      if (dtype !== 'real') executable.input(`in${i}`).set(values);
    });
    executable.runSync();
    const results: Outputs = {};
    for (const { role, name } of executable.plan.values)
      if (role === 'output') results[name] = Float64Array.from(executable.output(name));
    return results;
  } finally {
    session.dispose();
  }
}

describe('program', () => {
  test('the cases have every instruction, and their gradients those that are there for them', () => {
    const { attrs } = programCase(fresh(), sizes[1] as CaseSizes);
    const kinds = new Set(attrs.instructions.map(({ kind }) => kind));
    const backward = ['activationGrad', 'sign', 'greaterEqual'];
    expect([...kinds, ...backward].sort()).toEqual(Object.keys(instructionCodes).sort());
  });

  test('what is not a number stays, on either side', () => {
    const program = new ProgramBuilder();
    const [a, b] = [program.operand('sequence', 3), program.operand('sequence', 3)];
    const made = (['maximum', 'minimum', 'abs', 'sqrt'] as const).map((kind) =>
      program.emit(kind, kind === 'maximum' || kind === 'minimum' ? [a, b] : [a], 3),
    );
    const attrs = program.finish({ steps: 1, batch: 1, reverse: false, seed: 0 });
    const rows = (values: number[]): Operand => ({
      dtype: 'real',
      shape: [1, 1, 3],
      values: Float64Array.from(values),
    });
    const operands = [step, rows([Number.NaN, 1, 4]), rows([2, Number.NaN, 1])];
    const want = made.map(() => true);
    for (const engine of [tested(), reference()]) {
      const [maximum, minimum, abs, sqrt] = Object.values(
        runOp(engine, 'program', operands, attrs, { want }),
      );
      expect([...(maximum as Float64Array)]).toEqual([Number.NaN, Number.NaN, 4]);
      expect([...(minimum as Float64Array)]).toEqual([Number.NaN, Number.NaN, 1]);
      expect([...(abs as Float64Array)]).toEqual([Number.NaN, 1, 4]);
      expect([...(sqrt as Float64Array)]).toEqual([Number.NaN, 1, 2]);
    }
  });

  test.each(sizes)('values of T $T, N $N, width $W, reverse $reverse', (size) => {
    const c = programCase(fresh(), size);
    const operands = [step, ...c.operands];
    for (const want of [wanted(c), wanted(c).map((_, i) => i % 3 !== 1)]) {
      const actual = runOp(tested(), 'program', operands, c.attrs, { want });
      const exact = runOp(reference(), 'program', operands, c.attrs, { want });
      if (testedPrecision === 'fp32') expectParity(actual, exact, tolerance(4 * size.W * size.T), 1);
      else expectNorms(actual, exact, 8 * normLimits[testedPrecision].forward);
    }
  });

  test.each(sizes)('gradients of T $T, N $N, width $W, reverse $reverse', (size) => {
    if (testedPrecision === 'int8') return;
    const c = programCase(fresh(), size);
    const actual = differentiated(tested(), c);
    const exact = differentiated(reference(), c);
    expect(Object.keys(exact)).toHaveLength(10);
    if (testedPrecision === 'fp32')
      expectParity(actual, exact, 4 * tolerance(4 * size.W * size.T * size.N), 1);
    else expectNorms(actual, exact, 4 * normLimits[testedPrecision].backward);
  });

  test('the reference’s gradients are the finite differences of its values', () => {
    for (const size of sizes.slice(0, 3)) {
      const r = fresh();
      const c = programCase(r, size);
      const exact = differentiated(reference(), c);
      const along = c.operands.map(({ dtype, shape }) => (dtype === 'real' ? r.normal(shape) : undefined));
      const lossAt = (by: number, only: number): number => {
        const moved = c.operands.map((operand, i) => {
          const direction = along[i];
          if (!direction || i !== only) return operand;
          return {
            ...operand,
            values: Float64Array.from(operand.values, (v, k) => v + by * (direction.values[k] as number)),
          };
        });
        return differentiated(reference(), c, moved)['loss']?.[0] as number;
      };
      c.operands.forEach((_, i) => {
        const direction = along[i];
        if (!direction) return;
        const h = 1e-6;
        const numeric = (lossAt(h, i) - lossAt(-h, i)) / (2 * h);
        const given = exact[`d${i}`] as Float64Array;
        const analytic = given.reduce((sum, g, k) => sum + g * (direction.values[k] as number), 0);
        expect(Math.abs(analytic - numeric)).toBeLessThan(1e-5 * Math.max(1, Math.abs(numeric)));
      });
    }
  });

  test('the same bits on one thread and on more', () => {
    const c = programCase(fresh(), { T: 4, N: 13, W: 11, reverse: false });
    const run = (threads: number) =>
      runOp(tested(), 'program', [step, ...c.operands], c.attrs, { want: wanted(c), threads });
    expect(run(2)).toEqual(run(1));
    expect(run(3)).toEqual(run(1));
  });
});
