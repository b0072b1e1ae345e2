import type { Callback } from '../callbacks/callback';
import { flagOption, readConfig } from '../config';
import { refuse } from '../errors';
import { type Shape, Tensor } from '../tensors/tensor';
import {
  type Batch,
  type BatchGenerator,
  batchesOf,
  checkFixedBatch,
  checkFixedBatches,
  type DataContract,
  type ExampleOptions,
  type Inputs,
  isGenerator,
  readExamples,
} from './batches';
import {
  checkSignal,
  positiveInteger,
  readCallbacks,
  readVerbosity,
  throwIfAborted,
  type Verbosity,
} from './callOptions';
import { batchesFrom, type GeneratorOptions, refuseUnbatched } from './generated';
import type { Model } from './model';
import { outputTensor } from './runner';
import type { Scores } from './scores';

export interface PredictOptions {
  /** Examples run at once. Default 32. */
  readonly batchSize?: number;
  /** Batches to take from a generator. Default: all. */
  readonly steps?: number;
  /** Initial states by layer and state, one row per example. */
  readonly initialStates?: ExampleOptions['initialStates'];
  readonly lengths?: ExampleOptions['lengths'];
  readonly signal?: AbortSignal;
  /** Taken as Keras takes it, and without effect: evaluate and predict show nothing. */
  readonly verbose?: Verbosity;
}

export interface StatesOption {
  /** Also give the recurrent states after the last step of every example. */
  readonly returnStates: true;
}

/** What `predict` gives where the states are wanted too. */
export interface Prediction<Y = Tensor> {
  /** What `predict` gives without them: `[N, …output]`, or such tensors by the names of the outputs. */
  readonly output: Y;
  /** `[N, units]` by layer and state, as `initialStates` takes them: the next part of the sequences goes on from there. */
  readonly states: Readonly<Record<string, Readonly<Record<string, Tensor>>>>;
}

export interface EvaluateOptions extends PredictOptions, ExampleOptions {
  readonly callbacks?: readonly Callback[];
}

/** Examples in memory, or a generator of batches. */
export type Data =
  | { readonly generator: BatchGenerator }
  | { readonly x: Inputs; readonly y: Inputs | undefined };

/** The two ways to call `fit` and `evaluate`: (x, y, options), or (generator, options) with or without Keras's empty y between. */
export function dataAndOptions<Options extends object>(
  caller: string,
  x: Inputs | BatchGenerator,
  y: Inputs | Options | undefined,
  options: Options | undefined,
): [data: Data, options: Options] {
  if (!isGenerator(x)) return [{ x, y: y as Inputs }, options ?? ({} as Options)];
  if (y !== undefined && y !== null && options !== undefined) {
    refuse('ERR_VALUE', `${caller}: y`, 'none beside a generator, whose batches bring their own', y);
  }
  return [{ generator: x }, options ?? (y as Options | undefined) ?? ({} as Options)];
}

/** What a pass of at most `limit` batches will take; null where that is not known. */
export function expectedSteps(
  examples: number | undefined,
  batchSize: number,
  limit: number | undefined,
): number | null {
  if (examples === undefined) return limit ?? null;
  return Math.min(Math.ceil(examples / batchSize), limit ?? Number.POSITIVE_INFINITY);
}

/** One pass over data in order, at most `steps` batches. */
export async function* passOver(
  contract: DataContract,
  data: Data,
  batchSize: number,
  options: ExampleOptions & GeneratorOptions,
  steps = Number.POSITIVE_INFINITY,
): AsyncGenerator<Batch> {
  let batches: AsyncIterable<Batch> | Iterable<Batch>;
  if ('generator' in data) {
    batches = batchesFrom(contract, data.generator, options);
  } else {
    const examples = readExamples(contract, data.x, data.y, options);
    checkFixedBatches(contract, examples, batchSize, Number.isFinite(steps) ? steps : null);
    batches = batchesOf(examples, batchSize);
  }
  let taken = 0;
  for await (const batch of batches) {
    checkFixedBatch(contract, batch.indices.length);
    yield batch;
    if (++taken >= steps) return;
  }
}

const passOptions = ['batchSize', 'steps', 'initialStates', 'lengths', 'signal', 'verbose'] as const;

/** The options under their own names, proven as far as it can be done without the data. */
function readOptions<O extends PredictOptions>(given: O, own: readonly string[], caller: string): O {
  const o = readConfig<string>(given, [...passOptions, ...own], caller) as unknown as O;
  if (o.steps !== undefined) positiveInteger(`${caller}: steps`, o.steps, 1);
  checkSignal(caller, o.signal);
  readVerbosity(caller, o.verbose);
  return o;
}

export async function evaluate(model: Model, data: Data, given: EvaluateOptions): Promise<Scores> {
  const options = readOptions(given, ['sampleWeight', 'classWeight', 'callbacks'], 'evaluate');
  if ('generator' in data) refuseUnbatched('evaluate', options);
  const contract = model.contract('evaluate');
  const batchSize = positiveInteger('evaluate: batchSize', options.batchSize, contract.fixedBatch ?? 32);
  const keeper = model.scoreKeeper();
  const callbacks = readCallbacks('evaluate', options.callbacks);
  const examples = 'x' in data && data.x instanceof Tensor ? data.x.shape[0] : undefined;
  const steps = expectedSteps(examples, batchSize, options.steps);
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

export async function predict<Y>(
  model: Model<Y>,
  x: Inputs | BatchGenerator,
  given: PredictOptions & Partial<StatesOption>,
): Promise<Y | Prediction<Y>> {
  const options = readOptions(given, ['returnStates'], 'predict');
  const wantsStates = flagOption(options.returnStates, false, 'predict: returnStates');
  const contract = model.contract('predict');
  if (wantsStates && contract.states.size === 0)
    refuse('ERR_VALUE', 'predict: returnStates', 'a model with recurrent layers', 'one without states');
  const batchSize = positiveInteger('predict: batchSize', options.batchSize, contract.fixedBatch ?? 32);
  const data: Data = isGenerator(x) ? { generator: x } : { x: x as Inputs, y: undefined };
  if ('generator' in data) refuseUnbatched('predict', options);
  const outputs = contract.outputs.map(({ name, y }) => ({ name, y, parts: [] as Tensor[] }));
  const states = Array.from(wantsStates ? contract.states : [], ([name, units]) => ({
    name,
    units,
    parts: [] as Tensor[],
  }));
  for await (const batch of passOver(contract, data, batchSize, options, options.steps)) {
    throwIfAborted('predict', options.signal);
    await model.runner.run(
      batch,
      { caller: 'predict', mode: 'predict', states: wantsStates },
      ({ executable, outputShapes }) => {
        for (const state of states)
          state.parts.push(outputTensor(executable, state.name, [batch.indices.length, state.units]));
        for (const [i, { y, parts }] of outputs.entries())
          parts.push(outputTensor(executable, y, outputShapes[i] as Shape));
      },
    );
    for (const { parts } of outputs) refuseOtherShapes(parts);
  }
  const joined = outputs.map(({ name, parts }) => [name, concatenate(parts)] as const);
  // What Y is, the kind of the model says.
  const output = (model.namesOutputs ? Object.fromEntries(joined) : joined[0]?.[1]) as Y;
  return wantsStates ? { output, states: byLayer(states) } : output;
}

/** @throws ERR_SHAPE when the last of the outputs is not like the first */
function refuseOtherShapes(parts: readonly Tensor[]): void {
  const [first, last] = [parts[0], parts.at(-1)].map((part) => part?.shape.slice(1).join(', '));
  if (first !== last)
    refuse('ERR_SHAPE', 'predict: generator', `outputs like the first batch's [${first}]`, `[${last}]`);
}

/** States called `layer/state`, by layer and then by state. */
function byLayer(states: readonly { name: string; parts: readonly Tensor[] }[]): Prediction['states'] {
  const found: Record<string, Record<string, Tensor>> = {};
  for (const { name, parts } of states) {
    const at = name.indexOf('/');
    const layer = name.slice(0, at);
    found[layer] = { ...found[layer], [name.slice(at + 1)]: concatenate(parts) };
  }
  return found;
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
