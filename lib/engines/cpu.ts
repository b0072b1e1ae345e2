import { DeepRnnError, reasonOf, refuse } from '../errors';
import { dtypeCodes, type ValueDType } from '../plan/codes';
import { encodePlan } from '../plan/encode';
import { type Plan, PlanCheckError, type ValueSpec } from '../plan/types';
import { type Shape, sameShape, sizeOf, type TensorData } from '../tensors/tensor';
import { loadAddon } from './addon';
import type { Engine, EngineSession, Executable, SessionOptions } from './engine';

/** What `deeprnn-cpu.node` exports. */
interface CpuAddon {
  Session: new (options: { threads?: number }) => NativeSession;
  info(): CpuInfo;
}

interface NativeSession {
  createVariable(dtype: number, elements: number): number;
  writeVariable(index: number, values: TensorData): void;
  readVariable(index: number, into: TensorData): void;
  load(
    words: Int32Array,
    floats: Float64Array,
    inputs: TensorData[],
    outputs: TensorData[],
  ): NativeExecutable;
  dispose(): void;
}

interface NativeExecutable {
  readonly bytes: number;
  run(): Promise<void>;
  runSync(): void;
  dispose(): void;
}

export interface CpuInfo {
  /** The instruction set whose kernels run. */
  readonly isa: string;
  readonly availableIsas: readonly string[];
  readonly threads: number;
}

/** Facts of the CPU engine, or why it cannot be used. */
export function cpuInfo(): CpuInfo | { readonly reason: string } {
  const found = loadAddon('cpu');
  if ('reason' in found) return found;
  try {
    return (found.addon as CpuAddon).info();
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

/** @throws ERR_DEVICE when the addon cannot be loaded, with all that was tried and the way out */
export function cpuEngine(): Engine {
  const found = loadAddon('cpu');
  if ('reason' in found) throw new DeepRnnError('ERR_DEVICE', `device 'cpu' cannot be used: ${found.reason}`);
  const addon = found.addon as CpuAddon;
  return { name: 'cpu', createSession: (options) => new CpuSession(addon, options ?? {}) };
}

const REAL_BYTES = 4;

function allocate(dtype: ValueDType, elements: number): TensorData {
  if (dtype === 'real') return new Float32Array(elements);
  return dtype === 'int32' ? new Int32Array(elements) : new Float64Array(elements);
}

/** An error of the addon in the library's words. No `instanceof`: inside a vm context the addon's Error is another one. */
function translate(error: unknown): unknown {
  if (typeof error !== 'object' || error === null || !('code' in error)) return error;
  const { code, message, op, element, value } = error as Record<'op' | 'element' | 'value', number> & {
    code: unknown;
    message: string;
  };
  if (code === 'CHECK_FAILED') return new PlanCheckError(op, element, value);
  if (code === 'ERR_SHAPE' || code === 'ERR_STATE' || code === 'ERR_DEVICE') {
    return new DeepRnnError(code, `cpu engine: ${message}`, { cause: error });
  }
  return error;
}

function translated<R>(work: () => R): R {
  try {
    return work();
  } catch (error) {
    throw translate(error);
  }
}

interface Variable {
  readonly index: number;
  readonly dtype: ValueDType;
  readonly shape: Shape;
}

class CpuSession implements EngineSession {
  readonly engine = 'cpu';
  readonly real = 'float32';
  private readonly native: NativeSession;
  private readonly variables = new Map<string, Variable>();

  constructor(addon: CpuAddon, { threads }: SessionOptions) {
    this.native = translated(() => new addon.Session(threads === undefined ? {} : { threads }));
  }

  declare(name: string, dtype: ValueDType, shape: Shape): void {
    const known = this.variables.get(name);
    if (!known) {
      const index = translated(() => this.native.createVariable(dtypeCodes[dtype], sizeOf(shape)));
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
    const { index, dtype, shape } = this.variable(name);
    const size = sizeOf(shape);
    if (values.length !== size)
      refuse('ERR_SHAPE', `variable '${name}'`, `${size} values`, `${values.length} values`);
    const data = allocate(dtype, size);
    data.set(values);
    translated(() => this.native.writeVariable(index, data));
  }

  read(name: string): TensorData {
    const { index, dtype, shape } = this.variable(name);
    const data = allocate(dtype, sizeOf(shape));
    translated(() => this.native.readVariable(index, data));
    return data;
  }

  load(plan: Plan): Executable {
    const encoded = encodePlan(plan, REAL_BYTES, (name) => this.variable(name).index);
    const arrays = (values: readonly ValueSpec[]) => values.map((v) => allocate(v.dtype, sizeOf(v.shape)));
    const inputs = arrays(encoded.inputs);
    const outputs = arrays(encoded.outputs);
    const native = translated(() => this.native.load(encoded.words, encoded.floats, inputs, outputs));
    return new CpuExecutable(plan, native, named(encoded.inputs, inputs), named(encoded.outputs, outputs));
  }

  dispose(): void {
    this.native.dispose();
    this.variables.clear();
  }

  private variable(name: string): Variable {
    return (
      this.variables.get(name) ??
      refuse('ERR_STATE', 'cpu engine', `variable '${name}' to be declared`, 'none of that name')
    );
  }
}

function named(values: readonly ValueSpec[], arrays: readonly TensorData[]): Map<string, TensorData> {
  return new Map(values.map((v, i) => [v.name, arrays[i] as TensorData]));
}

class CpuExecutable implements Executable {
  readonly bytes: number;

  constructor(
    readonly plan: Plan,
    private readonly native: NativeExecutable,
    private readonly inputs: ReadonlyMap<string, TensorData>,
    private readonly outputs: ReadonlyMap<string, TensorData>,
  ) {
    const shared = [...inputs.values(), ...outputs.values()].reduce((sum, a) => sum + a.byteLength, 0);
    this.bytes = native.bytes + shared;
  }

  input(name: string): TensorData {
    return (
      this.inputs.get(name) ??
      refuse('ERR_STATE', `plan '${this.plan.name}'`, `an input '${name}'`, 'none of that name')
    );
  }

  output(name: string): TensorData {
    return (
      this.outputs.get(name) ??
      refuse('ERR_STATE', `plan '${this.plan.name}'`, `an output '${name}'`, 'none of that name')
    );
  }

  async run(): Promise<void> {
    try {
      await this.native.run();
    } catch (error) {
      throw translate(error);
    }
  }

  runSync(): void {
    translated(() => this.native.runSync());
  }

  dispose(): void {
    this.native.dispose();
  }
}
