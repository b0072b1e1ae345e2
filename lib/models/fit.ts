import type { Callback, Logs } from '../callbacks/callback';
import { progress } from '../callbacks/progress';
import { readConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import { resolveName } from '../names';
import type { TensorLike } from '../tensors/tensor';
import {
  type Batch,
  type BatchGenerator,
  batchesFrom,
  batchesOf,
  checkFixedBatch,
  type DataContract,
  type ExampleOptions,
  type Examples,
  isGenerator,
  readExamples,
  splitValidation,
} from './batches';
import { type Data, positiveInteger, throwIfAborted } from './evaluate';
import { History } from './history';
import { restoreCheckpoint } from './modelFile';
import { ScoreKeeper, type ScoreState } from './scores';
import type { Sequential } from './sequential';
import { gradientReport, trainStep } from './trainStep';

export interface FitOptions extends ExampleOptions {
  /** Examples per step. Default 32; ignored for generators, which make their own batches. */
  readonly batchSize?: number;
  /** Passes over the data; training ends after this one. Default 1. */
  readonly epochs?: number;
  /** Number of the first epoch. Default 0. */
  readonly initialEpoch?: number;
  /** The last part of the data, before shuffling, is kept for validation. */
  readonly validationSplit?: number;
  readonly validationData?:
    | readonly [x: TensorLike, y: TensorLike, sampleWeight?: TensorLike]
    | { readonly x: TensorLike; readonly y: TensorLike; readonly sampleWeight?: TensorLike }
    | BatchGenerator;
  /** Batch size of the validation. Default: that of training. */
  readonly validationBatchSize?: number;
  /** Batches of a validation generator. Default: all. */
  readonly validationSteps?: number;
  /** Validate after every n-th epoch. Default 1. */
  readonly validationFreq?: number;
  /** A new order every epoch, drawn from the seed and the epoch's number. Default true; never for stateful models. */
  readonly shuffle?: boolean;
  /** Seed of the shuffles. Default: the model's. */
  readonly seed?: number;
  /** Batches per epoch. Needed for endless generators. */
  readonly stepsPerEpoch?: number;
  readonly callbacks?: readonly Callback[];
  /** 0 silent, 1 progress bar, 2 one line per epoch; 'auto' (default): 1 when standard error is a terminal, else 0. */
  readonly verbose?: 0 | 1 | 2 | 'auto';
  readonly signal?: AbortSignal;
  /** A checkpoint file: goes on from there, bit for bit as if never stopped. */
  readonly resumeFrom?: string;
}

const optionNames = [
  'batchSize',
  'epochs',
  'initialEpoch',
  'validationSplit',
  'validationData',
  'validationBatchSize',
  'validationSteps',
  'validationFreq',
  'shuffle',
  'seed',
  'stepsPerEpoch',
  'callbacks',
  'verbose',
  'signal',
  'resumeFrom',
  'sampleWeight',
  'classWeight',
  'initialStates',
] as const;

/** Where a fit stands; a checkpoint holds it. JSON values only. */
export interface FitState {
  /** The next batch to run. */
  readonly epoch: number;
  readonly batch: number;
  /** Sums over the batches of the unfinished epoch. */
  readonly scores: ScoreState;
  readonly history: ReturnType<History['toJSON']>;
  readonly callbacks: Readonly<Record<string, unknown>>;
}

export async function fit(model: Sequential, data: Data, options: FitOptions): Promise<History> {
  readConfig(options, optionNames, 'fit');
  const training = new Fit(model, data, options);
  return training.run();
}

const HOOKS = [
  'onTrainBegin',
  'onTrainEnd',
  'onEpochBegin',
  'onEpochEnd',
  'onBatchBegin',
  'onBatchEnd',
  'onGradients',
  'onEvaluateBegin',
  'onEvaluateBatchEnd',
  'onEvaluateEnd',
] as const satisfies readonly (keyof Callback)[];

/** A hook under another name would silently never be called: Keras's `onTrainBatchEnd`, `on_epoch_end`. */
function checkHooks(callback: Callback): void {
  for (const name of Object.keys(callback)) {
    if (!/^on[A-Z_]/.test(name) || (HOOKS as readonly string[]).includes(name)) continue;
    const meant = resolveName(name.replace(/^onTrainBatch/, 'onBatch'), HOOKS, 'fit: callbacks: hook');
    refuse(
      'ERR_VALUE',
      'fit: callbacks: hook',
      `one of ${HOOKS.join(', ')}`,
      quoted(name),
      `Did you mean '${meant}'?`,
    );
  }
}

class Fit {
  private readonly contract: DataContract;
  private readonly callbacks: readonly Callback[];
  private readonly batchSize: number;
  private readonly epochs: number;
  private readonly examples: Examples | undefined;
  private readonly validation: Data | Examples | undefined;
  private readonly stepsPerEpoch: number | null;
  private history = new History();
  private epoch: number;
  private batch = 0;
  private keeper: ScoreKeeper;
  /** A generator that is not a function goes on from epoch to epoch. */
  private running: AsyncIterator<Batch> | undefined;

  constructor(
    private readonly model: Sequential,
    private readonly data: Data,
    private readonly options: FitOptions,
  ) {
    this.contract = model.contract('fit', 'x' in data ? data.x : undefined);
    this.batchSize = positiveInteger('fit: batchSize', options.batchSize, this.contract.fixedBatch ?? 32);
    this.epochs = positiveInteger('fit: epochs', options.epochs, 1);
    this.epoch = options.initialEpoch ?? 0;
    if (!Number.isSafeInteger(this.epoch) || this.epoch < 0)
      refuse('ERR_VALUE', 'fit: initialEpoch', 'an integer, 0 or more', this.epoch);
    positiveInteger('fit: validationFreq', options.validationFreq, 1);
    const limit =
      options.stepsPerEpoch === undefined
        ? undefined
        : positiveInteger('fit: stepsPerEpoch', options.stepsPerEpoch, 1);
    let examples = 'x' in data ? readExamples(this.contract, data.x, data.y, options) : undefined;
    if ('x' in data && data.y === undefined) refuse('ERR_VALUE', 'fit: y', 'targets', 'nothing');
    if (!examples && options.sampleWeight !== undefined) {
      refuse(
        'ERR_VALUE',
        'fit: sampleWeight',
        'weights inside the batches when x is a generator',
        'sampleWeight',
      );
    }
    this.validation = this.readValidation();
    if (options.validationSplit !== undefined) {
      if (!examples)
        refuse('ERR_VALUE', 'fit: validationSplit', 'data in memory', 'a generator', 'Use validationData.');
      const [train, validation] = splitValidation(examples, options.validationSplit);
      examples = train;
      this.validation = validation;
      if (options.classWeight !== undefined && 'x' in data) {
        // Class weights are for training: they do not count in what is validated.
        const { classWeight: _, ...unweighted } = options;
        const plain = readExamples(this.contract, data.x, data.y, unweighted);
        this.validation = splitValidation(plain, options.validationSplit)[1];
      }
    }
    this.examples = examples;
    if (
      !examples &&
      this.epochs > 1 &&
      limit === undefined &&
      typeof (data as { generator: unknown }).generator !== 'function'
    ) {
      refuse(
        'ERR_VALUE',
        'fit: stepsPerEpoch',
        'a number of batches for an iterable used over several epochs',
        'nothing',
        'Or pass a function that starts a new iterable.',
      );
    }
    const all = examples ? Math.ceil((examples.x.shape[0] as number) / this.batchSize) : null;
    this.stepsPerEpoch = limit === undefined ? all : all === null ? limit : Math.min(all, limit);
    this.callbacks = this.readCallbacks();
    this.keeper = new ScoreKeeper(model.metrics);
  }

  private readCallbacks(): Callback[] {
    const { verbose = 'auto', callbacks = [] } = this.options;
    if (!Array.isArray(callbacks) || callbacks.some((c) => typeof c !== 'object' || c === null)) {
      refuse('ERR_VALUE', 'fit: callbacks', 'an array of callbacks', quoted(callbacks));
    }
    if (![0, 1, 2, 'auto'].includes(verbose))
      refuse('ERR_VALUE', 'fit: verbose', "0, 1, 2 or 'auto'", quoted(verbose));
    for (const callback of callbacks) checkHooks(callback);
    const keys = callbacks.map((c) => c.stateKey).filter((key) => key !== undefined);
    const twice = keys.find((key, i) => keys.indexOf(key) !== i);
    if (twice !== undefined)
      refuse('ERR_VALUE', 'fit: callbacks', 'a stateKey of its own for each', `'${twice}' twice`);
    const own = [...callbacks];
    if (verbose === 1 || (verbose === 'auto' && process.stderr.isTTY)) own.push(progress());
    if (verbose === 2) own.push(progress({ mode: 'lines' }));
    return [...own.filter((c) => !c.last), ...own.filter((c) => c.last)];
  }

  private readValidation(): Data | Examples | undefined {
    const { validationData, validationSplit } = this.options;
    if (validationData === undefined) return undefined;
    if (validationSplit !== undefined)
      refuse('ERR_VALUE', 'fit', 'validationData or validationSplit', 'both');
    if (Array.isArray(validationData)) {
      const [x, y, sampleWeight] = validationData;
      return readExamples({ ...this.contract, caller: 'fit: validationData' }, x, y, { sampleWeight });
    }
    if (isGenerator(validationData)) return { generator: validationData };
    const { x, y, sampleWeight } = validationData as {
      x: TensorLike;
      y: TensorLike;
      sampleWeight?: TensorLike;
    };
    return readExamples({ ...this.contract, caller: 'fit: validationData' }, x, y, { sampleWeight });
  }

  async run(): Promise<History> {
    const { model, callbacks } = this;
    const resumed =
      this.options.resumeFrom === undefined ? undefined : await this.resume(this.options.resumeFrom);
    model.stopTraining = false;
    model.trainingState = () => this.state();
    let logs: Logs = {};
    try {
      throwIfAborted('fit', this.options.signal);
      const params = {
        epochs: this.epochs,
        initialEpoch: this.epoch,
        stepsPerEpoch: this.stepsPerEpoch,
        batchSize: this.examples ? this.batchSize : null,
        metrics: ['loss', ...model.metrics.map((m) => m.name)],
        validation: this.validation !== undefined,
      };
      for (const c of callbacks) await c.onTrainBegin?.(model, params);
      for (const c of callbacks) {
        if (resumed && c.stateKey !== undefined && c.stateKey in resumed) c.setState?.(resumed[c.stateKey]);
      }
      while (this.epoch < this.epochs && !model.stopTraining) logs = await this.runEpoch(this.epoch);
    } catch (error) {
      // Callbacks still get to close what they hold (a progress bar, a file); the first error is the one that counts.
      for (const c of callbacks) await Promise.resolve(c.onTrainEnd?.(logs)).catch(() => undefined);
      throw error;
    } finally {
      model.trainingState = undefined;
    }
    for (const c of callbacks) await c.onTrainEnd?.(logs);
    return this.history;
  }

  private async runEpoch(epoch: number): Promise<Logs> {
    const { model, callbacks } = this;
    if (this.batch === 0) this.keeper = new ScoreKeeper(model.metrics);
    for (const c of callbacks) await c.onEpochBegin?.(epoch);
    for await (const batch of this.epochBatches(epoch)) {
      throwIfAborted('fit', this.options.signal);
      await this.runBatch(batch, epoch, this.batch);
      if (model.stopTraining) break;
    }
    if (this.batch === 0)
      refuse('ERR_VALUE', 'fit', 'at least one batch an epoch', `none from the generator in epoch ${epoch}`);
    const logs = this.keeper.logs();
    if (this.validation && (epoch + 1) % (this.options.validationFreq ?? 1) === 0)
      Object.assign(logs, await this.validate());
    this.history.record(epoch, logs);
    this.epoch = epoch + 1;
    this.batch = 0;
    this.keeper = new ScoreKeeper(model.metrics);
    for (const c of callbacks) await c.onEpochEnd?.(epoch, logs);
    return logs;
  }

  private async runBatch(batch: Batch, epoch: number, index: number): Promise<void> {
    const { model, callbacks } = this;
    for (const c of callbacks) await c.onBatchBegin?.(index);
    const asking = callbacks.filter((c) => c.gradientsEvery && model.step % c.gradientsEvery === 0);
    const report = await trainStep(
      model,
      batch,
      { caller: 'fit', gradientNorms: asking.length > 0 },
      (loaded) => {
        this.keeper.add(loaded, batch.indices.length);
        return asking.length > 0 ? gradientReport(loaded) : undefined;
      },
    );
    this.batch = index + 1;
    if (report) for (const c of asking) await c.onGradients?.(report, epoch, index);
    const listening = callbacks.filter((c) => c.onBatchEnd);
    if (listening.length > 0) {
      const logs = this.keeper.logs();
      for (const c of listening) await c.onBatchEnd?.(index, logs);
    }
  }

  /** The batches of an epoch that are still to be run. */
  private async *epochBatches(epoch: number): AsyncGenerator<Batch> {
    const { contract, options, examples } = this;
    let left = (this.stepsPerEpoch ?? Number.POSITIVE_INFINITY) - this.batch;
    if (examples) {
      const stateful = contract.fixedBatch !== undefined;
      const shuffle =
        (options.shuffle ?? true) && !stateful ? { seed: options.seed ?? this.model.seed, epoch } : undefined;
      for (const batch of batchesOf(examples, this.batchSize, shuffle, this.batch)) {
        if (left-- <= 0) return;
        checkFixedBatch(contract, batch.indices.length);
        yield batch;
      }
      return;
    }
    const { generator } = this.data as { generator: BatchGenerator };
    const fresh = () => batchesFrom(contract, generator, options)[Symbol.asyncIterator]();
    let batches: AsyncIterator<Batch>;
    if (typeof generator === 'function') {
      batches = fresh();
      for (let skip = this.batch; skip > 0; skip--) await batches.next();
    } else {
      this.running ??= fresh();
      batches = this.running;
    }
    try {
      for (; left > 0; left--) {
        const { value, done } = await batches.next();
        if (done) return;
        checkFixedBatch(contract, value.indices.length);
        yield value;
      }
    } finally {
      if (typeof generator === 'function') await batches.return?.();
    }
  }

  private async validate(): Promise<Logs> {
    const { model, options, callbacks } = this;
    const contract = { ...this.contract, caller: 'fit: validationData' };
    const data = this.validation as Data | Examples;
    const size = positiveInteger('fit: validationBatchSize', options.validationBatchSize, this.batchSize);
    const batches =
      'generator' in data ? batchesFrom(contract, data.generator) : batchesOf(data as Examples, size);
    const keeper = new ScoreKeeper(model.metrics);
    const limit = options.validationSteps ?? Number.POSITIVE_INFINITY;
    const steps =
      'generator' in data
        ? (options.validationSteps ?? null)
        : Math.ceil(((data as Examples).x.shape[0] as number) / size);
    for (const c of callbacks) await c.onEvaluateBegin?.(steps);
    let index = 0;
    for await (const batch of batches) {
      if (index >= limit) break;
      throwIfAborted('fit', options.signal);
      checkFixedBatch(contract, batch.indices.length);
      const run = { caller: contract.caller, mode: 'evaluate' } as const;
      await model.runner.run(batch, run, (loaded) => keeper.add(loaded, batch.indices.length));
      for (const c of callbacks) await c.onEvaluateBatchEnd?.(index, keeper.logs('val_'));
      index++;
    }
    if (index === 0) refuse('ERR_VALUE', contract.caller, 'at least one batch', 'none from the generator');
    const logs = keeper.logs('val_');
    for (const c of callbacks) await c.onEvaluateEnd?.(logs);
    return logs;
  }

  private state(): FitState {
    const states = this.callbacks.filter((c) => c.stateKey !== undefined && c.getState);
    return {
      epoch: this.epoch,
      batch: this.batch,
      scores: this.keeper.state,
      history: this.history.toJSON(),
      callbacks: Object.fromEntries(states.map((c) => [c.stateKey as string, c.getState?.()])),
    };
  }

  /** Takes the model and the counters to where the checkpoint was; gives the states of its callbacks. */
  private async resume(path: string): Promise<FitState['callbacks']> {
    const state = (await restoreCheckpoint(this.model, path)) as FitState | undefined;
    if (!state)
      throw new DeepRnnError(
        'ERR_FILE',
        `fit: resumeFrom: '${path}' is a saved model, not a checkpoint. Save with { checkpoint: true } during fit, or use callbacks.modelCheckpoint.`,
      );
    this.epoch = state.epoch;
    this.batch = state.batch;
    this.keeper = new ScoreKeeper(this.model.metrics, state.scores);
    this.history = History.fromJSON(state.history);
    return state.callbacks;
  }
}
