import { DeepRnnError, refuse } from '../errors';
import { dtypeCodes, type ValueDType } from '../plan/codes';
import { encodePlan } from '../plan/encode';
import { type Plan, PlanCheckError, type ValueSpec } from '../plan/types';
import { type Shape, sameShape, sizeOf, type TensorData } from '../tensors/tensor';
import type { EngineName, EngineSession, Executable, InputSet } from './engine';
import { OutOfMemory } from './outOfMemory';

/** `Session` of an addon: each engine's border is the same (native/napi). */
export interface NativeSession {
  createVariable(dtype: number, elements: number): number;
  writeVariable(index: number, values: TensorData): void;
  readVariable(index: number, into: TensorData): void;
  readVariableLater(index: number, into: TensorData): Promise<void>;
  writeVariableLater(index: number, values: TensorData): Promise<void>;
  load(
    words: Int32Array,
    floats: Float64Array,
    inputs: TensorData[],
    outputs: TensorData[],
    secondInputs: TensorData[],
  ): NativeExecutable;
  dispose(): void;
}

interface NativeExecutable {
  readonly bytes: number;
  readonly notes: readonly string[];
  run(set: InputSet, times?: Float64Array): Promise<void>;
  runSync(set: InputSet): void;
  stage(set: InputSet): void;
  dispose(): void;
}

const REAL_BYTES = 4;

function allocate(dtype: ValueDType, elements: number): TensorData {
  if (dtype === 'real') return new Float32Array(elements);
  return dtype === 'int32' ? new Int32Array(elements) : new Float64Array(elements);
}

/** An error of an addon in the library's words. No `instanceof`: inside a vm context the addon's Error is another one. */
function translate(error: unknown, engine: EngineName): unknown {
  if (typeof error !== 'object' || error === null || !('code' in error)) return error;
  const { code, message, op, element, value, needed, available } = error as Record<
    'op' | 'element' | 'value' | 'needed' | 'available',
    number
  > & { code: unknown; message: string };
  if (code === 'CHECK_FAILED') return new PlanCheckError(op, element, value);
  if (code === 'ERR_DEVICE' && needed !== undefined)
    return new OutOfMemory(`${engine} engine: ${message}`, needed, available, { cause: error });
  if (code === 'ERR_SHAPE' || code === 'ERR_STATE' || code === 'ERR_DEVICE') {
    return new DeepRnnError(code, `${engine} engine: ${message}`, { cause: error });
  }
  return error;
}

function translated<R>(engine: EngineName, work: () => R): R {
  try {
    return work();
  } catch (error) {
    throw translate(error, engine);
  }
}

interface Variable {
  readonly index: number;
  readonly dtype: ValueDType;
  readonly shape: Shape;
}

/** A session of a native engine: names for its variables, its plans as words, its errors as the library's. */
class AddonSession implements EngineSession {
  readonly real = 'float32';
  private readonly native: NativeSession;
  private readonly variables = new Map<string, Variable>();

  constructor(
    readonly engine: EngineName,
    open: () => NativeSession,
  ) {
    this.native = translated(engine, open);
  }

  declare(name: string, dtype: ValueDType, shape: Shape): void {
    const known = this.variables.get(name);
    if (!known) {
      const index = translated(this.engine, () =>
        this.native.createVariable(dtypeCodes[dtype], sizeOf(shape)),
      );
      this.variables.set(name, { index, dtype, shape: [...shape] });
    } else if (known.dtype !== dtype || !sameShape(known.shape, shape)) {
      refuse(
        'ERR_SHAPE',
        `variable '${name}'`,
        `${known.dtype} [${known.shape.join(', ')}]`,
        `${dtype} [${shape.join(', ')}]`,
      );
    }
  }

  write(name: string, values: ArrayLike<number>): void {
    const { index, data } = this.fitting(name, values);
    translated(this.engine, () => this.native.writeVariable(index, data));
  }

  async writeLater(name: string, values: ArrayLike<number>): Promise<void> {
    const { index, data } = this.fitting(name, values);
    try {
      await this.native.writeVariableLater(index, data);
    } catch (error) {
      throw translate(error, this.engine);
    }
  }

  /** Values in the array type of the variable, in their own memory where they have it. */
  private fitting(name: string, values: ArrayLike<number>): { index: number; data: TensorData } {
    const { index, dtype, shape } = this.variable(name);
    const size = sizeOf(shape);
    if (values.length !== size)
      refuse('ERR_SHAPE', `variable '${name}'`, `${size} values`, `${values.length} values`);
    if (values instanceof allocate(dtype, 0).constructor) return { index, data: values as TensorData };
    const data = allocate(dtype, size);
    data.set(values);
    return { index, data };
  }

  read(name: string): TensorData {
    const { index, dtype, shape } = this.variable(name);
    const data = allocate(dtype, sizeOf(shape));
    translated(this.engine, () => this.native.readVariable(index, data));
    return data;
  }

  async readLater(name: string): Promise<TensorData> {
    const { index, dtype, shape } = this.variable(name);
    const data = allocate(dtype, sizeOf(shape));
    try {
      await this.native.readVariableLater(index, data);
    } catch (error) {
      throw translate(error, this.engine);
    }
    return data;
  }

  load(plan: Plan): Executable {
    const encoded = encodePlan(plan, REAL_BYTES, (name) => this.variable(name).index);
    const arrays = (values: readonly ValueSpec[]) => values.map((v) => allocate(v.dtype, sizeOf(v.shape)));
    const inputs = arrays(encoded.inputs);
    const secondInputs = encoded.inputs.map((v, i) =>
      v.dtype === 'float64' ? (inputs[i] as TensorData) : allocate(v.dtype, sizeOf(v.shape)),
    );
    const outputs = arrays(encoded.outputs);
    const native = translated(this.engine, () =>
      this.native.load(encoded.words, encoded.floats, inputs, outputs, secondInputs),
    );
    return new AddonExecutable(
      this.engine,
      plan,
      native,
      [named(encoded.inputs, inputs), named(encoded.inputs, secondInputs)],
      named(encoded.outputs, outputs),
    );
  }

  dispose(): void {
    this.native.dispose();
    this.variables.clear();
  }

  private variable(name: string): Variable {
    return (
      this.variables.get(name) ??
      refuse('ERR_STATE', `${this.engine} engine`, `variable '${name}' to be declared`, 'none of that name')
    );
  }
}

function named(values: readonly ValueSpec[], arrays: readonly TensorData[]): Map<string, TensorData> {
  return new Map(values.map((v, i) => [v.name, arrays[i] as TensorData]));
}

class AddonExecutable implements Executable {
  readonly bytes: number;
  readonly notes: readonly string[];

  constructor(
    private readonly engine: EngineName,
    readonly plan: Plan,
    private readonly native: NativeExecutable,
    private readonly inputs: readonly ReadonlyMap<string, TensorData>[],
    private readonly outputs: ReadonlyMap<string, TensorData>,
  ) {
    const arrays = new Set([...inputs, outputs].flatMap((byName) => [...byName.values()]));
    this.bytes = [...arrays].reduce((sum, a) => sum + a.byteLength, native.bytes);
    this.notes = native.notes;
  }

  input(name: string, set: InputSet = 0): TensorData {
    return (
      this.inputs[set]?.get(name) ??
      refuse('ERR_STATE', `plan '${this.plan.name}'`, `an input '${name}'`, 'none of that name')
    );
  }

  output(name: string): TensorData {
    return (
      this.outputs.get(name) ??
      refuse('ERR_STATE', `plan '${this.plan.name}'`, `an output '${name}'`, 'none of that name')
    );
  }

  stage(set: InputSet): void {
    translated(this.engine, () => this.native.stage(set));
  }

  async run(set: InputSet = 0, times?: Float64Array): Promise<void> {
    try {
      await (times ? this.native.run(set, times) : this.native.run(set));
    } catch (error) {
      throw translate(error, this.engine);
    }
  }

  runSync(set: InputSet = 0): void {
    // No closure: a live sequence comes by here at every step.
    try {
      this.native.runSync(set);
    } catch (error) {
      throw translate(error, this.engine);
    }
  }

  dispose(): void {
    this.native.dispose();
  }
}

/** @throws what the addon says when it cannot open a session, as ERR_DEVICE where the device is the reason */
export function openSession(engine: EngineName, open: () => NativeSession): EngineSession {
  return new AddonSession(engine, open);
}
