import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ValueId } from '../plan/types';
import type { Shape } from '../tensors/tensor';
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
  /** How the outputs of both directions become one. Default `'concat'`: side by side. */
  mergeMode?: MergeMode;
}

/** `layers.<type>` from a configuration; handed in, because that needs to know this layer too. */
export type LayerMaker = (type: string, config: Record<string, unknown>) => Layer;

const directions = ['forward', 'backward'] as const;
type Direction = (typeof directions)[number];

/**
 * A recurrent layer that reads a sequence in both directions (Schuster & Paliwal, 1997). Input `[N, T, D]`; output `[N, T, 2·units]`
 * with mergeMode `'concat'` and returnSequences, the steps of both directions in the order of the input; without returnSequences the
 * last output of each direction. Steps that a mask leaves out are zeros, as in Keras. Weights are the layer's own, under `forward/` and `backward/`.
 */
export class Bidirectional extends Layer {
  readonly type = 'bidirectional';
  readonly mergeMode: MergeMode;
  readonly parts: Readonly<Record<Direction, RecurrentLayer>>;
  private readonly ownBackward: boolean;

  constructor(config: BidirectionalConfig, make: LayerMaker) {
    const subject = subjectOf('bidirectional', config);
    const o = readConfig(config, [...commonOptions, 'layer', 'backwardLayer', 'mergeMode'], subject);
    const forward = copyOf(o.layer, `${subject}: layer`, make, false);
    const { trainable, inputShape } = forward;
    const shaped = { trainable, inputShape, batchInputShape: batchShapeOf(forward), ...o };
    super('bidirectional', shaped as LayerConfig);
    const mode = o.mergeMode ?? 'concat';
    if (!mergeModes.includes(mode as MergeMode)) {
      const wanted = `one of ${mergeModes.map((m) => `'${m}'`).join(', ')}`;
      refuse('ERR_VALUE', `${subject}: mergeMode`, wanted, quoted(mode));
    }
    this.mergeMode = mode as MergeMode;
    this.ownBackward = o.backwardLayer !== undefined;
    const backward = this.ownBackward
      ? copyOf(o.backwardLayer, `${subject}: backwardLayer`, make, false)
      : copyOf(o.layer, `${subject}: layer`, make, true);
    for (const [what, ours, theirs] of [
      ['a layer that reads against the other', !forward.goBackwards, backward.goBackwards],
      [`returnSequences ${forward.returnSequences}`, forward.returnSequences, backward.returnSequences],
      [`stateful ${forward.stateful}`, forward.stateful, backward.stateful],
    ] as const)
      if (ours !== theirs) refuse('ERR_VALUE', `${subject}: backwardLayer`, what, 'another');
    if (mode !== 'concat' && forward.outputSize !== backward.outputSize) {
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

  override get streamObstacle(): string {
    return 'a direction that begins at the end of the sequence';
  }

  override get backwards(): readonly string[] {
    return directions.flatMap((d) => (this.parts[d].goBackwards ? [`${this.name}/${d}`] : []));
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const [forward, backward] = this.named().map((part) => part.outputShape(input)) as [
      SymbolicShape,
      SymbolicShape,
    ];
    if (this.mergeMode !== 'concat') return forward;
    const width = (forward.shape.at(-1) as number) + (backward.shape.at(-1) as number);
    return { ...forward, shape: [...forward.shape.slice(0, -1), width] };
  }

  override build(input: SymbolicShape): void {
    for (const part of this.named()) part.build(input);
    this.weights = directions.flatMap((d) =>
      this.parts[d].weights.map((spec): WeightSpec => ({ ...spec, name: `${d}/${spec.name}` })),
    );
  }

  override unbuild(): void {
    super.unbuild();
    for (const d of directions) this.parts[d].unbuild();
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { builder } = context;
    const emit = (kind: 'reverseTime' | 'concat' | 'add' | 'multiply', ids: ValueId[]) =>
      builder.emit(kind, ids, {}, this.subject)[0] as ValueId;
    this.named();
    // Whichever reads from the end gives its outputs in that order.
    const [forward, backward] = directions.map((d): LayerValue => {
      const value = this.parts[d].call(
        new PartContext(context, this, `${d}/`, d === 'backward' ? purposesBackwards : {}),
        input,
      );
      const turned = value.sequence && this.parts[d].goBackwards;
      return turned ? { ...value, id: emit('reverseTime', [value.id]) } : value;
    }) as [LayerValue, LayerValue];
    const ids = [forward.id, backward.id];
    const mask = forward.sequence ? input.mask : undefined;
    switch (this.mergeMode) {
      case 'concat': {
        const width = [forward, backward].reduce((sum, { shape }) => sum + (shape.at(-1) as number), 0);
        const shape: Shape = [...forward.shape.slice(0, -1), width];
        return { ...forward, id: emit('concat', ids), shape, mask };
      }
      case 'sum':
        return { ...forward, id: emit('add', ids), mask };
      case 'mul':
        return { ...forward, id: emit('multiply', ids), mask };
      case 'ave': {
        const [id] = builder.emit('scale', [emit('add', ids)], { factor: 0.5 }, this.subject);
        return { ...forward, id: id as ValueId, mask };
      }
    }
  }

  /** Both directions, under names that say whose they are. */
  private named(): readonly RecurrentLayer[] {
    return directions.map((d) => {
      this.parts[d].name = `${this.name}/${d}`;
      return this.parts[d];
    });
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
  if (layer.returnState) refuse('ERR_VALUE', subject, 'a layer with returnState: false', true);
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
