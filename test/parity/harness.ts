import { createEngine } from '../../lib/engines/devices';
import type { Engine, Executable, Precision } from '../../lib/engines/engine';
import { PlanBuilder } from '../../lib/plan/builder';
import type { OpKind, ValueDType } from '../../lib/plan/codes';
import { ABSENT, type OpAttrs, type ValueId } from '../../lib/plan/types';
import { Philox } from '../../lib/tensors/random';
import { type Shape, sizeOf } from '../../lib/tensors/tensor';

/** One input of an op under test; `variable` makes it something the op may write. */
export interface Operand {
  readonly dtype: ValueDType;
  readonly shape: Shape;
  readonly values: ArrayLike<number>;
  readonly variable?: boolean;
}

export type Outputs = Record<string, Float64Array>;

/** Fresh random inputs: the seed is printed with every failure, and DEEPRNN_TEST_SEED repeats a run. */
export const testSeed = Number(process.env['DEEPRNN_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

export class RandomInputs {
  private readonly random: Philox;

  constructor(stream: number) {
    this.random = new Philox(testSeed, stream);
  }

  /** Normal numbers, rounded to float32 so that both engines start from the same values. */
  normal(shape: Shape, scale = 1, shift = 0): Operand {
    const values = Float64Array.from({ length: sizeOf(shape) }, () =>
      Math.fround(scale * this.random.nextNormal() + shift),
    );
    return { dtype: 'real', shape, values };
  }

  /** Uniform in (low, high). */
  uniform(shape: Shape, low: number, high: number): Operand {
    const values = Float64Array.from({ length: sizeOf(shape) }, () =>
      Math.fround(low + (high - low) * this.random.nextFloat()),
    );
    return { dtype: 'real', shape, values };
  }

  integers(shape: Shape, bound: number): Operand {
    return {
      dtype: 'int32',
      shape,
      values: Int32Array.from({ length: sizeOf(shape) }, () => this.random.nextInt(bound)),
    };
  }

  /** Rows that sum to 1. */
  distribution(rows: number, classes: number): Operand {
    const values = new Float64Array(rows * classes);
    for (let r = 0; r < rows; r++) {
      const row = Array.from({ length: classes }, () => Math.exp(this.random.nextNormal()));
      const sum = row.reduce((a, b) => a + b, 0);
      row.forEach((v, c) => {
        values[r * classes + c] = Math.fround(v / sum);
      });
    }
    return { dtype: 'real', shape: [rows, classes], values };
  }
}

export const scalar = (value: number): Operand => ({ dtype: 'float64', shape: [1], values: [value] });

/** Runs one op on one engine. Outputs are named `0`, `1`, …; written variables `v<input index>`. */
export function runOp<K extends OpKind>(
  engine: Engine,
  kind: K,
  operands: readonly (Operand | undefined)[],
  attrs: OpAttrs[K],
  options: {
    want?: readonly boolean[];
    into?: readonly number[];
    threads?: number;
    precision?: Precision;
    loaded?: (executable: Executable) => void;
  } = {},
): Outputs {
  const builder = new PlanBuilder(kind);
  const session = engine.createSession({
    ...(options.threads ? { threads: options.threads } : {}),
    ...(engine.name === 'reference' ? {} : { precision: options.precision ?? testedPrecision }),
  });
  try {
    const ids = operands.map((operand, i): ValueId => {
      if (!operand) return ABSENT;
      if (!operand.variable) return builder.input(`in${i}`, operand.dtype, operand.shape);
      session.declare(`v${i}`, operand.dtype, operand.shape);
      session.write(`v${i}`, operand.values);
      return builder.variable(`v${i}`, operand.dtype, operand.shape);
    });
    if (options.into) {
      builder.emitInto(
        kind,
        ids,
        options.into.map((i) => ids[i] as ValueId),
        attrs,
        kind,
      );
    } else {
      builder.emit(kind, ids, attrs, kind, options.want).forEach((id, i) => {
        if (id !== ABSENT) builder.output(String(i), id);
      });
    }
    const executable = session.load(builder.finish());
    options.loaded?.(executable);
    operands.forEach((operand, i) => {
      if (operand && !operand.variable) executable.input(`in${i}`).set(operand.values);
    });
    executable.runSync();
    const results: Outputs = {};
    for (const value of executable.plan.values) {
      if (value.role === 'output') results[value.name] = Float64Array.from(executable.output(value.name));
      if (value.role === 'variable') results[value.name] = Float64Array.from(session.read(value.name));
    }
    executable.dispose();
    return results;
  } finally {
    session.dispose();
  }
}

/** Rounding unit of float32. */
const UNIT = 2 ** -24;

/**
 * Largest difference allowed for results in float32 that come from sums of about `length` terms: rounding errors grow like
 * the root of the number of operations (random signs), times a margin of 8 for constants, relative to the largest reference value.
 */
export function tolerance(length: number): number {
  return 8 * UNIT * (2 + Math.sqrt(length));
}

/**
 * Largest |actual − reference| over the largest |reference|, or over `scale` where that is larger: the size of the terms of a sum
 * that may cancel. NaN where either is not finite and the other is not the same.
 */
export function relativeError(actual: ArrayLike<number>, reference: ArrayLike<number>, scale = 1e-6): number {
  if (actual.length !== reference.length) return Number.NaN;
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < reference.length; i++) {
    const a = actual[i] as number;
    const r = reference[i] as number;
    if (Object.is(a, r)) continue;
    if (!Number.isFinite(a) || !Number.isFinite(r)) return Number.NaN;
    worst = Math.max(worst, Math.abs(a - r));
  }
  for (let i = 0; i < reference.length; i++) largest = Math.max(largest, Math.abs(reference[i] as number));
  return worst === 0 ? 0 : worst / Math.max(largest, scale);
}

/** Fails unless every output of the op on the CPU engine is within `limit` of the reference. NaN fails. */
export function expectParity(actual: Outputs, reference: Outputs, limit: number, scale?: number): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(reference).sort());
  for (const [name, values] of Object.entries(reference)) {
    const error = relativeError(actual[name] as Float64Array, values, scale);
    if (!(error <= limit)) {
      throw new Error(
        `output ${name}: relative error ${error} is above ${limit} (DEEPRNN_TEST_SEED=${testSeed})`,
      );
    }
  }
}

/** ‖actual − reference‖₂ / ‖reference‖₂; NaN where either is not finite. */
export function normError(actual: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (actual.length !== reference.length) return Number.NaN;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < reference.length; i++) {
    difference += ((actual[i] as number) - (reference[i] as number)) ** 2;
    norm += (reference[i] as number) ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}

/** In what the engine under test computes products; DEEPRNN_TEST_PRECISION names another than float32. */
export const testedPrecision = (process.env['DEEPRNN_TEST_PRECISION'] ?? 'fp32') as Precision;

/**
 * Limits on ‖actual − reference‖ / ‖reference‖ where products are rounded: a few rounding units of the factors (2⁻¹¹ for tf32, 2⁻⁹
 * for bf16, 1/254 of the largest for int8), of which random signs cancel most; gradients come through twice as many products, and so of
 * rounded states. There are none in int8.
 */
export const normLimits = {
  tf32: { forward: 1e-3, backward: 1e-2 },
  bf16: { forward: 1e-2, backward: 1e-1 },
  int8: { forward: 5e-2, backward: Number.NaN },
};

/** `limit` is for many numbers; the norm of few of them scatters, by about one over the root of their count. */
export function expectNorms(actual: Outputs, wanted: Outputs, limit: number): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(wanted).sort());
  for (const [name, values] of Object.entries(wanted)) {
    const error = normError(actual[name] as Float64Array, values);
    const most = limit * (1 + 8 / Math.sqrt(values.length));
    if (!(error <= most)) {
      throw new Error(
        `output ${name}: ${error} of its norm is above ${most} (DEEPRNN_TEST_SEED=${testSeed})`,
      );
    }
  }
}

/** The engine under test; DEEPRNN_TEST_DEVICE names another than the CPU's. */
export const tested = (): Engine => createEngine(process.env['DEEPRNN_TEST_DEVICE'] ?? 'cpu');
export const reference = (): Engine => createEngine('reference');

/** Runs one op on both engines and compares everything it writes. */
export function checkParity<K extends OpKind>(
  kind: K,
  operands: readonly (Operand | undefined)[],
  attrs: OpAttrs[K],
  limit: number,
  options: { want?: readonly boolean[]; into?: readonly number[]; scale?: number } = {},
): void {
  if (kind === 'denseGrad' && testedPrecision === 'int8') return;
  const actual = runOp(tested(), kind, operands, attrs, options);
  const wanted = runOp(reference(), kind, operands, attrs, options);
  if (testedPrecision === 'fp32' || !/^(dense|matmul)/.test(kind))
    expectParity(actual, wanted, limit, options.scale);
  else expectNorms(actual, wanted, normLimits[testedPrecision].forward);
}
