import { randomInt } from 'node:crypto';
import type { CallbackModel } from '../callbacks/callback';
import { readConfig, requirePath } from '../config';
import type { Preprocessor } from '../data/preprocessor';
import { createEngine } from '../engines/devices';
import type { SessionOptions } from '../engines/engine';
import { DeepRnnError, quoted, refuse } from '../errors';
import type { Layer, WeightSpec } from '../layers/layer';
import { seedOption } from '../layers/options';
import { readInSlices } from '../tensors/nested';
import { namedTensor, sizeOf, type Tensor, type TensorLike } from '../tensors/tensor';
import {
  type BatchGenerator,
  type DataContract,
  type ExampleOptions,
  type Inputs,
  isGenerator,
  refuseEmpty,
} from './batches';
import { CallOrder } from './callOrder';
import {
  type Compiled,
  type CompileOptions,
  type OutputMetric,
  readCompileOptions,
  readMetrics,
} from './compiled';
import { dataContract } from './contract';
import {
  type Data,
  dataAndOptions,
  type EvaluateOptions,
  evaluate,
  type Prediction,
  type PredictOptions,
  predict,
  type StatesOption,
} from './evaluate';
import { fit } from './fit';
import type { FitOptions } from './fitOptions';
import { type Graph, inputOf, type OutputKeys, outputKeys, outputOf, outputsOf } from './graph';
import type { History } from './history';
import { type Recipe, slotName, stateName, weightName } from './lower';
import {
  type SaveOptions,
  saveModel,
  saveWeights,
  type TrainingState,
  type WeightsOptions,
} from './modelFile';
import type { ModelStructure } from './modelStructure';
import { writerOf } from './modelWriters';
import { type EstimatedProfile, type MeasuredProfile, profile } from './profile';
import type { EstimateOptions, ProfileOptions } from './profileOptions';
import { Queue } from './queue';
import { Runner } from './runner';
import { ScoreKeeper, type ScoreState, type Scores } from './scores';
import type { StepPlan } from './stepPlan';
import { type ModelStream, openStream, type StreamOptions } from './stream';
import { type SummaryOptions, summarize } from './summary';
import { computeGradients, type TrainOnBatchOptions, trainOnBatch } from './trainStep';
import { Variables } from './variables';
import { type NamedWeights, readWeights } from './weights';

export interface ModelOptions {
  /** Default: the kind of the model. */
  readonly name?: string;
  /** Seeds weights, dropout and shuffles. Default: a random one, which `getConfig` shows. */
  readonly seed?: number;
}

/** A network of layers that can be trained, evaluated, asked and saved; its kinds differ in how the layers are put together. */
export abstract class Model<Y = unknown> implements CallbackModel {
  readonly name: string;
  /** Scalers and vectorizers that belong to the model; they are saved and loaded with it. */
  readonly preprocessing: Record<string, Preprocessor> = {};
  stopTraining = false;
  /** Training steps taken: counts optimizer updates and keys the dropout masks. */
  step = 0;
  /** @internal */ readonly variables: Variables;
  /** @internal */ compiled: Compiled | undefined;
  /** @internal */ metrics: readonly OutputMetric[] = [];
  /** @internal What streams share, by batch size. */ readonly stepPlans = new Map<number, StepPlan>();
  /** @internal What a checkpoint must hold of a running fit; set by it. */
  trainingState: (() => TrainingState) | undefined;
  /** @internal Whether predictions are an object by the names of the outputs. */
  readonly namesOutputs: boolean = false;
  private currentSeed: number;
  private currentRunner: Runner | undefined;
  private readonly queue = new Queue();
  private readonly order = new CallOrder();
  private busy: string | undefined;
  /** Calls under way other than those that make it busy: several may be. */
  private readonly inFlight = new Set<{ readonly what: string }>();
  private disposed = false;
  private lastContract: DataContract | undefined;

  /** @param kind names the maker in messages, and a model without a name */
  protected constructor(kind: string, options: ModelOptions) {
    const { name = kind, seed } = readConfig(options, ['name', 'seed'], kind);
    if (typeof name !== 'string' || name === '') refuse('ERR_VALUE', `${kind}: name`, 'a name', quoted(name));
    this.name = name as string;
    this.currentSeed = seedOption(seed, `${kind}: seed`) ?? randomInt(2 ** 47);
    this.variables = new Variables(this.name);
  }

  /** The layers, in the order in which they are evaluated. */
  abstract get layers(): readonly Layer[];

  /** @internal How the layers are connected; undefined until the input's shape is known. */
  abstract readonly graph: Graph | undefined;

  /**
   * Works out all shapes and makes the weights, where that has not been done.
   * @param inputShape batch-free; default: what the layers say
   */
  abstract build(inputShape?: readonly (number | null)[]): this;

  /** Configuration from which `loadModel` and `modelFromConfig` make the same model. JSON values only. */
  abstract getConfig(): ModelStructure;

  /** Seeds weights, dropout masks and shuffles. */
  get seed(): number {
    return this.currentSeed;
  }

  /** @internal A resumed model goes on with the masks and orders of the one that was stopped. */
  adoptSeed(seed: number): void {
    if (seed === this.currentSeed) return;
    this.currentSeed = seed;
    this.forgetPlans();
  }

  /** Plans are made anew by the next call. */
  protected forgetPlans(): void {
    this.currentRunner?.dispose();
    this.currentRunner = undefined;
  }

  get built(): boolean {
    return this.graph !== undefined;
  }

  /** Batch-free shape of the (first) input; null stands for a length that varies. */
  get inputShape(): readonly (number | null)[] {
    return inputOf(this.requireBuilt('inputShape')).shape;
  }

  /** Batch-free shape of the (first) output. */
  get outputShape(): readonly (number | null)[] {
    return outputOf(this.requireBuilt('outputShape')).shape;
  }

  /** Sets loss, optimizer, metrics and the device. Weights are kept; optimizer state and recurrent states start anew. */
  compile(options: CompileOptions): this {
    this.requireAlive();
    if (this.busy || this.inFlight.size > 0) this.refuseBusy('compile');
    // All that may be refused comes first: a compile that fails changes nothing.
    const outputs = this.graph ? outputKeys(this.graph).map(({ name }) => name) : ['output'];
    const compiled = readCompileOptions(options, outputs);
    const metrics = this.built ? this.metricsOf(compiled) : [];
    const attaching = this.variables.attached || compiled.device !== undefined;
    const engine = attaching ? createEngine(compiled.device) : undefined;
    this.forgetPlans();
    const own = (name: string) => !name.includes(slotName('', '')) && !name.includes(stateName('', ''));
    if (engine) this.variables.moveTo(engine, sessionOptions(compiled), own);
    else this.variables.keep(own);
    this.compiled = compiled;
    this.metrics = metrics;
    this.step = 0;
    return this;
  }

  private metricsOf(compiled: Compiled): OutputMetric[] {
    const graph = this.requireBuilt('compile');
    const keys = outputKeys(graph);
    return readMetrics(
      compiled,
      outputsOf(graph).map(({ shape }, i) => ({
        name: (keys[i] as OutputKeys).name,
        classes: shape[shape.length - 1] ?? 1,
      })),
    );
  }

  /** For kinds that learn their input's shape after `compile`. */
  protected resolveMetrics(): void {
    if (this.compiled) this.metrics = this.metricsOf(this.compiled);
  }

  private attach(): Promise<void> {
    return this.variables.attach(createEngine(this.compiled?.device), sessionOptions(this.compiled));
  }

  get optimizer() {
    return this.requireCompiled('optimizer').optimizer;
  }

  /** The optimizer's rate at the next step; assigning replaces it, a schedule included. */
  get learningRate(): number {
    return this.optimizer.rate(this.step);
  }

  set learningRate(rate: number) {
    if (!(Number.isFinite(rate) && rate >= 0))
      refuse('ERR_VALUE', 'learningRate', 'a finite number, 0 or more', quoted(rate));
    this.optimizer.learningRate = rate;
  }

  /**
   * Trains for a number of epochs. Data: arrays or tensors `x [N, …]`, `y [N, …]`, or a generator of batches in place of x.
   * Arrays must stay as they are until it is done: the next batch is gathered from them while one runs.
   * @throws ERR_ABORTED when the signal fires; the model keeps what it has learned and stays usable.
   */
  fit(x: Inputs, y: Inputs, options?: FitOptions): Promise<History>;
  fit(generator: BatchGenerator, options?: FitOptions): Promise<History>;
  fit(x: Inputs | BatchGenerator, y?: Inputs | FitOptions, options?: FitOptions): Promise<History> {
    return this.whileBusy('fit', async () => {
      const [data, read] = dataAndOptions('fit', x, y, options);
      // What was asked for before sees the weights before training. Later calls go between the steps: a service may predict.
      await this.order.changes(() => undefined);
      return fit(this, await this.inSlices(data), read);
    });
  }

  /** One optimizer step on one batch. Resolves to the batch's loss (before the step) and metrics. */
  trainOnBatch(x: Inputs, y: Inputs, options: TrainOnBatchOptions = {}): Promise<Scores> {
    return this.whileBusy('trainOnBatch', () => this.order.changes(() => trainOnBatch(this, x, y, options)));
  }

  /** Loss and metrics over data, without training. */
  async evaluate(x: Inputs, y: Inputs, options?: EvaluateOptions): Promise<Scores>;
  async evaluate(generator: BatchGenerator, options?: EvaluateOptions): Promise<Scores>;
  async evaluate(
    x: Inputs | BatchGenerator,
    y?: Inputs | EvaluateOptions,
    options?: EvaluateOptions,
  ): Promise<Scores> {
    const [data, read] = dataAndOptions('evaluate', x, y, options);
    const turn = 'generator' in data || read.callbacks ? 'begins' : 'reads';
    return this.during('evaluate', () =>
      this.order[turn](async () => evaluate(this, await this.inSlices(data), read)),
    );
  }

  /**
   * Outputs for inputs `x [N, …]`: a tensor `[N, …output]`, or an object of them by the names of the outputs where those were given to
   * `model` as an array; with `returnStates` also the recurrent states after the last step.
   * @throws ERR_VALUE for `returnStates` of a model without recurrent layers
   */
  predict(x: Inputs | BatchGenerator, options: PredictOptions & StatesOption): Promise<Prediction<Y>>;
  predict(x: Inputs | BatchGenerator, options?: PredictOptions): Promise<Y>;
  async predict(
    x: Inputs | BatchGenerator,
    options: PredictOptions & Partial<StatesOption> = {},
  ): Promise<Y | Prediction<Y>> {
    const turn = isGenerator(x) ? 'begins' : 'reads';
    return this.during('predict', () =>
      this.order[turn](async () => predict<Y>(this, await this.inputsInSlices(x), options)),
    );
  }

  /** Large nested arrays of inputs as tensors, read while the event loop runs; all else as it is. */
  private async inputsInSlices<X extends Inputs | BatchGenerator>(x: X): Promise<X | Inputs> {
    const { graph } = this;
    if (!graph || graph.inputs.length === 1) {
      const ids = (graph ? inputOf(graph).dtype : this.layers[0]?.inputDType) === 'int32';
      return readInSlices(x, ids ? 'int32' : 'float32');
    }
    const types = graph.inputs.map(({ symbol }) => (symbol.dtype === 'int32' ? 'int32' : 'float32'));
    if (!Array.isArray(x)) return x;
    return Promise.all(x.map((values, i) => readInSlices(values as TensorLike, types[i] ?? 'float32')));
  }

  /** Reads large nested arrays while the event loop runs. */
  private async inSlices(data: Data): Promise<Data> {
    if ('generator' in data) return data;
    const x = await this.inputsInSlices(data.x);
    const losses = this.compiled?.losses ?? [];
    const [sparse] = losses.map((loss) => loss.sparse);
    // Several arrays in one are for the reader of examples to tell apart.
    return { x, y: losses.length > 1 ? data.y : await readInSlices(data.y, sparse ? 'int32' : 'float32') };
  }

  /**
   * Loss and the gradient of every trainable weight on one batch, by `layer/weight`; nothing is changed. Dropout is active,
   * as in training.
   */
  async computeGradients(
    x: Inputs,
    y: Inputs,
    options: ExampleOptions = {},
  ): Promise<{ loss: number; gradients: Map<string, Tensor> }> {
    return this.during('computeGradients', () =>
      this.order.reads(() => computeGradients(this, x, y, options)),
    );
  }

  /**
   * Opens a live sequence, or `batchSize` of them in lock-step, that goes on one time step a call: `stepSync` on this thread, `step`
   * off it. All streams of the model share its weights and one loaded plan; each has states of its own.
   * @throws ERR_VALUE for a layer that cannot go on step by step, and for a model that reads no sequences
   */
  async stream(options: StreamOptions = {}): Promise<ModelStream> {
    return this.during('stream', () => this.order.reads(() => openStream(this, options)));
  }

  /** All weights by `layer/weight`, copied. */
  async getWeights(): Promise<Map<string, Tensor>> {
    const names = this.weightSpecs('getWeights').map(([name]) => name);
    return this.exclusive('reads', () => this.variables.readLater(names));
  }

  /** Replaces the weights named; all others stay. @throws ERR_VALUE for an unknown name, ERR_SHAPE for a wrong shape. */
  async setWeights(weights: NamedWeights): Promise<void> {
    const read = readWeights(new Map(this.weightSpecs('setWeights')), weights);
    return this.exclusive('changes', () => {
      for (const [name, data] of read) this.variables.write(name, data);
    });
  }

  /** Sets the carried states of stateful layers back to zero. */
  async resetStates(): Promise<void> {
    return this.exclusive('changes', () => {
      const names = this.variables.names().filter((name) => name.includes(stateName('', '')));
      for (const name of names) this.variables.write(name, new Float32Array(this.variables.read(name).size));
    });
  }

  /** Number of weights' elements. */
  countParams(): number {
    return this.weightSpecs('countParams').reduce((sum, [, spec]) => sum + sizeOf(spec.shape), 0);
  }

  /**
   * A table of layers, output shapes and parameter counts, the recurrent layers that run as one fused stack and, with `batchSize`, the
   * memory of a batch.
   */
  summary(options: SummaryOptions = {}): string {
    return summarize(this, options);
  }

  /**
   * Times predicting a batch and, of a compiled model, a training step on one, with random data and off the event loop. The model
   * stays as it is: copies of its variables are used. Milliseconds, bytes, floating-point operations, and how the engine runs each
   * recurrent stack. With `estimate: true` nothing runs; the times on a GPU are predicted, on any machine (docs/profile.md).
   * @throws ERR_ABORTED when the signal fires
   */
  profile(options: EstimateOptions): Promise<EstimatedProfile>;
  profile(options?: ProfileOptions): Promise<MeasuredProfile>;
  profile(options?: ProfileOptions | EstimateOptions): Promise<MeasuredProfile | EstimatedProfile> {
    return this.whileBusy('profile', () => profile(this, options));
  }

  /**
   * Writes the model to one file, atomically, in the format that the ending of its name says, or else in this library's own.
   * `loadModel` reads it.
   */
  async save(path: string, options: SaveOptions = {}): Promise<void> {
    requirePath(path, 'save: path');
    const write = writerOf(path) ?? saveModel;
    return write(this, path, options);
  }

  /**
   * Writes the weights alone to one file, atomically: a name that ends in `.weights.h5` in Keras's format, any other as plain safetensors, with
   * `names: 'keras'` by the paths of Keras's variables and in its layouts. `loadWeights` reads them all.
   */
  saveWeights(path: string, options: WeightsOptions = {}): Promise<void> {
    return saveWeights(this, path, options);
  }

  /**
   * Frees native memory. The model cannot be used afterwards; a save that has begun is still finished. The garbage collector
   * does the same in its own time.
   */
  dispose(): void {
    if (this.busy) this.refuseBusy('dispose');
    if (this.disposed) return;
    const free = () => {
      this.forgetPlans();
      this.variables.dispose();
    };
    if (this.inFlight.size > 0) void this.order.changes(() => this.queue.run(free));
    else free();
    this.disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal Adds scores of this model up. */
  scoreKeeper(state?: ScoreState): ScoreKeeper {
    return new ScoreKeeper(this.metrics, outputKeys(this.requireBuilt('scores')), state);
  }

  /** @internal What data must look like; builds the model from the data where that is possible. */
  contract(caller: string, x?: Inputs): DataContract {
    this.requireAlive();
    if (!this.built && x !== undefined && caller !== 'predict') {
      const inputs = namedTensor(`${caller}: x`, x as TensorLike);
      refuseEmpty(`${caller}: x`, inputs);
      this.build(inputs.shape.slice(1));
    }
    const graph = this.requireBuilt(caller);
    const needsLoss = caller !== 'predict' && caller !== 'profile';
    const losses = needsLoss ? this.requireCompiled(caller).losses : undefined;
    if (trains.includes(caller) && this.compiled?.precision === 'int8') {
      const wayOut = "Train in 'fp32' or 'bf16', then compile again with 'int8' to predict and evaluate.";
      refuse('ERR_STATE', `${caller}: precision`, 'one that has gradients', "'int8'", wayOut);
    }
    this.lastContract = dataContract(caller, graph, this.layers, losses, this.lastContract);
    return this.lastContract;
  }

  /** @internal */
  get runner(): Runner {
    this.requireAlive();
    this.currentRunner ??= new Runner(this.recipe(), this.variables, () => this.attach(), this.queue);
    return this.currentRunner;
  }

  /** @internal What plans are made from, once the model is built. */
  recipe(): Recipe {
    return {
      layers: this.layers,
      graph: this.graph as Graph,
      seed: this.seed,
      losses: this.compiled?.losses,
      lossWeights: this.compiled?.lossWeights,
      metrics: this.metrics,
      optimizer: this.compiled?.optimizer,
      checkpointSteps: this.compiled?.checkpointSteps,
    };
  }

  /** @internal A step of a stream, in its turn. */
  async streamStep<R>(work: () => Promise<R>): Promise<R> {
    this.requireAlive();
    return this.during('stream.step', () => this.order.reads(() => this.runner.inTurn(work)));
  }

  /** @internal @throws ERR_STATE while another call is under way, for whose end a synchronous call cannot wait */
  requireIdle(caller: string, wayOut: string): void {
    this.requireAlive();
    if (this.busy || this.inFlight.size > 0) this.refuseBusy(caller, wayOut);
  }

  /** @internal Runs `work`, which reads or changes arrays, in its turn and when no plan is running. */
  async exclusive<R>(turn: 'reads' | 'changes', work: () => R | Promise<R>): Promise<R> {
    this.requireAlive();
    return this.during('a call that reads or writes its arrays', () =>
      this.order[turn](() => this.queue.run(work)),
    );
  }

  protected requireAlive(): void {
    if (this.disposed) throw new DeepRnnError('ERR_STATE', `model '${this.name}': it has been disposed.`);
  }

  /** @internal Names and specs of all weights, bottom layer first. */
  weightSpecs(caller: string): [name: string, spec: WeightSpec][] {
    this.requireBuilt(caller);
    return this.layers.flatMap((layer) =>
      layer.weights.map((spec) => [weightName(layer.name, spec.name), spec] as [string, WeightSpec]),
    );
  }

  /** @internal */
  requireBuilt(caller: string): Graph {
    this.requireAlive();
    if (!this.graph) {
      throw new DeepRnnError(
        'ERR_STATE',
        `${caller}: model '${this.name}' has no weights yet. Give the first layer an inputShape, call build([timesteps, features]), or fit it first.`,
      );
    }
    return this.graph;
  }

  private requireCompiled(caller: string): Compiled {
    if (!this.compiled) {
      throw new DeepRnnError(
        'ERR_STATE',
        `${caller}: model '${this.name}' is not compiled. Call compile({ loss, optimizer }) first.`,
      );
    }
    return this.compiled;
  }

  private async whileBusy<R>(what: string, work: () => Promise<R>): Promise<R> {
    if (this.busy) this.refuseBusy(what);
    this.busy = what;
    try {
      return await work();
    } finally {
      this.busy = undefined;
    }
  }

  /** Notes that a call is under way. */
  private async during<R>(what: string, work: () => Promise<R>): Promise<R> {
    const call = { what };
    this.inFlight.add(call);
    try {
      return await work();
    } finally {
      this.inFlight.delete(call);
    }
  }

  protected refuseBusy(what: string, wayOut = 'Wait for its promise first.'): never {
    const [call] = this.inFlight;
    throw new DeepRnnError(
      'ERR_STATE',
      `${what}: model '${this.name}' is in ${this.busy ?? call?.what}. ${wayOut}`,
    );
  }
}

/** Calls that need gradients. */
const trains = ['fit', 'trainOnBatch', 'computeGradients'];

function sessionOptions({ threads, precision }: Partial<Compiled> = {}): SessionOptions {
  return {
    ...(threads === undefined ? {} : { threads }),
    ...(precision === undefined ? {} : { precision }),
  };
}
