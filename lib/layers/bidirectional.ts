import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ValueId } from '../plan/types';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type MaskPurpose,
  type SymbolicShape,
  type WeightSpec,
} from './layer';
import { commonOptions, subjectOf } from './options';
import { PartContext } from './partContext';
import { RecurrentLayer } from './recurrentLayer';

const mergeModes = ['concat', 'sum', 'mul', 'ave'] as const;
export type MergeMode = (typeof mergeModes)[number];

export interface BidirectionalConfig extends LayerConfig {
  /** The recurrent layer to run in both directions: `layers.lstm(…)`, or its configuration. Copies of it are used. */
  layer: Layer | { readonly type: string; readonly config: object };
  /** For the other direction, where it is not to be like `layer`. It must read against `layer`'s direction. */
  backwardLayer?: Layer | { readonly type: string; readonly config: object };
  /**
   * How the outputs of both directions become one. Default `'concat'`: side by side. null: they stay two, `[forward, backward]` of
   * `applyAll` in a model of symbolic tensors.
   */
  mergeMode?: MergeMode | null;
}

/** `layers.<type>` from a configuration; handed in, because that needs to know this layer too. */
export type LayerMaker = (type: string, config: Record<string, unknown>) => Layer;

const directions = ['forward', 'backward'] as const;
type Direction = (typeof directions)[number];

/**
 * A recurrent layer that reads a sequence in both directions (Schuster & Paliwal, 1997). Input `[N, T, D]`; output `[N, T, 2·units]`
 * with mergeMode `'concat'` and returnSequences, the steps of both directions in the order of the input; without returnSequences the
 * last output of each direction. Steps that a mask leaves out are zeros, as in Keras. Weights are the layer's own, under `forward/` and `backward/`;
 * where one of the layers inside is frozen and the other is not, so are its weights.
 * With returnState of the layer inside, `applyAll` gives behind the output the states of both directions, `[y, h, c, h, c]` of an LSTM, each
 * `[N, units]`; in that order the layer takes states to begin from as further inputs.
 */
export class Bidirectional extends Layer {
  readonly type = 'bidirectional';
  readonly mergeMode: MergeMode | null;
  readonly parts: Readonly<Record<Direction, RecurrentLayer>>;
  private readonly ownBackward: boolean;

  constructor(config: BidirectionalConfig, make: LayerMaker) {
    const subject = subjectOf('bidirectional', config);
    const o = readConfig(config, [...commonOptions, 'layer', 'backwardLayer', 'mergeMode'], subject);
    const forward = copyOf(o.layer, `${subject}: layer`, make, false);
    const ownBackward = o.backwardLayer !== undefined;
    const backward = ownBackward
      ? copyOf(o.backwardLayer, `${subject}: backwardLayer`, make, false)
      : copyOf(o.layer, `${subject}: layer`, make, true);
    const { inputShape } = forward;
    const trainable = forward.trainable || backward.trainable;
    const shaped = { trainable, inputShape, batchInputShape: batchShapeOf(forward), ...o };
    super('bidirectional', shaped as LayerConfig);
    const mode = o.mergeMode === undefined ? 'concat' : o.mergeMode;
    if (mode !== null && !mergeModes.includes(mode as MergeMode)) {
      const wanted = `one of ${mergeModes.map((m) => `'${m}'`).join(', ')}, or null`;
      refuse('ERR_VALUE', `${subject}: mergeMode`, wanted, quoted(mode));
    }
    this.mergeMode = mode as MergeMode | null;
    this.ownBackward = ownBackward;
    for (const [what, ours, theirs] of [
      ['a layer that reads against the other', !forward.goBackwards, backward.goBackwards],
      [`returnSequences ${forward.returnSequences}`, forward.returnSequences, backward.returnSequences],
      [`returnState ${forward.returnState}`, forward.returnState, backward.returnState],
      [`stateful ${forward.stateful}`, forward.stateful, backward.stateful],
      [`maskWithStates ${forward.maskWithStates}`, forward.maskWithStates, backward.maskWithStates],
    ] as const)
      if (ours !== theirs) refuse('ERR_VALUE', `${subject}: backwardLayer`, what, 'another');
    if (mode !== 'concat' && mode !== null && forward.outputSize !== backward.outputSize) {
      const wanted = `${forward.outputSize} units for mergeMode '${mode}'`;
      refuse('ERR_VALUE', `${subject}: backwardLayer`, wanted, backward.outputSize);
    }
    this.parts = { forward, backward };
  }

  override get carriesState(): boolean {
    return this.parts.forward.carriesState;
  }

  override get states(): readonly { readonly name: string; readonly size: number }[] {
    return directions.flatMap((d) =>
      this.parts[d].states.map(({ name, size }) => ({ name: `${d}/${name}`, size })),
    );
  }

  override get givesSeveral(): string | undefined {
    return this.mergeMode === null ? 'mergeMode: null' : this.parts.forward.givesSeveral;
  }

  override arityObstacle(inputs: number): string | undefined {
    const { length } = this.states;
    if (inputs === 1 || inputs === 1 + length) return undefined;
    return `one input, or with the ${length} initial states of both directions ${1 + length}`;
  }

  override get streamObstacle(): string {
    return 'a direction that begins at the end of the sequence';
  }

  override get backwards(): readonly string[] {
    return directions.flatMap((d) => (this.parts[d].goBackwards ? [`${this.name}/${d}`] : []));
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    return this.outputShapes([input])[0] as SymbolicShape;
  }

  override outputShapes(inputs: readonly SymbolicShape[]): readonly SymbolicShape[] {
    const wanted = this.arityObstacle(inputs.length);
    if (wanted !== undefined) refuse('ERR_VALUE', this.subject, wanted, inputs.length);
    const [forward, backward] = this.each(inputs, (part, read) => part.outputShapes(read));
    return [...this.mergedShapes(forward[0], backward[0]), ...forward.slice(1), ...backward.slice(1)];
  }

  /** What becomes of the outputs of both directions. */
  private mergedShapes<S extends Pick<SymbolicShape, 'shape'>>(forward: S, backward: S): S[] {
    if (this.mergeMode === null) return [forward, backward];
    if (this.mergeMode !== 'concat') return [forward];
    const width = (forward.shape.at(-1) as number) + (backward.shape.at(-1) as number);
    return [{ ...forward, shape: [...forward.shape.slice(0, -1), width] }];
  }

  /** What `work` makes of the sequence and a direction's own initial states, for both: the outputs, and the states behind them. */
  private each<V>(
    [input, ...begins]: readonly V[],
    work: (part: RecurrentLayer, inputs: readonly V[], direction: Direction) => readonly V[],
  ): [[V, ...V[]], [V, ...V[]]] {
    const half = begins.length / 2;
    const own = { forward: begins.slice(0, half), backward: begins.slice(half) };
    return directions.map((d) => {
      this.parts[d].name = `${this.name}/${d}`;
      return work(this.parts[d], [input as V, ...own[d]], d);
    }) as [[V, ...V[]], [V, ...V[]]];
  }

  override buildOn(inputs: readonly SymbolicShape[]): void {
    this.outputShapes(inputs);
    this.build(inputs[0] as SymbolicShape);
  }

  override build(input: SymbolicShape): void {
    this.each([input], (part, [own]) => {
      part.build(own as SymbolicShape);
      return [];
    });
    this.weights = directions.flatMap((d) =>
      this.parts[d].weights.map(
        (spec): WeightSpec => ({
          ...spec,
          ...(this.isFrozen(d) ? { trainable: false } : {}),
          name: `${d}/${spec.name}`,
        }),
      ),
    );
  }

  /** Whether a direction is frozen and the other is not; else what the whole layer is counts. */
  isFrozen(direction: Direction): boolean {
    const { forward, backward } = this.parts;
    return forward.trainable !== backward.trainable && !this.parts[direction].trainable;
  }

  override unbuild(): void {
    super.unbuild();
    for (const d of directions) this.parts[d].unbuild();
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return this.callOn(context, [input])[0] as LayerValue;
  }

  override callOn(context: CallContext, inputs: readonly LayerValue[]): readonly LayerValue[] {
    const [{ mask: given }] = inputs as [LayerValue];
    const [[forward, ...ends], [backward, ...otherEnds]] = this.each(inputs, (part, read, direction) => {
      const purposes = direction === 'backward' ? purposesBackwards : {};
      const [value, ...states] = part.callOn(
        new PartContext(context, this, `${direction}/`, purposes),
        read,
      ) as [LayerValue, ...LayerValue[]];
      // The frame that a convolutional one ends with is a sequence too, of places and not of steps.
      const mask = part.returnSequences ? given : undefined;
      if (!part.returnSequences || !part.goBackwards) return [{ ...value, mask }, ...states];
      // Whichever reads from the end gives its outputs in that order.
      const [turned] = context.builder.emit('reverseTime', [value.id], {}, this.subject) as [ValueId];
      return [{ ...value, id: turned, mask }, ...states];
    });
    return [...this.merge(context, forward, backward), ...ends, ...otherEnds];
  }

  private merge({ builder }: CallContext, forward: LayerValue, backward: LayerValue): readonly LayerValue[] {
    const [merged] = this.mergedShapes(forward, backward) as [LayerValue];
    const emit = (kind: 'concat' | 'add' | 'multiply') =>
      builder.emit(kind, [forward.id, backward.id], {}, this.subject)[0] as ValueId;
    switch (this.mergeMode) {
      case null:
        return [forward, backward];
      case 'concat':
        return [{ ...merged, id: emit('concat') }];
      case 'sum':
        return [{ ...merged, id: emit('add') }];
      case 'mul':
        return [{ ...merged, id: emit('multiply') }];
      case 'ave': {
        const [id] = builder.emit('scale', [emit('add')], { factor: 0.5 }, this.subject);
        return [{ ...merged, id: id as ValueId }];
      }
    }
  }

  override getConfig(): Record<string, unknown> {
    const { forward, backward } = this.parts;
    return {
      ...super.getConfig(),
      layer: configOf(forward),
      ...(this.ownBackward ? { backwardLayer: configOf(backward) } : {}),
      mergeMode: this.mergeMode,
    };
  }
}

function batchShapeOf({ batchSize, inputShape }: Layer): (number | null)[] | undefined {
  return batchSize !== undefined && inputShape ? [batchSize, ...inputShape] : undefined;
}

function configOf(layer: RecurrentLayer): { type: string; config: Record<string, unknown> } {
  const { name: _, ...config } = layer.getConfig();
  return { type: layer.type, config };
}

/** A new layer like the given one, or like the one of a given configuration. */
function copyOf(given: unknown, subject: string, make: LayerMaker, turned: boolean): RecurrentLayer {
  const spec = given instanceof Layer ? { type: given.type, config: given.getConfig() } : given;
  const { type, class_name = type, config } = Object(spec) as Record<string, unknown>;
  if (typeof class_name !== 'string' || typeof config !== 'object')
    refuse('ERR_VALUE', subject, 'a recurrent layer', quoted(given));
  const { zeroOutputForMask: _, zero_output_for_mask: __, ...options } = config as Record<string, unknown>;
  const layer = make(class_name as string, { ...options, name: undefined });
  if (!(layer instanceof RecurrentLayer))
    refuse('ERR_VALUE', subject, 'a recurrent layer', `layers.${layer.type}`);
  // What is to be joined must not hold, in steps that do not count, the state of either direction.
  const own = { zeroOutputForMask: layer.returnSequences, goBackwards: turned !== layer.goBackwards };
  return make(layer.type, { ...layer.getConfig(), ...own }) as RecurrentLayer;
}

/** The second direction's masks have numbers of their own. */
const purposesBackwards: Partial<Record<MaskPurpose, MaskPurpose>> = {
  inputDropout: 'backwardInputDropout',
  recurrentDropout: 'backwardRecurrentDropout',
  recurrentWeightDropout: 'backwardRecurrentWeightDropout',
  kernelNoise: 'backwardKernelNoise',
  recurrentKernelNoise: 'backwardRecurrentKernelNoise',
  zoneout: 'backwardZoneout',
  cellZoneout: 'backwardCellZoneout',
};
