import type { Shape } from '../tensors/tensor';
import type {
  ActivationKind,
  CellKind,
  ClipMode,
  ConstraintKind,
  ExtremumKind,
  LossKind,
  MetricKind,
  OpKind,
  OptimizerKind,
  PoolKind,
  ValueDType,
  ValueRole,
} from './codes';
import type { ProgramAttrs } from './program/program';

/** Index of a value in a plan; {@link ABSENT} stands for an optional input or output that is not there. */
export type ValueId = number;
export const ABSENT: ValueId = -1;

/** An array that ops read or write. Shapes are as stored: time-major `[T, N, …]` for sequences. */
export interface ValueSpec {
  readonly id: ValueId;
  /** Unique among the values of its role; for a variable the name under which the session holds it (`layer/weight`). */
  readonly name: string;
  readonly dtype: ValueDType;
  readonly shape: Shape;
  role: ValueRole;
}

export interface ActivationAttrs {
  readonly kind: ActivationKind;
  readonly alpha: number;
}

/** Whether a dropout mask is drawn per element or once per (row, feature) and shared over time. */
export type DropoutMode = 'element' | 'sharedOverTime';

export interface DropoutAttrs {
  readonly mode: DropoutMode;
  readonly seed: number;
  readonly stream: number;
  readonly rate: number;
}

/** Who draws which units keep their state, and how many do. */
export interface ZoneoutAttrs {
  readonly rate: number;
  readonly stream: number;
}

/** One recurrent layer inside an `rnnStack`. */
export interface RnnLayerAttrs {
  /** The layer's name, for messages and reports. */
  readonly name: string;
  readonly cell: CellKind;
  readonly units: number;
  readonly activation: ActivationAttrs;
  readonly recurrentActivation: ActivationAttrs;
  /** GRU only: the reset gate multiplies the recurrent product (true) or the state that enters it (false). */
  readonly resetAfter: boolean;
  /** LSTM only: bound of the cell state's size; none when absent. */
  readonly cellClip?: number | undefined;
  /** LSTM only: its gates see the cell state, through weights of their own. */
  readonly peepholes?: boolean | undefined;
  /** LSTM only: the input gate is 1 − the forget gate. */
  readonly coupledGates?: boolean | undefined;
  readonly useBias: boolean;
  readonly inputDropout: { readonly mode: DropoutMode; readonly rate: number; readonly stream: number };
  /** Of the state where it enters the products with the recurrent kernel. Mode `element`: one draw per step. Default: shared over time. */
  readonly recurrentDropout: {
    readonly mode?: DropoutMode | undefined;
    readonly rate: number;
    readonly stream: number;
  };
  /** Units that keep their h of the step before, and of an LSTM their c; none when absent. */
  readonly zoneout?: ZoneoutAttrs | undefined;
  readonly cellZoneout?: ZoneoutAttrs | undefined;
  /** Outside training: no draws, but what they give on average. */
  readonly zoneoutExpected?: boolean | undefined;
}

export interface RnnStackAttrs {
  readonly steps: number;
  readonly batch: number;
  readonly inputSize: number;
  readonly returnSequences: boolean;
  readonly goBackwards: boolean;
  readonly seed: number;
  readonly layers: readonly RnnLayerAttrs[];
  /**
   * Absent: the steps are the whole sequence. Else they are those from `first` on, in the order of processing, of `of` steps, and x, valid, y,
   * dy, dx and stepNorms are arrays of all of these, of which the op reads and writes its own.
   */
  readonly part?: { readonly first: number; readonly of: number } | undefined;
}

export interface LossAttrs {
  readonly kind: LossKind;
  readonly fromLogits: boolean;
  /** Huber's delta, or label smoothing for the cross-entropies; otherwise 0. */
  readonly parameter: number;
  /** Focal losses: the exponent, default 0, and the weight of classes; without it they all count 1. */
  readonly gamma?: number | undefined;
  readonly alpha?: number | undefined;
  /** What the gradient is multiplied by, not the value: the share of this loss in what is minimized. Default 1. */
  readonly lossWeight?: number | undefined;
}

export interface MetricAttrs {
  readonly kind: MetricKind;
  /** The target holds class indices (int32 `[R]`) rather than `[R, C]`. */
  readonly sparse: boolean;
  /** binaryAccuracy: one; confusion: the list (empty with `argmax`). */
  readonly thresholds?: readonly number[];
  /** topK only. */
  readonly k?: number;
  /** confusion only: the predicted class is the largest output. */
  readonly argmax?: boolean;
  /** histogram only. */
  readonly bins?: number;
  /** crossentropy only. */
  readonly fromLogits?: boolean;
}

export interface UpdateAttrs {
  readonly kind: OptimizerKind;
  readonly clip: { readonly mode: ClipMode; readonly limit: number };
  /** sgd: nesterov; rmsprop: centered; adam: amsgrad. */
  readonly flag: boolean;
  /** k0 … k5 of docs/plan.md; shorter lists are filled with zeros. */
  readonly constants: readonly number[];
  /** Per parameter: its weight decay, 0 where there is none. */
  readonly decay: readonly number[];
  /** Per parameter: what its learning rate is multiplied by. Absent: 1. */
  readonly rateFactors?: readonly number[] | undefined;
  /** Per parameter: the penalty whose gradient the op adds to the parameter's. Absent where there is none, or none at all. */
  readonly penalties?: readonly (WeightPenalty | undefined)[];
}

/** l1·Σ|w| + l2·Σw². */
export interface WeightPenalty {
  readonly l1: number;
  readonly l2: number;
}

/** Windows over the steps of a sequence: window t begins at step t·stride − before, and its steps lie `dilation` apart. */
export interface WindowAttrs {
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  /** Steps of padding in front of the sequence. */
  readonly before: number;
}

export interface PoolAttrs {
  readonly kind: PoolKind;
  readonly size: number;
  readonly stride: number;
  readonly before: number;
}

export interface DenseAttrs {
  /** The kernel lies as [U, D]: the table of an embedding, read the other way. Default false. */
  readonly transposed?: boolean;
}

/** Which of the factors of a product are stored with their last two axes swapped. */
export interface MatmulAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

export interface BatchNormAttrs {
  /** Normalize by the batch's own statistics, not by the moving ones. */
  readonly training: boolean;
  readonly epsilon: number;
  /** How much of the moving statistics stays. */
  readonly momentum: number;
}

export type NoAttrs = Readonly<Record<string, never>>;

/** The attributes of every op. */
export interface OpAttrs {
  batchToTime: NoAttrs;
  timeToBatch: NoAttrs;
  check: { readonly mode: 'finite' } | { readonly mode: 'index'; readonly size: number };
  assign: NoAttrs;
  add: NoAttrs;
  broadcastRows: { readonly rows: number };
  sumRows: NoAttrs;
  /** What each term is multiplied by. Default: 1. */
  sumScalars: { readonly factors?: readonly number[] };
  lengthMask: { readonly steps: number };
  stepMask: { readonly value: number };
  maskRows: NoAttrs;
  maskWeights: { readonly normalize: boolean };
  reverseTime: NoAttrs;
  concat: NoAttrs;
  slice: { readonly first: number; readonly width: number };
  multiply: NoAttrs;
  scale: { readonly factor: number };
  reshape: { readonly shape: Shape };
  transpose: { readonly axes: readonly number[] };
  layerNorm: { readonly epsilon: number };
  layerNormGrad: { readonly epsilon: number };
  noise: {
    readonly seed: number;
    readonly stream: number;
    readonly stddev: number;
    /** The deviation at step t is stddev·(1 + t)^−decay. Default 0. */
    readonly decay?: number;
  };
  unfold: WindowAttrs & { readonly windows: number };
  fold: WindowAttrs & { readonly steps: number };
  pool: PoolAttrs & { readonly windows: number };
  poolGrad: PoolAttrs;
  extremum: { readonly kind: ExtremumKind };
  extremumGrad: { readonly kind: ExtremumKind };
  eitherMask: NoAttrs;
  matmul: MatmulAttrs;
  normalizeRows: { readonly epsilon: number };
  normalizeRowsGrad: { readonly epsilon: number };
  batchNorm: BatchNormAttrs;
  batchNormGrad: BatchNormAttrs;
  embedding: NoAttrs;
  embeddingGrad: { readonly size: number };
  dense: DenseAttrs;
  denseGrad: DenseAttrs;
  activation: ActivationAttrs;
  activationGrad: ActivationAttrs;
  dropout: DropoutAttrs;
  penalty: { readonly l1: number; readonly l2: number; readonly scale: number };
  penaltyGrad: { readonly l1: number; readonly l2: number; readonly scale: number };
  rnnStack: RnnStackAttrs;
  rnnStackGrad: RnnStackAttrs;
  program: ProgramAttrs;
  loss: LossAttrs;
  lossGrad: LossAttrs;
  metric: MetricAttrs;
  update: UpdateAttrs;
  constraint: { readonly kind: ConstraintKind; readonly axis: number; readonly limit: number };
}

export interface PlanOp<K extends OpKind = OpKind> {
  readonly kind: K;
  inputs: ValueId[];
  outputs: ValueId[];
  readonly attrs: OpAttrs[K];
  /** What the op does for the user, in messages: the layer's name, or e.g. `input of layer 'lstm'`. */
  readonly label: string;
}

/** An op with its attributes tied to its kind, so that a switch on `kind` narrows `attrs`. */
export type AnyPlanOp = { [K in OpKind]: PlanOp<K> }[OpKind];

/** Something to run: ops in order over values. */
export interface Plan {
  readonly name: string;
  readonly values: readonly ValueSpec[];
  readonly ops: readonly AnyPlanOp[];
}

/**
 * An engine rejects a run with this when a `check` op finds an offending element.
 * `element` counts in the stored order of the checked value.
 */
export class PlanCheckError extends Error {
  override readonly name = 'PlanCheckError';

  constructor(
    readonly op: number,
    readonly element: number,
    readonly value: number,
  ) {
    super(`check failed: op ${op}, element ${element}, value ${value}`);
  }
}
