import { setImmediate } from 'node:timers/promises';
import { DeepRnnError, refuse } from '../../errors';
import type { ValueDType } from '../../plan/codes';
import {
  ABSENT,
  type AnyPlanOp,
  type Plan,
  PlanCheckError,
  type ValueId,
  type ValueSpec,
} from '../../plan/types';
import { type Shape, sameShape, sizeOf, type TensorData } from '../../tensors/tensor';
import type { Engine, EngineSession, Executable, InputSet } from '../engine';
import { kernels } from './kernels';
import type { Operand } from './operands';

/**
 * The oracle: every op of a plan, in float64, straight from its equations, in the order of the plan. Correct before fast;
 * it runs on the calling thread and lets the event loop breathe only between ops.
 */
export const referenceEngine: Engine = {
  name: 'reference',
  createSession: () => new ReferenceSession(),
};

type Variable = Operand & { readonly dtype: ValueDType };

class ReferenceSession implements EngineSession {
  readonly engine = 'reference';
  readonly real = 'float64';
  private readonly variables = new Map<string, Variable>();
  private state: 'idle' | 'running' | 'disposed' = 'idle';

  declare(name: string, dtype: ValueDType, shape: Shape): void {
    this.mustBeIdle('declare');
    const known = this.variables.get(name);
    if (!known) {
      this.variables.set(name, { dtype, ...allocate(dtype, shape) });
    } else if (known.dtype !== dtype || !sameShape(known.shape, shape)) {
      refuse('ERR_SHAPE', `variable '${name}'`, describe(known), describe({ dtype, shape }));
    }
  }

  write(name: string, values: ArrayLike<number>): void {
    this.mustBeIdle('write');
    const { data } = this.variable(name);
    if (values.length !== data.length) {
      refuse('ERR_SHAPE', `variable '${name}'`, `${data.length} values`, `${values.length} values`);
    }
    data.set(values);
  }

  async writeLater(name: string, values: ArrayLike<number>): Promise<void> {
    this.write(name, values);
  }

  read(name: string): TensorData {
    this.mustBeIdle('read');
    return this.variable(name).data.slice();
  }

  async readLater(name: string): Promise<TensorData> {
    return this.read(name);
  }

  load(plan: Plan): Executable {
    this.mustBeIdle('load');
    return new ReferenceExecutable(plan, this);
  }

  dispose(): void {
    if (this.state === 'disposed') return;
    this.mustBeIdle('dispose');
    this.state = 'disposed';
    this.variables.clear();
  }

  variable(name: string): Variable {
    return (
      this.variables.get(name) ??
      refuse('ERR_STATE', 'reference engine', `variable '${name}' to be declared`, 'none of that name')
    );
  }

  mustBeIdle(call: string): void {
    if (this.state === 'running') {
      throw new DeepRnnError('ERR_STATE', `reference engine: ${call}: a run is in flight. Await it first.`);
    }
    if (this.state === 'disposed') {
      throw new DeepRnnError('ERR_STATE', `reference engine: ${call}: the session has been disposed.`);
    }
  }

  setRunning(running: boolean): void {
    this.state = running ? 'running' : 'idle';
  }
}

class ReferenceExecutable implements Executable {
  readonly bytes: number;
  readonly notes: readonly string[];
  /** By value, for each set of inputs. */
  private operands: readonly [readonly (Operand | undefined)[], readonly (Operand | undefined)[]];
  private disposed = false;

  constructor(
    readonly plan: Plan,
    private readonly session: ReferenceSession,
  ) {
    const used = new Set(plan.ops.flatMap((op) => [...op.inputs, ...op.outputs]));
    const first = plan.values.map((v) => {
      if (v.role === 'variable') return used.has(v.id) ? this.boundVariable(v) : undefined;
      return v.role === 'arena' && !used.has(v.id) ? undefined : allocate(v.dtype, v.shape);
    });
    const second = plan.values.map((v, i) =>
      v.role === 'input' && v.dtype !== 'float64' ? allocate(v.dtype, v.shape) : first[i],
    );
    this.operands = [first, second];
    this.notes = plan.ops.map(() => '');
    const variables = new Set(plan.values.flatMap((v, i) => (v.role === 'variable' ? [first[i]] : [])));
    this.bytes = [...new Set([...first, ...second])].reduce(
      (sum, operand) => sum + (variables.has(operand) ? 0 : (operand?.data.byteLength ?? 0)),
      0,
    );
    // What is read before an op wrote it shows up in the results.
    plan.values.forEach((v, i) => {
      if (v.role === 'arena' && v.dtype !== 'int32') first[i]?.data.fill(Number.NaN);
    });
  }

  input(name: string, set: InputSet = 0): TensorData {
    return this.named('input', name, set);
  }

  output(name: string): TensorData {
    return this.named('output', name);
  }

  /** Ops read the caller's arrays. */
  stage(): void {}

  async run(set: InputSet = 0, times?: Float64Array): Promise<void> {
    this.begin('run');
    try {
      for (const [i, op] of this.plan.ops.entries()) {
        const start = times ? performance.now() : 0;
        this.execute(op, i, set);
        if (times) times[i] = performance.now() - start;
        await setImmediate();
      }
    } finally {
      this.session.setRunning(false);
    }
  }

  runSync(set: InputSet = 0): void {
    this.begin('runSync');
    try {
      this.plan.ops.forEach((op, i) => {
        this.execute(op, i, set);
      });
    } finally {
      this.session.setRunning(false);
    }
  }

  dispose(): void {
    this.disposed = true;
    this.operands = [[], []];
  }

  private begin(call: string): void {
    if (this.disposed)
      throw new DeepRnnError('ERR_STATE', `plan '${this.plan.name}': ${call}: it has been disposed.`);
    this.session.mustBeIdle(call);
    this.session.setRunning(true);
  }

  private execute(op: AnyPlanOp, index: number, set: InputSet): void {
    const operand = (id: ValueId) => (id === ABSENT ? undefined : this.operands[set][id]);
    try {
      kernels[op.kind](op.attrs as never, op.inputs.map(operand) as never, op.outputs.map(operand) as never);
    } catch (error) {
      throw error instanceof PlanCheckError ? new PlanCheckError(index, error.element, error.value) : error;
    }
  }

  private named(role: 'input' | 'output', name: string, set: InputSet = 0): TensorData {
    const value = this.plan.values.find((v) => v.role === role && v.name === name);
    const operand = value && this.operands[set][value.id];
    return (
      operand?.data ??
      refuse('ERR_STATE', `plan '${this.plan.name}'`, `an ${role} '${name}'`, 'none of that name')
    );
  }

  private boundVariable(v: ValueSpec): Operand {
    const variable = this.session.variable(v.name);
    if (variable.dtype !== v.dtype || !sameShape(variable.shape, v.shape)) {
      refuse('ERR_SHAPE', `plan '${this.plan.name}': variable '${v.name}'`, describe(v), describe(variable));
    }
    return variable;
  }
}

function allocate(dtype: ValueDType, shape: Shape): Operand {
  const size = sizeOf(shape);
  return dtype === 'int32' ? { data: new Int32Array(size), shape } : { data: new Float64Array(size), shape };
}

function describe({ dtype, shape }: { readonly dtype: ValueDType; readonly shape: Shape }): string {
  return `${dtype} [${shape.join(', ')}]`;
}
