import { DeepRnnError, refuse } from '../errors';
import {
  type CallContext,
  type Layer,
  type LayerValue,
  type MaskPurpose,
  maskPurposes,
  type WeightSpec,
} from '../layers/layer';
import { bothMasks } from '../layers/masks';
import { isBinary, isCategorical, type Loss, nameOf } from '../losses/loss';
import type { Metric } from '../metrics/metric';
import { emitScore } from '../ops/rowFunction';
import type { Optimizer } from '../optimizers/optimizer';
import { checkParamGroups } from '../optimizers/paramGroups';
import { PlanBuilder } from '../plan/builder';
import { cutStacks } from '../plan/cutStacks';
import { fuseStacks } from '../plan/fuseStacks';
import { type Gradients, gradients } from '../plan/gradients';
import { HYPER_SIZE, slotShape } from '../plan/ops/update';
import { ABSENT, type Plan, type ValueId } from '../plan/types';
import { type Shape, sizeOf } from '../tensors/tensor';
import type { OutputMetric } from './compiled';
import {
  type Graph,
  type GraphInput,
  inputKey,
  type OutputKeys,
  outputKeys,
  sharedLayers,
  walk,
} from './graph';

/** What a plan is for. */
export type PlanMode = 'predict' | 'evaluate' | 'train' | 'gradients';

export interface PlanRequest {
  readonly mode: PlanMode;
  /** Whole shapes of the inputs, batch first. */
  readonly inputShapes: readonly Shape[];
  /** Inputs that hold weights per sample or per step, of the outputs that have some. */
  readonly weighted: readonly string[];
  /** `layer/h` or `layer/c` of every initial state that is handed in. */
  readonly initialStates: readonly string[];
  /** Whether the number of steps that count comes with each sequence. */
  readonly lengths?: boolean;
  /** Give which steps of the batch count, `mask` int32 [N, T], and nothing else. */
  readonly mask?: boolean;
  /** One step of a stream: `initialStates` names all states, and the plan's outputs of the same names hold what they are after it. */
  readonly streaming?: boolean;
  /** Also give every state as it is after the last step, under the name of the initial state. */
  readonly states?: boolean;
  /** Of training: the states are those after so many steps. */
  readonly statesAfter?: number;
  /** Whether only some of the last steps are scored: how many comes with each sequence. */
  readonly scored?: boolean;
  /** Also give gradient norms; of mode `gradients`, those of the data's loss alone in place of the gradients. */
  readonly gradientNorms: boolean;
}

/** The compiled parts that a plan is made from. */
export interface Recipe {
  readonly layers: readonly Layer[];
  readonly graph: Graph;
  readonly seed: number;
  /** Of each output. */
  readonly losses?: readonly Loss[] | undefined;
  /** Of each output; default: 1. */
  readonly lossWeights?: readonly number[] | undefined;
  readonly metrics?: readonly OutputMetric[] | undefined;
  readonly optimizer?: Optimizer | undefined;
  /** Of training: steps of a segment of recurrent stacks that is worked out again on the way back, for a sequence of so many. */
  readonly checkpointSteps?: ((steps: number) => number) | undefined;
}

/** A plan and what its named outputs hold. */
export interface LoweredPlan {
  readonly plan: Plan;
  readonly outputShapes: readonly Shape[];
  /** Names of the trainable weights in the order of the `norms` output. */
  readonly updated: readonly string[];
  /** Layer names per `stepNorms.<i>` output. */
  readonly stepNorms: readonly (readonly string[])[];
}

/** The session's name of a layer's weight. */
export function weightName(layer: string, weight: string): string {
  return `${layer}/${weight}`;
}

/** The plan output that holds the gradient of a weight. */
export function gradientOutput(weight: string): string {
  return `gradient ${weight}`;
}

/** The session's name of optimizer slot `slot` of a weight. */
export function slotName(weight: string, slot: string): string {
  return `${weight}:${slot}`;
}

/** The slots of every rule: what gradients add up to until the next update, and the moving average of the weight. */
export const GRADIENT_SUM = 'gradientSum';
export const AVERAGE = 'ema';

/** Random streams from here on are those of the noise on gradients; layers' own numbers lie below. */
const GRADIENT_STREAMS = 2 ** 30;

/** The session's name of a carried state of a stateful layer. */
export function stateName(layer: string, state: string): string {
  return `${layer}#${state}`;
}

/** How an output is scored: metrics with their places among all. */
interface ScoredBy {
  readonly loss: Loss;
  readonly lossWeight: number;
  readonly metrics: readonly (readonly [place: number, metric: OutputMetric])[];
}

/** The scalars that the loss is the sum of. */
interface LossTerms {
  /** The losses of the outputs that count. */
  readonly data: readonly ValueId[];
  /** Activity regularizers. */
  readonly outputs: readonly ValueId[];
  /** Regularizers of weights. */
  readonly weights: readonly ValueId[];
}

class Lowering implements CallContext {
  readonly builder: PlanBuilder;
  readonly training: boolean;
  readonly givesStates: boolean;
  readonly statesAfter: number | undefined;
  readonly batch: number;
  readonly losses: ValueId[] = [];
  /** The first mask of steps that any layer gives or gets. */
  private mask: ValueId | undefined;
  private readonly shared: ReadonlySet<Layer>;
  /** The place of the node in the graph that emits. */
  private node = 0;
  /** The mask that the lengths make. */
  private countedSteps: ValueId | undefined;
  /** What weights that no gradient changes become, by their variables. */
  private readonly changed = new Map<ValueId, ValueId>();
  private readonly carried: { from: ValueId; state: ValueId }[] = [];

  constructor(
    private readonly recipe: Recipe,
    private readonly request: PlanRequest,
  ) {
    const shapes = request.inputShapes.map((shape) => `[${shape.join(', ')}]`);
    this.builder = new PlanBuilder(`${request.mode} ${shapes.join(' ')}`);
    this.training = request.mode === 'train' || request.mode === 'gradients';
    this.givesStates = request.streaming || request.states || false;
    this.statesAfter = request.statesAfter;
    this.shared = sharedLayers(recipe.graph);
    this.batch = request.inputShapes[0]?.[0] as number;
  }

  get seed(): number {
    return this.recipe.seed;
  }

  step(): ValueId {
    return this.builder.input('step', 'float64', [1]);
  }

  weight(layer: Layer, name: string): ValueId {
    const spec = layer.weights.find((w) => w.name === name) as WeightSpec;
    const id = this.builder.variable(weightName(layer.name, name), 'real', spec.shape);
    return this.changed.get(id) ?? id;
  }

  becomes(layer: Layer, name: string, value: ValueId): void {
    const spec = layer.weights.find((w) => w.name === name) as WeightSpec;
    this.changed.set(this.builder.variable(weightName(layer.name, name), 'real', spec.shape), value);
  }

  state(layer: Layer, name: string, shape: Shape): ValueId {
    return this.builder.variable(stateName(layer.name, name), 'real', shape);
  }

  initialState(layer: Layer, name: string, shape: Shape): ValueId | undefined {
    const key = `${layer.name}/${name}`;
    return this.request.initialStates.includes(key) ? this.builder.input(key, 'real', shape) : undefined;
  }

  carry(layer: Layer, name: string, from: ValueId): void {
    // Of a layer that is used several times it would be a guess of which use.
    if (this.givesStates && !this.shared.has(layer))
      this.builder.output(`${layer.name}/${name}`, this.own(from));
    // A stream owns its states.
    if (layer.carriesState && !this.request.streaming)
      this.carried.push({ from, state: this.state(layer, name, this.builder.spec(from).shape) });
  }

  addLoss(term: ValueId): void {
    this.losses.push(term);
  }

  /** 16 numbers a use of a layer, by its position in the model: a layer that is used twice draws twice. */
  stream(_: Layer, purpose: MaskPurpose): number {
    return 16 * this.node + maskPurposes.indexOf(purpose);
  }

  /** An input of the model as its layers see it: proven, and time-major for sequences. */
  private readInput({ symbol: input, subject }: GraphInput, i: number): LayerValue {
    const { builder, request } = this;
    const whole = request.inputShapes[i] as Shape;
    const raw = builder.input(inputKey(this.recipe.graph, i), input.dtype, whole);
    // Token ids are proven by the embedding's own range below; everything else must be finite.
    if (input.dtype === 'real') builder.emit('check', [raw], { mode: 'finite' }, subject);
    else this.checkIds(raw, i);
    const id = input.sequence ? (builder.emit('batchToTime', [raw], {}, 'input')[0] as ValueId) : raw;
    const mask = request.lengths && input.sequence ? this.lengthMask(whole[1] as number) : undefined;
    return { id, dtype: input.dtype, shape: whole.slice(1), sequence: input.sequence, mask };
  }

  /** One for all inputs, which have equally many steps. */
  private lengthMask(steps: number): ValueId {
    this.countedSteps ??= this.readLengths(steps);
    return this.countedSteps;
  }

  private readLengths(steps: number): ValueId {
    const { batch: count } = this;
    const lengths = this.builder.input('lengths', 'int32', [count]);
    return this.builder.emit('lengthMask', [lengths], { steps }, 'lengths')[0] as ValueId;
  }

  /** Ids must be below the limit of whatever looks them up: of several layers, the smallest. */
  private checkIds(raw: ValueId, i: number): void {
    const { nodes, inputs } = this.recipe.graph;
    const readers = nodes.filter((node) => inputs.length === 1 || node.inputs.some(({ from }) => from === i));
    const limits = readers.map(({ layer }) => layer).filter(({ idLimit }) => idLimit !== undefined);
    const [reader] = limits.sort((a, b) => (a.idLimit as number) - (b.idLimit as number));
    if (reader)
      this.builder.emit(
        'check',
        [raw],
        { mode: 'index', size: reader.idLimit as number },
        `input of ${reader.subject}`,
      );
  }

  forward(): readonly LayerValue[] {
    const { graph } = this.recipe;
    const inputs = graph.inputs.map((input, i) => this.readInput(input, i));
    this.mask = inputs.find(({ mask }) => mask !== undefined)?.mask;
    const outputs = walk(graph, inputs, ({ layer }, read, index) => {
      this.node = index;
      const values = layer.callOn(this, read);
      this.mask ??= values[0]?.mask;
      return values;
    });
    fuseStacks(this.builder);
    return outputs;
  }

  readMask(): void {
    if (this.mask === undefined) throw new DeepRnnError('ERR_STATE', 'no layer of the model masks steps.');
    this.builder.output('mask', this.builder.emit('timeToBatch', [this.mask], {}, 'mask')[0] as ValueId);
  }

  /** Gives the public, batch-major copy of a value a name. */
  readOut(name: string, value: LayerValue): void {
    if (value.sequence) {
      this.builder.output(name, this.builder.emit('timeToBatch', [value.id], {}, 'output')[0] as ValueId);
    } else {
      this.builder.output(name, this.own(value.id));
    }
  }

  /** The value itself, or a copy of one that is an output already. */
  private own(id: ValueId): ValueId {
    if (this.builder.spec(id).role === 'arena') return id;
    return this.builder.emit('scale', [id], { factor: 1 }, 'output')[0] as ValueId;
  }

  /** Emits loss and metrics; gives the loss's terms. */
  measure(predictions: readonly LayerValue[]): LossTerms {
    const { builder, recipe } = this;
    const keys = outputKeys(recipe.graph);
    const weights = predictions.map((_, i) => recipe.lossWeights?.[i] ?? 1);
    const metrics = [...(recipe.metrics ?? []).entries()];
    const losses = predictions.map((prediction, output) =>
      this.score(prediction, keys[output] as OutputKeys, {
        loss: recipe.losses?.[output] as Loss,
        lossWeight: weights[output] as number,
        metrics: metrics.filter(([, metric]) => metric.output === output),
      }),
    );
    const penalties = { outputs: this.losses, weights: this.weightPenalties() };
    const terms = [...losses, ...penalties.outputs, ...penalties.weights];
    const factors = terms.map((_, i) => weights[i] ?? 1);
    const plain = factors.every((factor) => factor === 1);
    builder.output('loss', builder.emit('sumScalars', terms, plain ? {} : { factors }, 'loss')[0] as ValueId);
    if (losses.length > 1)
      for (const [i, id] of losses.entries()) {
        const [copy] = builder.emit('sumScalars', [id], {}, 'loss');
        builder.output((keys[i] as OutputKeys).loss, copy as ValueId);
      }
    // What counts nothing has no gradient.
    return { data: losses.filter((_, i) => weights[i] !== 0), ...penalties };
  }

  /**
   * Whether `update` adds the gradients of weights' penalties itself, on its way over the weights: not where there may be weights that have
   * a penalty alone, because the loss of what they lead to counts nothing.
   */
  private get fusesPenalties(): boolean {
    return this.request.mode === 'train' && !(this.recipe.lossWeights ?? []).includes(0);
  }

  /** The terms that the plan differentiates. */
  rootsOf({ data, outputs, weights }: LossTerms): ValueId[] {
    const { mode, gradientNorms } = this.request;
    if (mode === 'gradients' && gradientNorms) return [...data];
    return this.fusesPenalties ? [...data, ...outputs] : [...data, ...outputs, ...weights];
  }

  /** Emits loss and metrics of one output; gives the loss, which stays an arena value: differentiation starts from it. */
  private score(prediction: LayerValue, keys: OutputKeys, { loss, lossWeight, metrics }: ScoredBy): ValueId {
    const { builder } = this;
    const rows = prediction.shape.slice(0, -1);
    const publicRows = [this.batch, ...rows];
    const classes = prediction.shape[prediction.shape.length - 1] as number;
    const stored = (raw: ValueId) =>
      rows.length > 0 ? (builder.emit('batchToTime', [raw], {}, 'targets')[0] as ValueId) : raw;

    const targetShape = loss.sparse ? publicRows : [...publicRows, classes];
    const raw = builder.input(keys.targets, loss.sparse ? 'int32' : 'real', targetShape);
    builder.emit(
      'check',
      [raw],
      loss.sparse ? { mode: 'index', size: classes } : { mode: 'finite' },
      keys.targets,
    );
    const target = stored(raw);
    const weighted = this.request.weighted.includes(keys.weights);
    const given = weighted ? stored(builder.input(keys.weights, 'real', publicRows)) : ABSENT;
    const mask = this.scoredSteps(prediction);
    const weight = this.masked(mask, given, true, rows);

    const logits = this.logitsBehind(prediction.id, loss);
    const scored = loss.score
      ? emitScore(builder, loss.score, [target, prediction.id], weight, true, `loss '${nameOf(loss)}'`)
      : (logits ?? prediction.id);
    const attrs = {
      kind: loss.type,
      fromLogits: loss.fromLogits || logits !== undefined,
      parameter: loss.parameter,
      gamma: loss.gamma,
      alpha: loss.alpha,
      lossWeight,
    };
    // A loss of one's own has made of both what counts.
    const against = loss.score ? scored : target;
    const value = builder.emit('loss', [scored, against, weight], attrs, keys.loss)[0] as ValueId;

    const measured = this.measuredBy(loss, prediction.id, logits);
    for (const [i, metric] of metrics) {
      const { id, attrs } = measured(metric);
      const { score, name } = metric;
      const counts = this.masked(mask, metric.weighted ? given : ABSENT, false, rows);
      const own = score && emitScore(builder, score, [target, id], counts, false, `metric '${name}'`);
      const inputs = [own ?? id, own ?? target, counts];
      const sums = builder.emit('metric', inputs, attrs, `metric '${metric.name}'`);
      builder.output(`metric.${i}`, sums[0] as ValueId);
    }
    return value;
  }

  /** The steps of an output that count, and are not there only to be read. */
  private scoredSteps({ mask, shape }: LayerValue): ValueId | undefined {
    if (!this.request.scored) return mask;
    const { builder, batch } = this;
    const steps = shape[0] as number;
    const scored = builder.input('scored', 'int32', [batch]);
    const first = builder.emitOnce('lengthMask', [scored], { steps }, 'scored');
    const last = builder.emitOnce('reverseTime', [first], {}, 'scored');
    return mask === undefined ? last : bothMasks(builder, mask, last, 'scored');
  }

  /** Row weights that leave padded steps out; for a loss such that its mean is over those that count. */
  private masked(
    mask: ValueId | undefined,
    weight: ValueId,
    normalize: boolean,
    rows: readonly (number | null)[],
  ): ValueId {
    if (mask === undefined) return weight;
    const { builder } = this;
    const emit = (
      kind: 'reshape' | 'broadcastRows' | 'transpose' | 'multiply',
      from: ValueId[],
      attrs: object,
    ) => builder.emit(kind, from, attrs as never, 'mask')[0] as ValueId;
    if (rows.length === 1)
      return builder.emit('maskWeights', [mask, weight], { normalize }, 'mask')[0] as ValueId;
    // A step has several rows (of a frame, say), all of which count or none.
    const [steps, ...inStep] = rows as number[];
    const ofSteps = builder.emit('maskWeights', [mask, ABSENT], { normalize }, 'mask')[0] as ValueId;
    const all = (steps as number) * this.batch;
    const repeated = emit('broadcastRows', [emit('reshape', [ofSteps], { shape: [all] })], {
      rows: sizeOf(inStep),
    });
    const turned = emit('transpose', [repeated], { axes: [1, 0] });
    const spread = emit('reshape', [turned], { shape: [steps, this.batch, ...inStep] });
    return weight === ABSENT ? spread : emit('multiply', [spread, weight], {});
  }

  /**
   * What a metric reads: probabilities, also where the loss takes the model's output for logits, because thresholds and bins
   * mean nothing to those. Ranks are read off the output as it is, and a cross-entropy over classes reads logits where there are
   * any, as the loss does.
   */
  private measuredBy(loss: Loss, prediction: ValueId, logits: ValueId | undefined) {
    const binary = isBinary(loss);
    let probabilities = loss.fromLogits ? undefined : prediction;
    return ({ attrs }: Metric): { id: ValueId; attrs: Metric['attrs'] } => {
      const byRank =
        attrs.kind === 'categoricalAccuracy' ||
        attrs.kind === 'topK' ||
        (attrs.kind === 'confusion' && attrs.argmax);
      if (byRank) return { id: prediction, attrs };
      if (attrs.kind === 'crossentropy' && !binary)
        return logits === undefined
          ? { id: prediction, attrs }
          : { id: logits, attrs: { ...attrs, fromLogits: true } };
      const activation = { kind: binary ? 'sigmoid' : 'softmax', alpha: 0 } as const;
      probabilities ??= this.builder.emit('activation', [prediction], activation, 'metrics')[0] as ValueId;
      return {
        id: probabilities,
        attrs: attrs.kind === 'crossentropy' ? { ...attrs, fromLogits: false } : attrs,
      };
    };
  }

  /** The input of a final softmax or sigmoid: cross-entropy from logits neither overflows nor needs clipping. */
  private logitsBehind(prediction: ValueId, loss: Loss): ValueId | undefined {
    if (loss.fromLogits) return undefined;
    const last = this.builder.ops.find((op) => op.outputs.includes(prediction));
    if (last?.kind !== 'activation') return undefined;
    const fits =
      last.attrs.kind === 'sigmoid' ? isBinary(loss) : last.attrs.kind === 'softmax' && isCategorical(loss);
    return fits ? last.inputs[0] : undefined;
  }

  private weightPenalties(): ValueId[] {
    const terms: ValueId[] = [];
    for (const layer of this.recipe.layers) {
      if (!layer.trainable) continue;
      for (const { name, regularizer, trainable } of layer.weights) {
        if (!regularizer || trainable === false) continue;
        const attrs = { l1: regularizer.l1, l2: regularizer.l2, scale: 1 };
        terms.push(
          this.builder.emit(
            'penalty',
            [this.weight(layer, name)],
            attrs,
            `${layer.subject}: ${name} regularizer`,
          )[0] as ValueId,
        );
      }
    }
    return terms;
  }

  trainable(): { name: string; id: ValueId; spec: WeightSpec }[] {
    return this.recipe.layers.flatMap((layer) =>
      layer.trainable
        ? layer.weights
            .filter((spec) => spec.trainable !== false)
            .map((spec) => ({
              name: weightName(layer.name, spec.name),
              id: this.weight(layer, spec.name),
              spec,
            }))
        : [],
    );
  }

  /** Emits the optimizer's step and the constraints; gives the names of the weights it changes. */
  update(found: Gradients): string[] {
    const { builder } = this;
    const optimizer = this.recipe.optimizer as Optimizer;
    const all = this.recipe.layers.flatMap(({ name, weights }) =>
      weights.map((w) => weightName(name, w.name)),
    );
    checkParamGroups(optimizer.paramGroups, optimizer.type, all);
    const changed = this.trainable().filter(({ id }) => found.of.has(id));
    const inputs = [builder.input('hyper', 'float64', [HYPER_SIZE])];
    const attrs = {
      ...optimizer.updateAttrs(
        changed.map(({ spec }) => spec.decay ?? true),
        changed.map(({ name }) => name),
      ),
      penalties: changed.map(({ spec }) => (this.fusesPenalties ? spec.regularizer : undefined)),
    };
    for (const { name, id, spec } of changed) {
      const slots = optimizer.slots.map((slot, i) => {
        const shape = slotShape(attrs.kind, i, spec.shape);
        return slot && shape ? builder.variable(slotName(name, slot.name), 'real', shape) : ABSENT;
      });
      while (slots.length < 3) slots.push(ABSENT);
      const like = (slot: string, used: boolean) =>
        used ? builder.variable(slotName(name, slot), 'real', spec.shape) : ABSENT;
      const { gradientAccumulationSteps, ema } = optimizer;
      slots.push(like(GRADIENT_SUM, gradientAccumulationSteps > 1), like(AVERAGE, ema !== undefined));
      inputs.push(id, this.noisyGradient(found.of.get(id) as ValueId, all.indexOf(name)), ...slots);
    }
    const norms = builder.emit('update', inputs, attrs, 'optimizer', [this.request.gradientNorms]);
    if (this.request.gradientNorms) builder.output('norms', norms[0] as ValueId);
    for (const { name, id, spec } of changed) {
      if (!spec.constraint) continue;
      const { kind, axis, limit } = spec.constraint;
      builder.emitInto('constraint', [id], [id], { kind, axis, limit }, `${name} constraint`);
    }
    return changed.map(({ name }) => name);
  }

  /** A gradient as the optimizer gets it. @param place of its weight among all of the model */
  private noisyGradient(gradient: ValueId, place: number): ValueId {
    const noise = (this.recipe.optimizer as Optimizer).gradientNoise;
    if (!noise) return gradient;
    const attrs = {
      seed: this.seed,
      stream: GRADIENT_STREAMS + place,
      stddev: Math.sqrt(noise.eta),
      decay: noise.gamma / 2,
    };
    return this.builder.emit('noise', [gradient, this.step()], attrs, 'gradient noise')[0] as ValueId;
  }

  /** @throws ERR_VALUE, naming the layer, for a recurrence that gradient checkpointing does not know how to cut */
  private refuseUncut(checkpointSteps: (steps: number) => number): void {
    for (const op of this.builder.ops) {
      if (op.kind !== 'program' || op.attrs.carries.length === 0) continue;
      const { steps } = op.attrs;
      if (checkpointSteps(steps) >= steps) continue;
      const wanted = 'a recurrence that fuses into a stack, for gradientCheckpointing';
      const wayOut = 'Train it with fit({ truncatedBPTT }), in memory that does not grow with the steps.';
      refuse('ERR_VALUE', op.label, wanted, 'a cell that goes from step to step by a program', wayOut);
    }
  }

  finish(): Plan {
    const { checkpointSteps } = this.recipe;
    if (this.training) {
      if (checkpointSteps) this.refuseUncut(checkpointSteps);
      cutStacks(this.builder, { checkpointSteps, statesAfter: this.statesAfter });
    }
    // Asking for gradients must leave the model as it was.
    const carried = this.request.mode === 'gradients' ? [] : this.carried;
    for (const { from, state } of carried)
      this.builder.emitInto('assign', [from], [state], {}, 'carried state');
    if (this.request.mode === 'train')
      for (const [variable, value] of this.changed)
        this.builder.emitInto('assign', [value], [variable], {}, 'moving statistics');
    return this.builder.finish();
  }
}

/** Builds the plan for one request: layers → ops → (loss, metrics) → (gradients, update). */
export function lower(recipe: Recipe, request: PlanRequest): LoweredPlan {
  const context = new Lowering(recipe, request);
  const predictions = context.forward();
  let updated: string[] = [];
  let stepNorms: Gradients['stepNorms'] = [];
  if (request.mask) {
    context.readMask();
  } else if (request.mode === 'predict') {
    const keys = outputKeys(recipe.graph);
    for (const [i, value] of predictions.entries()) context.readOut((keys[i] as OutputKeys).y, value);
  } else {
    const terms = context.measure(predictions);
    if (request.mode !== 'evaluate') {
      const wanted = context.trainable();
      const found = gradients(
        context.builder,
        context.rootsOf(terms),
        wanted.map(({ id }) => id),
        { stepNorms: request.gradientNorms },
      );
      stepNorms = found.stepNorms;
      stepNorms.forEach(({ value }, i) => {
        context.builder.output(`stepNorms.${i}`, value);
      });
      if (request.mode === 'train') {
        updated = context.update(found);
      } else if (!request.gradientNorms) {
        for (const { name, id } of wanted) {
          const grad = found.of.get(id);
          if (grad !== undefined) context.builder.output(gradientOutput(name), grad);
        }
      }
    }
  }
  return {
    plan: context.finish(),
    outputShapes: predictions.map(({ shape }) => [context.batch, ...shape]),
    updated,
    stepNorms: stepNorms.map(({ layers }) => layers),
  };
}
