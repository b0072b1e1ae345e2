import { setImmediate } from 'node:timers/promises';
import type { Engine, EngineSession, Executable, SessionOptions } from '../engines/engine';
import { DeepRnnError, refuse } from '../errors';
import type { Plan } from '../plan/types';
import { type Shape, sameShape, sizeOf, Tensor, type TensorData } from '../tensors/tensor';

interface Entry {
  readonly shape: Shape;
  /** Held here until there is a session; afterwards the session holds the values. */
  data: TensorData | undefined;
}

/** Numbers copied at once: a few milliseconds. */
const PIECE = 2 ** 20;

/** Copies a large array while the event loop runs. */
async function copyInPieces(values: TensorData): Promise<TensorData> {
  if (values.length <= PIECE) return values.slice();
  const copy = new (values.constructor as new (length: number) => TensorData)(values.length);
  for (let begin = 0; begin < values.length; begin += PIECE) {
    copy.set(values.subarray(begin, begin + PIECE), begin);
    await setImmediate();
  }
  return copy;
}

/**
 * The arrays of one model: weights, optimizer slots and carried states. They live in JavaScript until an engine is needed,
 * in the engine's session from then on, and move when the model is compiled for another device.
 */
export class Variables {
  private readonly entries = new Map<string, Entry>();
  private session: EngineSession | undefined;

  constructor(private readonly modelName: string) {}

  has(name: string): boolean {
    return this.entries.has(name);
  }

  names(): string[] {
    return [...this.entries.keys()];
  }

  get real(): 'float32' | 'float64' {
    return this.session?.real ?? 'float32';
  }

  /** Adds a variable with its first values, default zeros. A known name with the same shape keeps what it holds. */
  declare(name: string, shape: Shape, initial?: () => TensorData): void {
    const known = this.entries.get(name);
    if (known) {
      if (!sameShape(known.shape, shape)) {
        refuse('ERR_SHAPE', `variable '${name}'`, `shape [${known.shape}]`, `[${shape}]`);
      }
      return;
    }
    const data = initial?.();
    const entry: Entry = { shape: [...shape], data: undefined };
    this.entries.set(name, entry);
    if (this.session) {
      this.session.declare(name, 'real', shape);
      if (data) this.session.write(name, data);
    } else {
      entry.data = data ?? new Float32Array(sizeOf(shape));
    }
  }

  /** Drops all variables that `wanted` does not name. Plans that use them must be gone. */
  keep(wanted: (name: string) => boolean): void {
    for (const name of this.names()) if (!wanted(name)) this.entries.delete(name);
  }

  read(name: string): Tensor {
    const entry = this.entry(name);
    return new Tensor(
      this.session ? this.session.read(name) : (entry.data as TensorData).slice(),
      entry.shape,
    );
  }

  /** Several of them by name, read off the event loop. Nothing else may use the variables meanwhile. */
  async readLater(names: readonly string[]): Promise<Map<string, Tensor>> {
    const read = new Map<string, Tensor>();
    for (const name of names) {
      const { shape } = this.entry(name);
      const { session } = this;
      const data = session
        ? await session.readLater(name)
        : await copyInPieces(this.entry(name).data as TensorData);
      read.set(name, new Tensor(data, shape));
    }
    return read;
  }

  write(name: string, values: TensorData): void {
    const entry = this.entry(name);
    if (values.length !== sizeOf(entry.shape)) {
      refuse('ERR_SHAPE', `variable '${name}'`, `${sizeOf(entry.shape)} values`, values.length);
    }
    if (this.session) this.session.write(name, values);
    else entry.data = values.slice();
  }

  /**
   * Gives a variable, known or not, the values of an array that is the model's from now on: it is not copied where it can stay, and
   * else copied off the event loop. Nothing else may use the variables meanwhile.
   */
  async take(name: string, shape: Shape, values: TensorData): Promise<void> {
    this.declare(name, shape, this.session ? undefined : () => values);
    if (this.session) await this.session.writeLater(name, values);
    else this.entry(name).data = values;
  }

  /** Moves from JavaScript's memory to a session of `engine`, off the event loop. Nothing else may use the variables meanwhile. */
  async attach(engine: Engine, options: SessionOptions): Promise<void> {
    const next = engine.createSession(options);
    try {
      // Those of a layer that is added meanwhile come along: a map's iterator goes on to what is added.
      for (const [name, { shape, data }] of this.entries) {
        next.declare(name, 'real', shape);
        await next.writeLater(name, data as TensorData);
      }
    } catch (error) {
      next.dispose();
      throw error;
    }
    for (const entry of this.entries.values()) entry.data = undefined;
    this.session = next;
  }

  /** Moves to a session of `engine` what `wanted` names, and drops the rest. */
  moveTo(engine: Engine, options: SessionOptions, wanted: (name: string) => boolean): void {
    const next = engine.createSession(options);
    try {
      for (const [name, { shape, data }] of this.entries) {
        if (!wanted(name)) continue;
        next.declare(name, 'real', shape);
        next.write(name, this.session ? this.session.read(name) : (data as TensorData));
      }
    } catch (error) {
      // The values stay where they were.
      next.dispose();
      throw error;
    }
    this.keep(wanted);
    for (const entry of this.entries.values()) entry.data = undefined;
    this.session?.dispose();
    this.session = next;
  }

  get attached(): boolean {
    return this.session !== undefined;
  }

  load(plan: Plan): Executable {
    if (!this.session) throw new DeepRnnError('ERR_STATE', `model '${this.modelName}': no engine session.`);
    try {
      return this.session.load(plan);
    } catch (error) {
      // What JavaScript says of a typed array that cannot be; by name, because it may be another realm's.
      if ((error as Error | undefined)?.name !== 'RangeError') throw error;
      const shared = plan.values.filter(({ role }) => role === 'input' || role === 'output');
      const largest = shared.reduce((a, b) => (sizeOf(b.shape) > sizeOf(a.shape) ? b : a));
      throw new DeepRnnError(
        'ERR_VALUE',
        `model '${this.modelName}': expected batches whose arrays fit in memory, got ${largest.name} of shape [${largest.shape.join(', ')}]. Use a smaller batchSize.`,
        { cause: error },
      );
    }
  }

  /** Brings the values back to JavaScript's memory, or drops them with the session. */
  dispose(): void {
    this.session?.dispose();
    this.session = undefined;
    this.entries.clear();
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name);
    if (!entry) throw new DeepRnnError('ERR_STATE', `model '${this.modelName}': no variable '${name}'.`);
    return entry;
  }
}
