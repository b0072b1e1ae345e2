import { readConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import type { SymbolicShape } from '../layers/layer';
import { namedTensor, type Shape, sizeOf, Tensor, type TensorData, type TensorLike } from '../tensors/tensor';
import { type InitialStates, readInitialStates, readState } from './batches';
import { positiveInteger } from './callOptions';
import { stateSizes } from './contract';
import { type Graph, inputOf } from './graph';
import { weightName } from './lower';
import type { Model } from './model';
import { type LoadedStep, type StateArrays, StepPlan } from './stepPlan';
import { requireStepwise } from './stepwise';

export interface StreamOptions {
  /** Sequences that go on together, one step a call. Default 1. */
  readonly batchSize?: number;
  /** Where the sequences begin, and begin anew after `reset`: by layer and state, `[batchSize, units]`. Default: as in `predict`. */
  readonly initialStates?: InitialStates;
}

/** States by `layer/state`, each `[batchSize, units]`, as `state` gives them. */
export type StreamStates = ReadonlyMap<string, TensorLike> | Readonly<Record<string, TensorLike>>;

/** One state of a stream. */
interface State {
  readonly data: TensorData;
  readonly units: number;
  /** What `reset` sets: values, or the variable of a learned vector `[units]`; else zeros. */
  readonly start: TensorData | string | undefined;
  /** To be read from the learned vector before the next step: the weights may change until then. */
  unread: boolean;
}

/** Native memory of streams that nobody has disposed of goes when nobody can use them any more. */
const abandoned = new FinalizationRegistry<StepPlan>((plan) => plan.release());

/**
 * Live sequences of a model, which go on one time step a call: a step gives what `predict` gives for that time step of the whole
 * sequence. The weights are the model's, as they are at each step; the states are the stream's own, also those of stateful
 * layers. Dropout is off.
 */
export class ModelStream {
  readonly batchSize: number;
  private readonly model: Model;
  /** Of x at one step. */
  private readonly inputShape: Shape;
  private readonly inputSize: number;
  private readonly inputType: 'float32' | 'int32';
  /** Steps that have been asked for and are not done. */
  private waiting = 0;
  private disposed = false;
  /** The states as the plan has them: what a step looks at allocates nothing. */
  private readonly inOrder: readonly State[];

  /** @internal Use `model.stream`. The plan is taken for this stream. */
  constructor(
    private readonly plan: StepPlan,
    /** By `layer/state`, in the order of the layers. */
    private readonly states: ReadonlyMap<string, State>,
  ) {
    this.batchSize = plan.batchSize;
    this.model = plan.model;
    const input = inputOf(this.model.requireBuilt('stream'));
    this.inputShape = [this.batchSize, ...(input.shape.slice(1) as number[])];
    this.inputSize = sizeOf(this.inputShape);
    this.inputType = input.dtype === 'int32' ? 'int32' : 'float32';
    this.inOrder = [...states.values()];
    abandoned.register(this, plan, this);
  }

  /**
   * One time step on the calling thread, for nets whose step takes microseconds.
   * @param x features `[batchSize, …]` or ids `[batchSize]`, in that shape or flat
   * @param out where the output goes, of the output's length; default: a new Float32Array
   * @returns the output of this step: flat, `[batchSize, …output]` row by row
   * @throws ERR_STATE while another call of the model is under way; ERR_SHAPE, ERR_VALUE for an x that does not fit, which leaves the
   * states as they were
   */
  stepSync(x: TensorLike): Float32Array;
  stepSync<Out extends Float32Array | Float64Array>(x: TensorLike, out: Out): Out;
  stepSync(x: TensorLike, out?: Float32Array | Float64Array): Float32Array | Float64Array {
    const caller = 'stream.stepSync';
    this.requireLive(caller);
    const { model } = this;
    model.requireIdle(caller, 'Use await stream.step(x), which waits for its turn.');
    const values = this.read(caller, x);
    const step = this.plan.ready();
    const into = target(caller, step, out);
    this.begin(step, values);
    try {
      step.executable.runSync();
    } catch (error) {
      throw this.plan.explain(caller, error);
    }
    return this.finish(step, into);
  }

  /**
   * The same off the event loop and in its turn: steps of one stream follow one another in the order of the calls. x is read at
   * the call and may change afterwards.
   */
  async step(x: TensorLike): Promise<Float32Array> {
    const caller = 'stream.step';
    this.requireLive(caller);
    const values = this.read(caller, x).slice();
    this.waiting++;
    try {
      return await this.model.streamStep(async () => {
        const step = this.plan.ready();
        this.begin(step, values);
        try {
          await step.executable.run();
        } catch (error) {
          throw this.plan.explain(caller, error);
        }
        return this.finish(step, new Float32Array(step.y.length));
      });
    } finally {
      this.waiting--;
      if (this.disposed) this.release();
    }
  }

  /** Back to where the sequences began: to `initialStates`, to learned states as they then are, or to zeros. */
  reset(): void {
    this.requireSettled('stream.reset');
    for (const state of this.states.values()) restart(state);
  }

  /** A copy of all states by `layer/state`, each `[batchSize, units]`: to be saved, or set in another stream. */
  get state(): Map<string, Tensor> {
    this.requireSettled('stream.state');
    const { states, batchSize } = this;
    if ([...states.values()].some(({ unread }) => unread))
      this.model.requireIdle('stream.state', 'Wait for its promise first: the states are learned.');
    for (const state of states.values()) this.readLearned(state);
    return new Map(
      [...states].map(([name, { data, units }]) => [name, new Tensor(data.slice(), [batchSize, units])]),
    );
  }

  /** Replaces the states named; all others stay. @throws ERR_VALUE for an unknown name, ERR_SHAPE for a wrong shape */
  setState(states: StreamStates): void {
    const subject = 'stream.setState';
    this.requireSettled(subject);
    if (typeof states !== 'object' || states === null || Array.isArray(states))
      refuse('ERR_VALUE', subject, "an object or Map by name, { 'lstm/h': … }", quoted(states));
    const known = new Map([...this.states].map(([name, { units }]) => [name, units]));
    const given: [string, TensorLike][] = states instanceof Map ? [...states] : Object.entries(states);
    const read = given.map(
      ([name, values]) => [name, readState(subject, known, this.batchSize, name, values)] as const,
    );
    for (const [name, { data }] of read) {
      const state = this.states.get(name) as State;
      state.data.set(data);
      state.unread = false;
    }
  }

  /** Another stream, which goes on from the same states. */
  fork(): ModelStream {
    this.requireSettled('stream.fork');
    const copies = [...this.states].map(
      ([name, state]) => [name, { ...state, data: state.data.slice() }] as const,
    );
    return new ModelStream(StepPlan.take(this.model, this.batchSize), new Map(copies));
  }

  /** Gives up the stream's share of the plan. A step that has been asked for is still done. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private release(): void {
    if (this.waiting > 0 || !abandoned.unregister(this)) return;
    this.plan.release();
  }

  private begin(step: LoadedStep, values: TensorData): void {
    step.x.set(values);
    const { inOrder } = this;
    for (let i = 0; i < inOrder.length; i++) {
      const state = inOrder[i] as State;
      if (state.unread) this.readLearned(state);
      (step.states[i] as StateArrays).before.set(state.data);
    }
  }

  private finish<Out extends Float32Array | Float64Array>(step: LoadedStep, out: Out): Out {
    const { inOrder } = this;
    for (let i = 0; i < inOrder.length; i++)
      (inOrder[i] as State).data.set((step.states[i] as StateArrays).after);
    out.set(step.y);
    return out;
  }

  private readLearned(state: State): void {
    if (!state.unread) return;
    const { data } = this.model.variables.read(state.start as string);
    for (let n = 0; n < this.batchSize; n++) state.data.set(data, n * state.units);
    state.unread = false;
  }

  /** x as numbers of the plan's type; finite values and the range of ids are proven by the plan. */
  private read(caller: string, x: TensorLike): TensorData {
    const { inputSize, inputShape, inputType } = this;
    if (x instanceof (inputType === 'int32' ? Int32Array : Float32Array) && x.length === inputSize) return x;
    const { data, shape } = namedTensor(`${caller}: x`, x, undefined, inputType);
    const fits = data.length === inputSize && (shape.length <= 1 || shape.join() === inputShape.join());
    if (!fits) {
      const reader = this.model.graph?.inputs[0]?.subject;
      const flat = inputShape.length > 1 ? `, or ${inputSize} numbers,` : '';
      const wanted = `one time step of shape [${inputShape.join(', ')}]${flat} (${reader})`;
      refuse('ERR_SHAPE', `${caller}: x`, wanted, `[${shape.join(', ')}]`);
    }
    return data;
  }

  private requireLive(caller: string): void {
    if (this.disposed) throw new DeepRnnError('ERR_STATE', `${caller}: the stream has been disposed.`);
  }

  private requireSettled(caller: string): void {
    this.requireLive(caller);
    if (this.waiting > 0)
      throw new DeepRnnError('ERR_STATE', `${caller}: the stream is in step. Wait for its promise first.`);
  }
}

function restart(state: State): void {
  const { data, start } = state;
  state.unread = typeof start === 'string';
  if (typeof start === 'object') data.set(start);
  else data.fill(0);
}

function target(
  caller: string,
  { y }: LoadedStep,
  out: Float32Array | Float64Array | undefined,
): Float32Array | Float64Array {
  if (out === undefined) return new Float32Array(y.length);
  const fits = (out instanceof Float32Array || out instanceof Float64Array) && out.length === y.length;
  if (!fits) refuse('ERR_SHAPE', `${caller}: out`, `a Float32Array of length ${y.length}`, quoted(out));
  return out;
}

/** @throws ERR_VALUE for a model that cannot go on step by step, naming the layer */
function requireStreamable(graph: Graph, { sequence, shape }: SymbolicShape): void {
  const shown = `[N${shape.map((n) => `, ${n ?? 'any'}`).join('')}]`;
  if (!sequence || shape.slice(1).includes(null)) {
    const wanted = 'a model of sequences [N, T, features] or of ids [N, T]';
    refuse('ERR_VALUE', 'stream', wanted, `one that reads ${shown}`);
  }
  requireStepwise('stream', graph);
}

/** Opens a stream and loads its plan. */
export async function openStream(model: Model, options: StreamOptions): Promise<ModelStream> {
  const o = readConfig(options, ['batchSize', 'initialStates'], 'stream') as StreamOptions;
  const graph = model.requireBuilt('stream');
  if (graph.inputs.length > 1) refuse('ERR_VALUE', 'stream', 'a model with one input', graph.inputs.length);
  if (graph.outputs.length > 1)
    refuse('ERR_VALUE', 'stream', 'a model with one output', graph.outputs.length);
  const input = inputOf(graph);
  const batchSize = positiveInteger('stream: batchSize', o.batchSize, 1);
  const given = readInitialStates('stream', { openStates: stateSizes(graph) }, batchSize, o.initialStates);
  return model.runner.inTurn(() => {
    requireStreamable(graph, input);
    const plan = StepPlan.take(model, batchSize);
    try {
      plan.ready();
      return new ModelStream(plan, firstStates(model, batchSize, given));
    } catch (error) {
      plan.release();
      throw error;
    }
  });
}

function firstStates(
  model: Model,
  batchSize: number,
  given: ReadonlyMap<string, Tensor>,
): Map<string, State> {
  const Real = model.variables.real === 'float64' ? Float64Array : Float32Array;
  const states = new Map<string, State>();
  for (const layer of model.layers) {
    const { name: owner } = layer;
    for (const { name, size: units } of layer.states) {
      const learned = layer.initialWeight(name);
      const start =
        given.get(`${owner}/${name}`)?.data.slice() ??
        (learned === undefined ? undefined : weightName(owner, learned));
      const state = { data: new Real(batchSize * units), units, start, unread: false };
      restart(state);
      states.set(`${owner}/${name}`, state);
    }
  }
  return states;
}
