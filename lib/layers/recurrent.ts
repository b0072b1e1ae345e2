import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { type ActivationSpec, activationConfig, resolveActivation } from '../ops/activations';
import { type CellKind, gatesOf, rowActivations } from '../plan/codes';
import { stackLayout } from '../plan/ops/rnnStack';
import { ABSENT, type ActivationAttrs, type RnnLayerAttrs, type ValueId } from '../plan/types';
import type { CellDefinition, CellWeight } from './cells/cell';
import { lowerCell } from './cells/lowerCell';
import type { StepOptions } from './cells/steps';
import { type Constraint, type ConstraintSpec, resolveConstraint } from './constraints';
import { type Initializer, type InitializerSpec, initializers, resolveInitializer } from './initializers';
import type { CallContext, WeightSpec } from './layer';
import { commonOptions, countOption, rateOption, subjectOf } from './options';
import {
  type Recurrence,
  type RecurrenceInputs,
  RecurrentLayer,
  type RecurrentLayerConfig,
  recurrentLayerOptions,
} from './recurrentLayer';
import { type Regularizer, type RegularizerSpec, resolveRegularizer } from './regularizers';

export interface RecurrentConfig extends RecurrentLayerConfig {
  /** Width of the state and of the output. */
  units: number;
  /** Of the candidate state. Default `'tanh'`. */
  activation?: ActivationSpec;
  /** Default true. */
  useBias?: boolean;
  /** Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Default `'orthogonal'`. */
  recurrentInitializer?: InitializerSpec;
  /** Default `'zeros'`. */
  biasInitializer?: InitializerSpec;
  kernelRegularizer?: RegularizerSpec;
  recurrentRegularizer?: RegularizerSpec;
  biasRegularizer?: RegularizerSpec;
  kernelConstraint?: ConstraintSpec;
  recurrentConstraint?: ConstraintSpec;
  biasConstraint?: ConstraintSpec;
  /**
   * Normalizes both products of a step, of the input and of the state, and of an LSTM the cell state where it is shown (Ba, Kiros & Hinton,
   * 2016; as Haste does): `LN(x W)·kernelGamma + LN(h R)·recurrentGamma + bias`, over all gates of a row. Weights `kernelGamma` and
   * `recurrentGamma` `[gates·units]`, of an LSTM `cellGamma` and `cellBeta` `[units]`. `true` has epsilon 1e-5. Default false.
   */
  layerNormalization?: boolean | { epsilon?: number };
  /** Rate at which the state is dropped where it enters the recurrent product, one mask per sequence. Default 0. */
  recurrentDropout?: number;
}

export interface GatedConfig extends RecurrentConfig {
  /** Of the gates. Default `'sigmoid'`. */
  recurrentActivation?: ActivationSpec;
}

const recurrentOptions = [
  ...commonOptions,
  'units',
  'activation',
  'useBias',
  'kernelInitializer',
  'recurrentInitializer',
  'biasInitializer',
  'kernelRegularizer',
  'recurrentRegularizer',
  'biasRegularizer',
  'kernelConstraint',
  'recurrentConstraint',
  'biasConstraint',
  'recurrentDropout',
  'layerNormalization',
  ...recurrentLayerOptions,
] as const;

/** What an LSTM may have beside the usual equations. */
export type LstmVariants = Pick<RnnLayerAttrs, 'cellClip' | 'peepholes' | 'coupledGates'>;

/** What SimpleRNN, LSTM and GRU share: a recurrent layer with kernel, recurrentKernel and bias over G gates. */
export abstract class Recurrent extends RecurrentLayer {
  readonly units: number;
  protected readonly activation: ActivationAttrs;
  protected readonly recurrentActivation: ActivationAttrs;
  protected readonly useBias: boolean;
  private readonly recurrentDropout: number;
  /** Of the layer normalization; undefined: there is none. */
  protected readonly epsilon: number | undefined;
  private readonly initializers: Record<'kernel' | 'recurrent' | 'bias', Initializer>;
  private readonly regularizers: Record<'kernel' | 'recurrent' | 'bias', Regularizer | undefined>;
  private readonly constraints: Record<'kernel' | 'recurrent' | 'bias', Constraint | undefined>;
  /** The options that only this kind of layer has. */
  protected readonly own: Partial<Record<string, unknown>>;

  protected constructor(
    readonly cell: CellKind,
    type: string,
    config: RecurrentConfig,
    ownOptions: readonly string[],
  ) {
    const subject = subjectOf(type, config);
    const o = readConfig<string>(config, [...recurrentOptions, ...ownOptions], subject);
    super(type, o);
    this.own = o;
    this.units = countOption(o['units'], `${subject}: units`);
    this.activation = this.elementwise(
      o['activation'] === undefined ? 'tanh' : o['activation'],
      `${subject}: activation`,
    );
    const gates = o['recurrentActivation'] === undefined ? 'sigmoid' : o['recurrentActivation'];
    this.recurrentActivation = this.elementwise(gates, `${subject}: recurrentActivation`);
    this.useBias = flagOption(o['useBias'], true, `${subject}: useBias`);
    this.recurrentDropout = rateOption(o['recurrentDropout'], `${subject}: recurrentDropout`);
    this.epsilon = epsilonOption(o['layerNormalization'], `${subject}: layerNormalization`);
    const initializer = (key: string, fallback: string) =>
      resolveInitializer(o[key] ?? fallback, `${subject}: ${key}`);
    this.initializers = {
      kernel: initializer('kernelInitializer', 'glorotUniform'),
      recurrent: initializer('recurrentInitializer', 'orthogonal'),
      bias: initializer('biasInitializer', 'zeros'),
    };
    const regularizer = (key: string) => resolveRegularizer(o[key], `${subject}: ${key}`);
    this.regularizers = {
      kernel: regularizer('kernelRegularizer'),
      recurrent: regularizer('recurrentRegularizer'),
      bias: regularizer('biasRegularizer'),
    };
    const constraint = (key: string) => resolveConstraint(o[key], `${subject}: ${key}`);
    this.constraints = {
      kernel: constraint('kernelConstraint'),
      recurrent: constraint('recurrentConstraint'),
      bias: constraint('biasConstraint'),
    };
  }

  private elementwise(spec: unknown, subject: string): ActivationAttrs {
    const activation = resolveActivation(spec, subject);
    if (rowActivations.has(activation.kind)) {
      refuse(
        'ERR_VALUE',
        subject,
        'an elementwise activation',
        `'${activation.kind}'`,
        'Put a dense layer with it on top.',
      );
    }
    return activation;
  }

  /** Whether the GRU's reset gate works after the recurrent product. */
  protected get resetAfter(): boolean {
    return false;
  }

  /** What an LSTM has beside the usual equations, as the op has it. */
  protected get variants(): LstmVariants {
    return {};
  }

  /** Columns of the kernels: gates times units. */
  private get width(): number {
    return gatesOf({ cell: this.cell, ...this.variants }) * this.units;
  }

  /** Weights that only this kind of layer has. */
  protected ownWeights(): WeightSpec[] {
    return [];
  }

  /** Shape of the bias. */
  protected get biasShape(): number[] {
    return [this.width];
  }

  /** First values of the bias, from what the bias initializer gave. */
  protected shapeBias(bias: Float64Array): Float64Array {
    return bias;
  }

  override get states(): readonly { readonly name: string; readonly size: number }[] {
    return [{ name: 'h', size: this.units }];
  }

  protected override stepWeights(features: number): WeightSpec[] {
    const { width } = this;
    const weights: WeightSpec[] = [
      {
        name: 'kernel',
        shape: [features, width],
        initializer: this.initializers.kernel,
        regularizer: this.regularizers.kernel,
        constraint: this.constraints.kernel,
      },
      {
        name: 'recurrentKernel',
        shape: [this.outputSize, width],
        initializer: this.initializers.recurrent,
        regularizer: this.regularizers.recurrent,
        constraint: this.constraints.recurrent,
      },
    ];
    if (this.useBias) {
      const initializer = this.initializers.bias;
      weights.push({
        name: 'bias',
        shape: this.biasShape,
        initializer: {
          ...initializer,
          sample: (shape, random) => this.shapeBias(initializer.sample(shape, random)),
        },
        regularizer: this.regularizers.bias,
        constraint: this.constraints.bias,
        decay: false,
      });
    }
    return [...weights, ...this.ownWeights(), ...this.normalizationWeights()];
  }

  /** Weights of the layer normalization, by name their sizes. */
  protected get normalized(): Readonly<Record<string, number>> {
    return { kernelGamma: this.width, recurrentGamma: this.width };
  }

  private normalizationWeights(): WeightSpec[] {
    if (this.epsilon === undefined) return [];
    return Object.entries(this.normalized).map(([name, size]) => {
      const initializer = /Gamma$/.test(name) ? initializers.ones() : initializers.zeros();
      return { name, shape: [size], initializer, decay: false };
    });
  }

  /** Writes a step down. */
  protected abstract readonly step: CellDefinition['step'];

  protected get stepOptions(): StepOptions {
    const { units, activation, recurrentActivation, recurrentDropout, epsilon } = this;
    return { units, activation, recurrentActivation, recurrentDropout, epsilon };
  }

  override get outputSize(): number {
    return this.units;
  }

  /** Whether the step is another than that of the fused stack. */
  protected get isTraced(): boolean {
    return this.epsilon !== undefined;
  }

  /** @internal The step as a cell for `layers.rnn`. */
  asCell(): CellDefinition {
    return {
      states: Object.fromEntries(this.states.map(({ name, size }) => [name, size])),
      outputSize: this.outputSize,
      weights: (features) =>
        Object.fromEntries(
          this.stepWeights(features).map(({ name, shape, ...rest }) => [
            name,
            { shape: readAs(name, shape), ...rest } as CellWeight,
          ]),
        ),
      step: this.step,
    };
  }

  private recurByProgram(context: CallContext, inputs: RecurrenceInputs): Recurrence {
    const { returnSequences, goBackwards, states, outputSize, step } = this;
    const weights = new Map(this.weights.map(({ name, shape }) => [name, readAs(name, shape)]));
    const run = { layer: this, weights, states, outputSize, returnSequences, goBackwards, step };
    const input = this.dropInputs(context, inputs.input);
    return lowerCell({ ...run, seed: this.seed ?? context.seed }, context, { ...inputs, input });
  }

  protected override recur(context: CallContext, inputs: RecurrenceInputs): Recurrence {
    if (this.isTraced) return this.recurByProgram(context, inputs);
    const { input, starts, wantsEnds } = inputs;
    const { builder, batch, training } = context;
    const [steps, features] = input.shape as [number, number];
    const attrs = {
      steps,
      batch,
      inputSize: features,
      returnSequences: this.returnSequences,
      goBackwards: this.goBackwards,
      seed: this.seed ?? context.seed,
      layers: [
        {
          name: this.name,
          cell: this.cell,
          units: this.units,
          activation: this.activation,
          recurrentActivation: this.recurrentActivation,
          resetAfter: this.resetAfter,
          ...this.variants,
          useBias: this.useBias,
          inputDropout: {
            mode: 'sharedOverTime',
            rate: training ? this.dropout : 0,
            stream: context.stream(this, 'inputDropout'),
          },
          recurrentDropout: {
            rate: training ? this.recurrentDropout : 0,
            stream: context.stream(this, 'recurrentDropout'),
          },
        },
      ],
    } as const;
    const weights = ['kernel', 'recurrentKernel'].map((name) => context.weight(this, name));
    const bias = this.useBias ? context.weight(this, 'bias') : ABSENT;
    const states = [starts[0] ?? ABSENT, starts[1] ?? ABSENT];
    const peephole = attrs.layers[0].peepholes ? context.weight(this, 'peephole') : ABSENT;
    const want = [false, true, wantsEnds, wantsEnds && this.states.length > 1];
    const outputs = builder.emit(
      'rnnStack',
      [context.step(), input.id, input.mask ?? ABSENT, ...weights, bias, ...states, peephole],
      attrs,
      this.subject,
      want,
    );
    const [y, ...ends] = outputs.slice(stackLayout.forwardOutput(0)) as [ValueId, ...ValueId[]];
    return { y, ends };
  }

  override getConfig(): Record<string, unknown> {
    const { kernel, recurrent, bias } = this.initializers;
    return {
      ...super.getConfig(),
      units: this.units,
      activation: activationConfig(this.activation),
      useBias: this.useBias,
      kernelInitializer: kernel.getConfig(),
      recurrentInitializer: recurrent.getConfig(),
      biasInitializer: bias.getConfig(),
      ...configs({
        kernelRegularizer: this.regularizers.kernel,
        recurrentRegularizer: this.regularizers.recurrent,
        biasRegularizer: this.regularizers.bias,
        kernelConstraint: this.constraints.kernel,
        recurrentConstraint: this.constraints.recurrent,
        biasConstraint: this.constraints.bias,
      }),
      recurrentDropout: this.recurrentDropout,
      ...(this.epsilon === undefined ? {} : { layerNormalization: { epsilon: this.epsilon } }),
    };
  }
}

/** The shape in which a step reads a weight: rows of vectors (biases, peepholes) one after another. */
function readAs(name: string, shape: readonly number[]): readonly number[] {
  return /^(bias|peephole)$/.test(name) ? [shape.reduce((size, n) => size * n, 1)] : shape;
}

/** @throws ERR_VALUE unless it is a flag or has a positive epsilon */
function epsilonOption(value: unknown, subject: string): number | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) return 1e-5;
  const { epsilon = 1e-5 } = readConfig(value as { epsilon?: number }, ['epsilon'], subject);
  if (typeof epsilon !== 'number' || !(epsilon > 0 && Number.isFinite(epsilon)))
    refuse('ERR_VALUE', `${subject}: epsilon`, 'a positive number', quoted(epsilon));
  return epsilon;
}

/** The configurations of those parts that are there. */
export function configs(
  parts: Record<string, { getConfig(): Record<string, unknown> } | undefined>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(parts).flatMap(([key, part]) => (part ? [[key, part.getConfig()]] : [])),
  );
}
