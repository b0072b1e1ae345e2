import type { Engine, Executable } from '../../../lib/engines/engine';
import { referenceEngine } from '../../../lib/engines/reference';
import { PlanBuilder } from '../../../lib/plan/builder';
import type { OpKind, ValueDType, ValueRole } from '../../../lib/plan/codes';
import { opRow } from '../../../lib/plan/opTable';
import { ABSENT, type AnyPlanOp, type OpAttrs, type Plan } from '../../../lib/plan/types';
import type { Shape } from '../../../lib/tensors/tensor';

/** An array to hand to an op: `real` unless said otherwise. */
export interface Arg {
  readonly data: ArrayLike<number>;
  readonly shape: Shape;
  readonly dtype?: ValueDType;
  /** Held by the session rather than handed in; read back with `variable`. */
  readonly variable?: boolean;
}

export const real = (data: ArrayLike<number>, shape: Shape): Arg => ({ data, shape });
export const ints = (data: ArrayLike<number>, shape: Shape = [data.length]): Arg => ({
  data,
  shape,
  dtype: 'int32',
});
export const scalar = (value: number): Arg => ({ data: [value], shape: [1], dtype: 'float64' });
export const variable = (data: ArrayLike<number>, shape: Shape): Arg => ({ data, shape, variable: true });

/** One op, loaded into an engine, to run as often as needed. */
export class LoadedOp {
  constructor(
    private readonly executable: Executable,
    private readonly present: readonly boolean[],
    readonly variable: (input: number) => number[],
  ) {}

  /** Input `i`, to write into. */
  input(i: number): Float32Array | Float64Array | Int32Array {
    return this.executable.input(`in.${i}`);
  }

  /** Runs the op; absent outputs are undefined. */
  run(): (Float64Array | undefined)[] {
    this.executable.runSync();
    return this.present.map((there, i) =>
      there ? Float64Array.from(this.executable.output(`out.${i}`)) : undefined,
    );
  }
}

export interface LoadOptions {
  readonly engine?: Engine;
  /** Which outputs are present; all of them by default. */
  readonly want?: readonly boolean[];
  /** The output is input 0, in place, as for `constraint`, or a variable of its own, as for `assign`. */
  readonly into?: number;
}

/** A plan of one op over inputs of its own, with the shapes of its outputs taken from the op table. */
export function loadOp<K extends OpKind>(
  kind: K,
  attrs: OpAttrs[K],
  args: readonly (Arg | undefined)[],
  { engine = referenceEngine, want, into }: LoadOptions = {},
): LoadedOp {
  const builder = new PlanBuilder(`one ${kind}`);
  const inputs = args.map((arg, i) => {
    if (!arg) return ABSENT;
    const role = arg.variable ? 'variable' : 'input';
    return builder[role](`in.${i}`, arg.dtype ?? 'real', arg.shape);
  });
  const specs = inputs.map((id) => (id === ABSENT ? undefined : builder.spec(id)));
  const values = [...builder.values];
  const outputs = opRow(kind)
    .infer(specs, attrs)
    .map((out, i) => {
      if (into !== undefined) return inputs[into] as number;
      if (want && !want[i]) return ABSENT;
      values.push({ id: values.length, name: `out.${i}`, ...out, role: 'output' satisfies ValueRole });
      return values.length - 1;
    });
  const op = { kind, inputs, outputs, attrs, label: kind } as unknown as AnyPlanOp;
  const plan: Plan = { name: builder.name, values, ops: [op] };

  const session = engine.createSession();
  args.forEach((arg, i) => {
    if (!arg?.variable) return;
    session.declare(`in.${i}`, arg.dtype ?? 'real', arg.shape);
    session.write(`in.${i}`, arg.data);
  });
  const executable = session.load(plan);
  args.forEach((arg, i) => {
    if (arg && !arg.variable) executable.input(`in.${i}`).set(Array.from(arg.data));
  });
  const present = outputs.map((id) => id !== ABSENT && into === undefined);
  return new LoadedOp(executable, present, (i) => Array.from(session.read(`in.${i}`)));
}

/** Runs one op once. */
export function runOp<K extends OpKind>(
  kind: K,
  attrs: OpAttrs[K],
  args: readonly (Arg | undefined)[],
  options?: LoadOptions,
): (Float64Array | undefined)[] {
  return loadOp(kind, attrs, args, options).run();
}
