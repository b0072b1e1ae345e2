import { oneOf, quoted, refuse } from '../errors';
import type { ValueDType } from '../plan/codes';
import type { Plan } from '../plan/types';
import type { Shape, TensorData } from '../tensors/tensor';

export type EngineName = 'cpu' | 'cuda' | 'reference';

/**
 * In what products are computed; sums and everything else are float32. `tf32` rounds factors to 10 bits after the point,
 * `bf16` to 7; `int8` makes them 8-bit integers with scales, for inference only.
 */
export const precisions = ['fp32', 'tf32', 'bf16', 'int8'] as const;
export type Precision = (typeof precisions)[number];

/** Those of the CUDA engine, which can be estimated as well. */
export const gpuPrecisions = ['fp32', 'tf32', 'bf16'] as const;
export type GpuPrecision = (typeof gpuPrecisions)[number];

/** What each engine can be asked for. The reference engine computes in float64 whatever it is asked. */
export const enginePrecisions: Readonly<Record<EngineName, readonly Precision[]>> = {
  cpu: ['fp32', 'bf16', 'int8'],
  cuda: gpuPrecisions,
  reference: precisions,
};

/** @throws ERR_VALUE for a precision that the engine has not */
export function checkPrecision(engine: EngineName, precision: Precision): void {
  const known = enginePrecisions[engine];
  if (!known.includes(precision))
    refuse('ERR_VALUE', 'precision', `${oneOf(known)} on device '${engine}'`, quoted(precision));
}

export interface SessionOptions {
  /** CPU threads a run may use; default: the processors available to the process. */
  readonly threads?: number;
  /** Default `'fp32'`. The reference engine computes in float64 always. */
  readonly precision?: Precision;
}

/** Runs plans on one kind of hardware. */
export interface Engine {
  readonly name: EngineName;
  createSession(options?: SessionOptions): EngineSession;
}

/**
 * The variables of one model (weights, optimizer slots, recurrent states) and the plans loaded over them.
 * One run at a time: reading, writing or running while a run is in flight throws ERR_STATE.
 */
export interface EngineSession {
  readonly engine: EngineName;
  /** What `real` values are here. */
  readonly real: 'float32' | 'float64';
  /** Makes a zero-filled variable. Declaring a name again with the same dtype and shape does nothing. */
  declare(name: string, dtype: ValueDType, shape: Shape): void;
  /** Copies values in; `values.length` must fit. */
  write(name: string, values: ArrayLike<number>): void;
  /** The same off the event loop, as `readLater`. The array must stay as it is, and where it is, until it is done. */
  writeLater(name: string, values: ArrayLike<number>): Promise<void>;
  /** Copies the values out. */
  read(name: string): TensorData;
  /** The same off the event loop; until it is done, the session is as busy as in a run. */
  readLater(name: string): Promise<TensorData>;
  /** Prepares a plan whose variables have all been declared. Everything a run needs is allocated here. */
  load(plan: Plan): Executable;
  /** Frees native memory; later calls throw ERR_STATE. Loaded executables are disposed with it. */
  dispose(): void;
}

/** Which of a plan's two sets of inputs. */
export type InputSet = 0 | 1;

/**
 * A loaded plan. Write `input(...)` arrays, run, read `output(...)` arrays; the arrays stay the same between runs.
 * Data (`real` and `int32` inputs) have an array in each of two sets, so that the next batch can be written into one while a run
 * reads the other. Scalars (`float64` inputs) have one array for both.
 */
export interface Executable {
  readonly plan: Plan;
  /** Bytes of buffers held for this plan (arena, scratch, inputs and outputs). */
  readonly bytes: number;
  /** For each op how it runs and why, where the engine had a choice; else an empty string. */
  readonly notes: readonly string[];
  /** @param set default 0 */
  input(name: string, set?: InputSet): TensorData;
  output(name: string): TensorData;
  /**
   * Says that the data of a set are complete, though a run on the other set may be in flight: an engine may bring them nearer to
   * where it computes. They must stay as they are until they have been run, or be staged again. What fails here fails in the
   * run as well, which says so.
   */
  stage(set: InputSet): void;
  /**
   * Runs all ops off the event loop, on the data of one set (default 0) and the scalars.
   * @param times gets the milliseconds that each op takes, one after another
   * @throws PlanCheckError when a `check` op fails, DeepRnnError otherwise
   */
  run(set?: InputSet, times?: Float64Array): Promise<void>;
  /** The same on the calling thread. */
  runSync(set?: InputSet): void;
  dispose(): void;
}
