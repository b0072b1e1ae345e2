import type { Executable } from '../engines/engine';
import { OutOfMemory } from '../engines/outOfMemory';
import { type Plan, PlanCheckError } from '../plan/types';
import { type Shape, sizeOf, Tensor } from '../tensors/tensor';
import type { Batch } from './batches';
import { dataError } from './dataError';
import { inputOf } from './graph';
import { InputSets } from './inputSets';
import { largestBatch } from './largestBatch';
import {
  AVERAGE,
  type LoweredPlan,
  lower,
  type PlanMode,
  type PlanRequest,
  type Recipe,
  slotName,
} from './lower';
import { Queue } from './queue';
import type { Variables } from './variables';

/** A plan loaded into an engine. */
export interface LoadedPlan extends LoweredPlan {
  readonly executable: Executable;
  /** @internal */ readonly inputs: InputSets;
}

export interface RunOptions {
  /** The public call, for messages. */
  readonly caller: string;
  readonly mode: PlanMode;
  readonly gradientNorms?: boolean;
  /** Give the mask of steps alone. */
  readonly mask?: boolean;
  /** Also give the recurrent states after the last step. */
  readonly states?: boolean;
  /** What `gradientNorms` will probably be for the next batch. Default: what it is for this one. */
  readonly nextGradientNorms?: boolean;
  /** A weight for every scored row of the one output in place of the batch's own, batch-major. */
  readonly weights?: Float32Array;
  /** Gets the milliseconds of each op of the plan. */
  readonly times?: (ops: number) => Float64Array;
  /** Sets inputs other than the batch's own (step, optimizer numbers). */
  readonly prepare?: (loaded: LoadedPlan) => void;
}

/** Loaded plans kept at once, by number and by bytes; the least recently used goes first. Sequences of many lengths make many plans. */
const MAX_PLANS = 24;
const MAX_PLAN_BYTES = 512 * 2 ** 20;
/**
 * The last ones used stay, however large: full and last batch of training and of validation. Were one of them given up for
 * another, every epoch, or every step, would load it anew.
 */
const KEPT_PLANS = 4;

/**
 * Runs batches of one model: finds or makes the plan for the batch's shape, fills its inputs, runs it, hands the loaded plan
 * to a reader. While the engine works, the data of the next batch are gathered. Runs are queued, so that a service may predict
 * while the model is being fitted.
 */
export class Runner {
  private readonly plans = new Map<string, LoadedPlan>();
  /** Those of streams, which may be needed at any moment: other plans never take their place. */
  private readonly stepPlans = new Set<LoadedPlan>();

  constructor(
    private readonly recipe: Recipe,
    private readonly variables: Variables,
    /** Moves the variables into an engine, before the first run. */
    private readonly attach: () => Promise<void>,
    /** Whatever uses the variables waits in it. */
    private readonly queue = new Queue(),
  ) {}

  /** Runs one batch. `read` is called before any other run may change the outputs. */
  run<R>(batch: Batch, options: RunOptions, read: (loaded: LoadedPlan) => R): Promise<R> {
    return this.inTurn(async () => {
      const loaded = this.plan(requestOf(batch, options));
      // Only now: callbacks may have changed the learning rate since the data of this batch were gathered.
      options.prepare?.(loaded);
      // Last, so that nothing can fail between the data and their run.
      const set = loaded.inputs.take(batch, options.mode);
      if (options.weights) loaded.executable.input('weights', set).set(options.weights);
      const running = loaded.executable.run(set, options.times?.(loaded.plan.ops.length));
      this.gatherNext(batch, options);
      try {
        await running;
      } catch (error) {
        if (!(error instanceof PlanCheckError)) throw error;
        throw dataError(loaded.plan, options.caller, error, (place) => {
          const [row, ...rest] = place;
          return batch.placed?.(place) ?? [batch.indices[row as number] as number, ...rest];
        });
      }
      return read(loaded);
    });
  }

  dispose(): void {
    this.forgetPlans();
    for (const loaded of this.stepPlans) this.unloadStep(loaded);
  }

  private forgetPlans(): void {
    for (const { executable } of this.plans.values()) executable.dispose();
    this.plans.clear();
  }

  /** Does `work` in its turn, when the variables are in an engine and no plan is running. */
  inTurn<R>(work: () => R | Promise<R>): Promise<R> {
    return this.queue.run(async () => {
      if (!this.variables.attached) await this.attach();
      return work();
    });
  }

  /** Loads the plan of one step of `batchSize` live sequences, until it is unloaded. No run may be in flight. */
  loadStep(batchSize: number): LoadedPlan {
    const { graph, layers } = this.recipe;
    const loaded = this.loadRequest({
      mode: 'predict',
      inputShapes: [[batchSize, 1, ...(inputOf(graph).shape.slice(1) as number[])]],
      weighted: [],
      initialStates: layers.flatMap(({ name, states }) => states.map((state) => `${name}/${state.name}`)),
      streaming: true,
      gradientNorms: false,
    });
    this.stepPlans.add(loaded);
    return loaded;
  }

  unloadStep(loaded: LoadedPlan): void {
    if (this.stepPlans.delete(loaded)) loaded.executable.dispose();
  }

  /** Gathers the data of the batch to come, where its plan is loaded; none can be loaded while one runs. */
  private gatherNext({ next }: Batch, options: RunOptions): void {
    if (!next) return;
    const { gradientNorms, nextGradientNorms = gradientNorms ?? false } = options;
    const key = JSON.stringify(requestOf(next, { ...options, gradientNorms: nextGradientNorms }));
    this.plans.get(key)?.inputs.gatherAhead(next, options.mode);
  }

  private plan(request: PlanRequest): LoadedPlan {
    const key = JSON.stringify(request);
    const known = this.plans.get(key);
    const loaded = known ?? this.loadRequest(request);
    this.plans.delete(key);
    this.plans.set(key, loaded);
    if (!known) this.makeRoom();
    return loaded;
  }

  private makeRoom(): void {
    let bytes = [...this.plans.values()].reduce((sum, { executable }) => sum + executable.bytes, 0);
    for (const [oldest, { executable }] of this.plans) {
      if (this.plans.size <= KEPT_PLANS) break;
      if (this.plans.size <= MAX_PLANS && bytes <= MAX_PLAN_BYTES) break;
      this.plans.delete(oldest);
      bytes -= executable.bytes;
      executable.dispose();
    }
  }

  private loadRequest(request: PlanRequest): LoadedPlan {
    const lowered = lower(this.recipe, request);
    this.declareVariables(lowered.plan);
    const executable = this.load(lowered.plan, request);
    return { ...lowered, executable, inputs: new InputSets(executable) };
  }

  /** Loads a plan; where memory is short, those of other batches make room for it. */
  private load(plan: Plan, request: PlanRequest): Executable {
    try {
      return this.variables.load(plan);
    } catch (error) {
      if (!(error instanceof OutOfMemory)) throw error;
      if (this.plans.size > 0) {
        this.forgetPlans();
        return this.load(plan, request);
      }
      const largest = largestBatch(this.recipe, request, error);
      const wayOut =
        largest > 0
          ? `A batch of ${largest} would fit, not one of ${request.inputShapes[0]?.[0]}.`
          : 'Not even one example would fit: use fewer steps or smaller layers.';
      throw new OutOfMemory(`${error.message} ${wayOut}`, error.needed, error.available, { cause: error });
    }
  }

  /** Optimizer slots, averages and carried states come to be when the first plan asks for them. */
  private declareVariables(plan: Plan): void {
    for (const { role, name, shape } of plan.values) {
      if (role !== 'variable' || this.variables.has(name)) continue;
      // An average that begins late, as that of a layer trained only from now on, begins with the weight.
      const average = slotName('', AVERAGE);
      if (name.endsWith(average)) {
        this.variables.declare(name, shape, () => this.variables.read(name.slice(0, -average.length)).data);
        continue;
      }
      const slot = this.recipe.optimizer?.slots.find((s) => s && name.endsWith(slotName('', s.name)));
      const first = slot?.initial ?? 0;
      // Variables are zero from the start: filling those of a large embedding would hold the event loop up.
      this.variables.declare(
        name,
        shape,
        first === 0 ? undefined : () => new Float32Array(sizeOf(shape)).fill(first),
      );
    }
  }
}

function requestOf({ examples, indices, statesAfter }: Batch, options: RunOptions): PlanRequest {
  return {
    mode: options.mode,
    inputShapes: Array.from(examples.inputs.values(), ({ shape }) => [indices.length, ...shape.slice(1)]),
    weighted: options.mode === 'predict' ? [] : options.weights ? ['weights'] : [...examples.weights.keys()],
    initialStates: [...examples.initialStates.keys()],
    lengths: examples.lengths !== undefined,
    mask: options.mask ?? false,
    states: options.states ?? false,
    ...(options.states && statesAfter !== undefined ? { statesAfter } : {}),
    ...(options.mode !== 'predict' && examples.scored ? { scored: true } : {}),
    gradientNorms: options.gradientNorms ?? false,
  };
}

/** Fills an input of a plan; does nothing where the plan has no such input. */
export function setInput({ executable, plan }: LoadedPlan, name: string, values: ArrayLike<number>): void {
  if (plan.values.some((v) => v.role === 'input' && v.name === name)) executable.input(name).set(values);
}

/** A copy of an output as a tensor. */
export function outputTensor(executable: Executable, name: string, shape: Shape): Tensor {
  return new Tensor(executable.output(name).slice(), shape);
}
