import type { Callback, Logs } from '../callbacks/callback';
import { progress } from '../callbacks/progress';
import { readConfig } from '../config';
import { DeepRnnError, refuse } from '../errors';
import type { Tensor, TensorLike } from '../tensors/tensor';
import {
  type Batch,
  type BatchGenerator,
  batchesOf,
  checkFixedBatch,
  checkFixedBatches,
  type DataContract,
  type Examples,
  type Inputs,
  isGenerator,
  readExamples,
  splitValidation,
} from './batches';
import { positiveInteger, throwIfAborted } from './callOptions';
import { lossNames } from './compiled';
import { type Data, expectedSteps } from './evaluate';
import { type FitOptions, readFitOptions } from './fitOptions';
import { batchesFrom, firstInputs, refuseUnbatched } from './generated';
import { carriedNorms, countedSteps, gradientReport } from './gradientReport';
import { History } from './history';
import type { Model } from './model';
import {
  arraysForFile,
  arraysOfCallback,
  requireSameMetrics,
  restoreCheckpoint,
  type TrainingState,
} from './modelFile';
import { type LoadedPlan, outputTensor } from './runner';
import type { ScoreKeeper, ScoreState } from './scores';
import { trainStep, useAverages } from './trainStep';
import {
  carriedStates,
  chunkOf,
  chunksOf,
  firstStates,
  requireTruncatable,
  type TruncatedBPTT,
} from './truncation';

/** Where a fit stands; a checkpoint holds it. JSON values only. */
export interface FitState {
  /** The next batch to run. */
  readonly epoch: number;
  readonly batch: number;
  /** The next chunk of that batch, where the fit stands between chunks of one. */
  readonly chunk?: number;
  /** Sums over the batches of the unfinished epoch. */
  readonly scores: ScoreState;
  readonly history: ReturnType<History['toJSON']>;
  readonly callbacks: Readonly<Record<string, unknown>>;
  readonly order: BatchOrder;
}

/** What decides which examples the batches of an epoch hold; null for a generator, which decides it itself. */
interface BatchOrder {
  readonly batchSize: number | null;
  readonly examples: number | null;
  readonly stepsPerEpoch: number | null;
  readonly shuffle: boolean;
  readonly seed: number;
  /** Of a chunk of a batch. */
  readonly chunkSteps?: number;
  readonly chunkOverlap?: number;
}

/** In a checkpoint between chunks: the key of the states that go on, which no callback has. */
const CARRIED = 'states of truncatedBPTT';

export async function fit(model: Model, data: Data, options: FitOptions): Promise<History> {
  const o = readFitOptions(options);
  if ('x' in data) return new Fit(model, data, o, data.x).run();
  if (model.built) return new Fit(model, data, o).run();
  const { x, generator, closeUnread } = await firstInputs('fit', data.generator, o.signal);
  try {
    return await new Fit(model, { generator }, o, x).run();
  } catch (error) {
    // The first error is the one that counts.
    await closeUnread().catch(() => undefined);
    throw error;
  }
}

/** Whether it can be read only once, like a generator object. */
function isIterator(generator: BatchGenerator): boolean {
  return typeof generator === 'object' && 'next' in generator;
}

class Fit {
  private readonly contract: DataContract;
  private readonly validationContract: DataContract;
  private readonly callbacks: readonly Callback[];
  private readonly batchSize: number;
  private readonly epochs: number;
  private readonly examples: Examples | undefined;
  private readonly validation: Data | Examples | undefined;
  private readonly stepsPerEpoch: number | null;
  private history = new History();
  private epoch: number;
  private batch = 0;
  /** Where the fit stands between chunks of a batch: the next one, and the states it begins with. */
  private chunk = 0;
  private carried: ReadonlyMap<string, Tensor> = new Map();
  /** The model's step as this fit begins: callbacks count from it, since it is not 0 in a second or resumed fit. */
  private firstStep = 0;
  private keeper: ScoreKeeper;
  /** A generator that is not a function goes on from epoch to epoch. */
  private running: AsyncIterator<Batch> | undefined;
  private validating: AsyncIterator<Batch> | undefined;

  constructor(
    private readonly model: Model,
    private readonly data: Data,
    private readonly options: FitOptions,
    /** What a model that has no weights yet is built from. */
    x?: Inputs,
  ) {
    this.contract = model.contract('fit', x);
    this.validationContract = model.contract('fit: validationData');
    this.batchSize = positiveInteger('fit: batchSize', options.batchSize, this.contract.fixedBatch ?? 32);
    this.epochs = positiveInteger('fit: epochs', options.epochs, 1);
    this.epoch = options.initialEpoch ?? 0;
    const limit = options.stepsPerEpoch;
    if (options.truncatedBPTT) requireTruncatable(model.requireBuilt('fit'), options.truncatedBPTT);
    let examples = 'x' in data ? readExamples(this.contract, data.x, data.y, options) : undefined;
    if ('x' in data && data.y === undefined) refuse('ERR_VALUE', 'fit: y', 'targets', 'nothing');
    if (!examples) refuseUnbatched('fit', options);
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
    const all = examples ? Math.ceil(examples.count / this.batchSize) : null;
    this.stepsPerEpoch = limit === undefined ? all : all === null ? limit : Math.min(all, limit);
    if (examples) checkFixedBatches(this.contract, examples, this.batchSize, this.stepsPerEpoch);
    if (this.validation && !('generator' in this.validation))
      checkFixedBatches(this.contract, this.validation as Examples, this.validationBatchSize);
    this.callbacks = this.orderCallbacks();
    this.keeper = model.scoreKeeper();
  }

  private get validationBatchSize(): number {
    return this.options.validationBatchSize ?? this.batchSize;
  }

  /** Those of the caller and the progress display, in the order in which their hooks run. */
  private orderCallbacks(): Callback[] {
    const { verbose = 'auto', callbacks = [] } = this.options;
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
      return readExamples(this.validationContract, x, y, { sampleWeight });
    }
    if (isGenerator(validationData)) {
      const { validationSteps, validationFreq = 1 } = this.options;
      if (isIterator(validationData) && validationSteps === undefined && this.epochs >= 2 * validationFreq) {
        const wanted = 'a number of batches for an iterator used in several validations';
        const wayOut = 'Or pass a function that starts a new iterable.';
        refuse('ERR_VALUE', 'fit: validationSteps', wanted, 'nothing', wayOut);
      }
      return { generator: validationData };
    }
    const { x, y, ...options } = readConfig(
      validationData,
      ['x', 'y', 'sampleWeight', 'lengths'],
      'fit: validationData',
    ) as { x: Inputs; y: Inputs; sampleWeight?: Inputs; lengths?: TensorLike };
    return readExamples(this.validationContract, x, y, options);
  }

  async run(): Promise<History> {
    const { model, callbacks } = this;
    const resumed =
      this.options.resumeFrom === undefined ? undefined : await this.resume(this.options.resumeFrom);
    this.firstStep = model.step;
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
        metrics: ['loss', ...lossNames(this.contract.outputs), ...model.metrics.map((m) => m.name)],
        largerIsBetter: model.metrics.filter((m) => m.largerIsBetter).map((m) => m.name),
        validation: this.validation !== undefined,
      };
      for (const c of callbacks) await c.onTrainBegin?.(model, params);
      for (const c of callbacks) {
        const key = c.stateKey;
        if (resumed && key !== undefined && key in resumed.callbacks)
          c.setState?.(resumed.callbacks[key], arraysOfCallback(resumed.arrays, key));
      }
      while (this.epoch < this.epochs && !model.stopTraining) logs = await this.runEpoch(this.epoch);
      if (model.optimizer.ema) await useAverages(model);
    } catch (error) {
      // Callbacks still get to close what they hold (a progress bar, a file); the first error is the one that counts.
      for (const c of callbacks) {
        try {
          await c.onTrainEnd?.(logs, error);
        } catch {}
      }
      throw error;
    } finally {
      model.trainingState = undefined;
    }
    for (const c of callbacks) await c.onTrainEnd?.(logs);
    return this.history;
  }

  private async runEpoch(epoch: number): Promise<Logs> {
    const { model, callbacks } = this;
    if (this.batch === 0 && this.chunk === 0) this.keeper = model.scoreKeeper();
    for (const c of callbacks) await c.onEpochBegin?.(epoch);
    for await (const batch of this.epochBatches(epoch)) {
      throwIfAborted('fit', this.options.signal);
      await this.runBatch(batch, epoch, this.batch);
      if (model.stopTraining) break;
    }
    if (this.batch === 0 && this.chunk === 0)
      refuse('ERR_VALUE', 'fit', 'at least one batch an epoch', `none from the generator in epoch ${epoch}`);
    const logs = this.keeper.logs();
    if (this.validation && (epoch + 1) % (this.options.validationFreq ?? 1) === 0)
      Object.assign(logs, await this.validate());
    this.history.record(epoch, logs);
    this.epoch = epoch + 1;
    this.batch = 0;
    this.chunk = 0;
    this.keeper = model.scoreKeeper();
    for (const c of callbacks) await c.onEpochEnd?.(epoch, logs);
    return logs;
  }

  private async runBatch(batch: Batch, epoch: number, index: number): Promise<void> {
    const { callbacks, options } = this;
    for (const c of callbacks) await c.onBatchBegin?.(index);
    if (options.truncatedBPTT) await this.runChunks(batch, epoch, index, options.truncatedBPTT);
    else
      await this.runStep(batch, epoch, index, 1, () => {
        this.batch = index + 1;
      });
    const listening = callbacks.filter((c) => c.onBatchEnd);
    if (listening.length > 0) {
      const logs = this.keeper.logs();
      for (const c of listening) await c.onBatchEnd?.(index, logs);
    }
  }

  /** The chunks of a batch that are still to be run. */
  private async runChunks(
    batch: Batch,
    epoch: number,
    index: number,
    truncation: TruncatedBPTT,
  ): Promise<void> {
    const { model, contract, options } = this;
    const graph = model.requireBuilt('fit');
    const chunks = chunksOf(contract, batch, truncation);
    const going = carriedStates(graph);
    if (this.chunk === 0) this.carried = firstStates(graph, batch);
    for (const [i, chunk] of chunks.entries()) {
      if (i < this.chunk) continue;
      throwIfAborted('fit', options.signal);
      await this.runStep(chunkOf(batch, chunk, this.carried), epoch, index, chunk.share, ({ executable }) => {
        const last = i + 1 === chunks.length;
        const rows = batch.indices.length;
        if (last) this.carried = new Map();
        // A chunk that begins where this one did begins with the same states.
        else if (chunk.next !== chunk.begin)
          this.carried = new Map(
            [...going].map(([key, units]) => [key, outputTensor(executable, key, [rows, units])]),
          );
        this.chunk = last ? 0 : i + 1;
        this.batch = last ? index + 1 : index;
      });
      if (model.stopTraining) return;
    }
  }

  /**
   * An optimizer step.
   * @param share the part of the batch that it sees
   * @param counted notes that it is done, before anything else may run: a save from outside must find the step and its batch counted, or neither
   */
  private async runStep(
    batch: Batch,
    epoch: number,
    index: number,
    share: number,
    counted: (loaded: LoadedPlan) => void,
  ): Promise<void> {
    const { model, callbacks } = this;
    const askingAt = (step: number) =>
      callbacks.filter((c) => c.gradientsEvery && (step - this.firstStep) % c.gradientsEvery === 0);
    const asking = askingAt(model.step);
    const steps = asking.length > 0 ? await countedSteps(model, batch) : undefined;
    const norms = asking.length > 0 ? await carriedNorms(model, batch, steps) : undefined;
    const report = await trainStep(
      model,
      batch,
      {
        caller: 'fit',
        gradientNorms: asking.length > 0,
        nextGradientNorms: askingAt(model.step + 1).length > 0,
        states: this.options.truncatedBPTT !== undefined,
      },
      (loaded) => {
        this.keeper.add(loaded, share * batch.indices.length);
        counted(loaded);
        return asking.length > 0 ? gradientReport(model, loaded, norms, steps) : undefined;
      },
    );
    if (report) for (const c of asking) await c.onGradients?.(report, epoch, index);
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
        if (done) {
          if (typeof generator !== 'function') this.refuseShortEpoch(epoch, left);
          return;
        }
        checkFixedBatch(contract, value.indices.length);
        yield value;
      }
    } finally {
      if (typeof generator === 'function') await batches.return?.();
    }
  }

  /** An iterable that runs dry would make the last epochs shorter, or empty, than those before. */
  private refuseShortEpoch(epoch: number, left: number): void {
    if (!Number.isFinite(left)) return;
    refuse(
      'ERR_VALUE',
      'fit: generator',
      `${this.stepsPerEpoch} batches (stepsPerEpoch) in epoch ${epoch}`,
      `${(this.stepsPerEpoch as number) - left}`,
      'Give epochs × stepsPerEpoch batches, or a function that starts a new iterable.',
    );
  }

  /** The batches of one validation. An iterator can be read only once, so it goes on where the last validation stopped. */
  private validationBatches(contract: DataContract): AsyncIterable<Batch> | Iterable<Batch> {
    const data = this.validation as Data | Examples;
    if (!('generator' in data)) return batchesOf(data as Examples, this.validationBatchSize);
    const { generator } = data;
    const { signal } = this.options;
    if (!isIterator(generator) || this.options.validationSteps === undefined)
      return batchesFrom(contract, generator, { signal });
    this.validating ??= batchesFrom(contract, generator, { signal });
    const { validating } = this;
    return { [Symbol.asyncIterator]: () => ({ next: () => validating.next() }) };
  }

  private async validate(): Promise<Logs> {
    const { model, options, callbacks } = this;
    const contract = this.validationContract;
    const data = this.validation as Data | Examples;
    const size = this.validationBatchSize;
    const batches = this.validationBatches(contract);
    const keeper = model.scoreKeeper();
    const limit = options.validationSteps ?? Number.POSITIVE_INFINITY;
    const steps = expectedSteps(
      'generator' in data ? undefined : (data as Examples).count,
      size,
      options.validationSteps,
    );
    for (const c of callbacks) await c.onEvaluateBegin?.(steps);
    let index = 0;
    for await (const batch of batches) {
      throwIfAborted('fit', options.signal);
      checkFixedBatch(contract, batch.indices.length);
      const run = { caller: contract.caller, mode: 'evaluate' } as const;
      await model.runner.run(batch, run, (loaded) => keeper.add(loaded, batch.indices.length));
      for (const c of callbacks) await c.onEvaluateBatchEnd?.(index, keeper.logs('val_'));
      // Left before the next batch is asked for, which an endless iterator would lose.
      if (++index >= limit) break;
    }
    if (index === 0) refuse('ERR_VALUE', contract.caller, 'at least one batch', 'none from the generator');
    const logs = keeper.logs('val_');
    for (const c of callbacks) await c.onEvaluateEnd?.(logs);
    return logs;
  }

  /** @param modelSeed what seeds the shuffles where the options do not */
  private order(modelSeed: number): BatchOrder {
    const { examples, options } = this;
    return {
      batchSize: examples ? this.batchSize : null,
      examples: examples?.count ?? null,
      stepsPerEpoch: this.stepsPerEpoch,
      shuffle: options.shuffle ?? true,
      seed: options.seed ?? modelSeed,
      ...(options.truncatedBPTT
        ? { chunkSteps: options.truncatedBPTT.steps, chunkOverlap: options.truncatedBPTT.overlap ?? 0 }
        : {}),
    };
  }

  /** The batches left of an unfinished epoch are those not yet seen only if the epoch is cut the same way. */
  private checkOrder(path: string, { order: saved, chunk = 0 }: FitState, modelSeed: number): void {
    const order = this.order(modelSeed);
    const own = [
      'examples',
      'batchSize',
      'stepsPerEpoch',
      'shuffle',
      'seed',
      'chunkSteps',
      'chunkOverlap',
    ] as const;
    for (const key of own) {
      // Between batches it makes no difference how those to come are cut.
      if (order[key] === saved[key] || (key.startsWith('chunk') && chunk === 0)) continue;
      const wanted = `${saved[key]}, as in '${path}', which was written inside an epoch`;
      refuse('ERR_VALUE', `fit: resumeFrom: ${key}`, wanted, order[key]);
    }
  }

  private state(): TrainingState {
    const states = this.callbacks.filter((c) => c.stateKey !== undefined && (c.getState || c.getArrays));
    const state: FitState = {
      epoch: this.epoch,
      batch: this.batch,
      ...(this.chunk > 0 ? { chunk: this.chunk } : {}),
      scores: this.keeper.state,
      history: this.history.toJSON(),
      callbacks: Object.fromEntries(states.map((c) => [c.stateKey as string, c.getState?.() ?? null])),
      order: this.order(this.model.seed),
    };
    const arrays = states.flatMap((c) => arraysForFile(c, c.stateKey as string));
    const carried = this.chunk > 0 ? arraysForFile({ getArrays: () => new Map(this.carried) }, CARRIED) : [];
    return { state, arrays: new Map([...arrays, ...carried]) };
  }

  /** Takes the model and the counters to where the checkpoint was; gives the states of its callbacks. */
  private async resume(path: string): Promise<Pick<FitState, 'callbacks'> & Pick<TrainingState, 'arrays'>> {
    const { state: saved, arrays } = await restoreCheckpoint(this.model, path, (config) => {
      const state = config.training as FitState | undefined;
      if (!state)
        throw new DeepRnnError(
          'ERR_FILE',
          `fit: resumeFrom: '${path}' is a saved model, not a checkpoint. Save with { checkpoint: true } during fit, or use callbacks.modelCheckpoint.`,
        );
      if (state.batch === 0 && !state.chunk) return;
      // The model is about to take over the checkpoint's seed.
      this.checkOrder(path, state, config.model.seed);
      // The sums over the epoch's first batches are those of the checkpoint's metrics, in their order.
      requireSameMetrics(this.model, config);
    });
    const state = saved as FitState;
    this.epoch = state.epoch;
    this.batch = state.batch;
    this.chunk = state.chunk ?? 0;
    this.carried = arraysOfCallback(arrays, CARRIED);
    this.keeper = this.model.scoreKeeper(state.scores);
    this.history = History.fromJSON(state.history);
    return { callbacks: state.callbacks, arrays };
  }
}
