import type { Callback } from '../callbacks/callback';
import { readConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import { Tensor, type TensorLike } from '../tensors/tensor';
import {
  type Batch,
  type BatchGenerator,
  batchesFrom,
  batchesOf,
  checkFixedBatch,
  type DataContract,
  type ExampleOptions,
  isGenerator,
  readExamples,
} from './batches';
import { ScoreKeeper, type Scores } from './scores';
import type { Sequential } from './sequential';

export interface PredictOptions {
  /** Examples run at once. Default 32. */
  readonly batchSize?: number;
  /** Batches to take from a generator. Default: all. */
  readonly steps?: number;
  /** Initial states by layer and state, one row per example. */
  readonly initialStates?: ExampleOptions['initialStates'];
  readonly signal?: AbortSignal;
}

export interface EvaluateOptions extends PredictOptions, ExampleOptions {
  readonly callbacks?: readonly Callback[];
}

/** Examples in memory, or a generator of batches. */
export type Data =
  | { readonly generator: BatchGenerator }
  | { readonly x: TensorLike; readonly y: TensorLike | undefined };

/** @throws ERR_ABORTED when the signal has fired. */
export function throwIfAborted(caller: string, signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new DeepRnnError('ERR_ABORTED', `${caller}: aborted by its signal; the model stays usable.`, {
    cause: signal.reason,
  });
}

/** Reads a positive whole number option. */
export function positiveInteger(subject: string, value: unknown, fallback: number): number {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    refuse('ERR_VALUE', subject, 'a positive integer', quoted(value));
  return value as number;
}

/** One pass over data in order, at most `steps` batches. */
export async function* passOver(
  contract: DataContract,
  data: Data,
  batchSize: number,
  options: ExampleOptions,
  steps = Number.POSITIVE_INFINITY,
): AsyncGenerator<Batch> {
  const batches =
    'generator' in data
      ? batchesFrom(contract, data.generator, options)
      : batchesOf(readExamples(contract, data.x, data.y, options), batchSize);
  let taken = 0;
  for await (const batch of batches) {
    checkFixedBatch(contract, batch.indices.length);
    yield batch;
    if (++taken >= steps) return;
  }
}

export async function evaluate(model: Sequential, data: Data, options: EvaluateOptions): Promise<Scores> {
  readConfig(
    options,
    ['batchSize', 'steps', 'initialStates', 'signal', 'sampleWeight', 'classWeight', 'callbacks'],
    'evaluate',
  );
  const contract = model.contract('evaluate');
  const batchSize = positiveInteger('evaluate: batchSize', options.batchSize, contract.fixedBatch ?? 32);
  const keeper = new ScoreKeeper(model.metrics);
  const callbacks = options.callbacks ?? [];
  const examples = 'x' in data && data.x instanceof Tensor ? data.x.shape[0] : undefined;
  const steps = options.steps ?? (examples === undefined ? null : Math.ceil(examples / batchSize));
  for (const callback of callbacks) await callback.onEvaluateBegin?.(steps);
  let index = 0;
  for await (const batch of passOver(contract, data, batchSize, options, options.steps)) {
    throwIfAborted('evaluate', options.signal);
    const count = batch.indices.length;
    await model.runner.run(batch, { caller: 'evaluate', mode: 'evaluate' }, (loaded) =>
      keeper.add(loaded, count),
    );
    if (callbacks.length > 0) {
      const logs = keeper.logs();
      for (const callback of callbacks) await callback.onEvaluateBatchEnd?.(index, logs);
    }
    index++;
  }
  if (index === 0) refuse('ERR_VALUE', 'evaluate', 'at least one batch', 'none from the generator');
  const scores = keeper.scores();
  for (const callback of callbacks) await callback.onEvaluateEnd?.(keeper.logs());
  return scores;
}

export async function predict(
  model: Sequential,
  x: TensorLike | BatchGenerator,
  options: PredictOptions,
): Promise<Tensor> {
  readConfig(options, ['batchSize', 'steps', 'initialStates', 'signal'], 'predict');
  const contract = model.contract('predict');
  const batchSize = positiveInteger('predict: batchSize', options.batchSize, contract.fixedBatch ?? 32);
  const data: Data = isGenerator(x) ? { generator: x } : { x: x as TensorLike, y: undefined };
  const parts: Tensor[] = [];
  for await (const batch of passOver(contract, data, batchSize, options, options.steps)) {
    throwIfAborted('predict', options.signal);
    const part = await model.runner.run(
      batch,
      { caller: 'predict', mode: 'predict' },
      ({ executable, outputShape }) => new Tensor(executable.output('y').slice(), outputShape),
    );
    const first = parts[0];
    if (first && first.shape.slice(1).join() !== part.shape.slice(1).join()) {
      refuse(
        'ERR_SHAPE',
        'predict: generator',
        `outputs like the first batch's [${first.shape.slice(1).join(', ')}]`,
        `[${part.shape.slice(1).join(', ')}]`,
      );
    }
    parts.push(part);
  }
  return concatenate(parts);
}

/** Joins tensors along their first axis. */
function concatenate(parts: readonly Tensor[]): Tensor {
  const [first] = parts;
  if (!first) refuse('ERR_VALUE', 'predict', 'at least one batch', 'none from the generator');
  if (parts.length === 1) return first;
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  const data = first.dtype === 'float64' ? new Float64Array(size) : new Float32Array(size);
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.size;
  }
  return new Tensor(data, [
    parts.reduce((sum, part) => sum + (part.shape[0] as number), 0),
    ...first.shape.slice(1),
  ]);
}
