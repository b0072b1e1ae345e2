import type { Engine, Executable, Precision } from '../../lib/engines/engine';
import { type CellKind, gatesOf } from '../../lib/plan/codes';
import { stackLayout } from '../../lib/plan/ops/rnnStack';
import type { ActivationAttrs, RnnLayerAttrs, RnnStackAttrs } from '../../lib/plan/types';
import { type Operand, type Outputs, RandomInputs, runOp, scalar, testedPrecision } from './harness';

/** A recurrent layer under test; everything left out is the Keras default. */
export interface LayerCase {
  readonly cell: CellKind;
  readonly units: number;
  readonly activation?: ActivationAttrs;
  readonly recurrentActivation?: ActivationAttrs;
  readonly resetAfter?: boolean;
  readonly useBias?: boolean;
  readonly inputDropout?: { rate: number; mode: 'element' | 'sharedOverTime' };
  readonly recurrentDropout?: number;
  readonly recurrentDropoutMode?: 'element';
  /** Rates of h, and of an LSTM's c. */
  readonly zoneout?: number;
  readonly cellZoneout?: number;
  readonly zoneoutExpected?: boolean;
  readonly initialState?: boolean;
  readonly cellClip?: number;
  readonly peepholes?: boolean;
  readonly coupledGates?: boolean;
}

export interface StackCase {
  readonly steps: number;
  readonly batch: number;
  readonly inputSize: number;
  readonly layers: readonly LayerCase[];
  readonly returnSequences?: boolean;
  readonly goBackwards?: boolean;
  /** Gradients that come in: of the outputs (default), of the end states too. */
  readonly stateGradients?: boolean;
  /** Steps that do not count, of which a row may have more or fewer: padding at the end, or anywhere. */
  readonly masked?: 'end' | 'anywhere';
  /** What x holds in steps that do not count, where not random numbers as elsewhere. */
  readonly padding?: number;
  /** Factor on all weights. Default 1. */
  readonly weightScale?: number;
  /** The steps are those from `first` on of a sequence of so many. */
  readonly part?: { readonly first: number; readonly of: number };
}

export function stackAttrs(c: StackCase): RnnStackAttrs {
  return {
    steps: c.steps,
    batch: c.batch,
    inputSize: c.inputSize,
    returnSequences: c.returnSequences ?? true,
    goBackwards: c.goBackwards ?? false,
    seed: 12345678901,
    part: c.part,
    layers: c.layers.map(
      (l, i): RnnLayerAttrs => ({
        name: `${l.cell}_${i}`,
        cell: l.cell,
        units: l.units,
        activation: l.activation ?? { kind: 'tanh', alpha: 0 },
        recurrentActivation: l.recurrentActivation ?? { kind: 'sigmoid', alpha: 0 },
        resetAfter: l.resetAfter ?? true,
        cellClip: l.cellClip,
        peepholes: l.peepholes,
        coupledGates: l.coupledGates,
        useBias: l.useBias ?? true,
        inputDropout: {
          mode: l.inputDropout?.mode ?? 'sharedOverTime',
          rate: l.inputDropout?.rate ?? 0,
          stream: 16 * i + 1,
        },
        recurrentDropout: {
          mode: l.recurrentDropoutMode,
          rate: l.recurrentDropout ?? 0,
          stream: 16 * i + 2,
        },
        zoneout: l.zoneout ? { rate: l.zoneout, stream: 16 * i + 3 } : undefined,
        cellZoneout: l.cellZoneout ? { rate: l.cellZoneout, stream: 16 * i + 4 } : undefined,
        zoneoutExpected: l.zoneoutExpected,
      }),
    ),
  };
}

/** Random weights and states of every layer: kernel, recurrentKernel, bias?, h0?, c0?, peephole?. */
export function layerOperands(c: StackCase, random: RandomInputs): (Operand | undefined)[] {
  const scale = c.weightScale ?? 1;
  return c.layers.flatMap((l, i) => {
    const inputs = i === 0 ? c.inputSize : (c.layers[i - 1] as LayerCase).units;
    const width = gatesOf(l) * l.units;
    const biasShape = l.cell === 'gru' && (l.resetAfter ?? true) ? [2, width] : [width];
    const state = () => random.normal([c.batch, l.units], 0.5);
    return [
      random.normal([inputs, width], scale / Math.sqrt(inputs)),
      random.normal([l.units, width], (0.8 * scale) / Math.sqrt(l.units)),
      (l.useBias ?? true) ? random.normal(biasShape, 0.3 * scale) : undefined,
      l.initialState ? state() : undefined,
      l.initialState && l.cell === 'lstm' ? state() : undefined,
      l.peepholes ? random.normal([gatesOf(l) - 1, l.units], 0.4 * scale) : undefined,
    ];
  });
}

/** Random steps that count: every row has a length of its own, or holes; one has no step at all. */
function stepMask(c: StackCase, random: RandomInputs): Operand | undefined {
  if (!c.masked) return undefined;
  const { batch: N } = c;
  const T = c.part?.of ?? c.steps;
  const draws = random.uniform([T, N], 0, 1).values;
  const values = Int32Array.from({ length: T * N }, (_, i) => {
    const n = i % N;
    if (n === 1) return 0;
    const length = Math.ceil((draws[n] as number) * T);
    return Number(c.masked === 'end' ? Math.floor(i / N) < length : (draws[i] as number) < 0.6);
  });
  return { dtype: 'int32', shape: [T, N], values };
}

/** Of outputs that are sequences the steps that the op works on: what lies in the others is not its own. */
function ownSteps(
  c: StackCase,
  outputs: Outputs,
  widths: ReadonlyMap<string, number>,
  reversed = false,
): Outputs {
  const { part } = c;
  if (!part) return outputs;
  const first = reversed ? part.of - part.first - c.steps : part.first;
  return Object.fromEntries(
    Object.entries(outputs).map(([key, values]) => {
      const width = widths.get(key);
      return [key, width === undefined ? values : values.slice(first * width, (first + c.steps) * width)];
    }),
  );
}

export interface StackResult {
  readonly forward: Outputs;
  readonly backward: Outputs;
}

/** Forward and backward pass of a stack on one engine. Every optional output is asked for; for `inference` the forward pass
 * alone, without its reserve. */
export function runStack(
  engine: Engine,
  c: StackCase,
  stream: number,
  more: {
    threads?: number;
    precision?: Precision;
    loaded?: (executable: Executable) => void;
    inference?: boolean;
  } = {},
): StackResult {
  const random = new RandomInputs(stream);
  const attrs = stackAttrs(c);
  const step = scalar(7);
  const whole = c.part?.of ?? c.steps;
  const x = random.normal([whole, c.batch, c.inputSize]);
  const weights = layerOperands(c, random);
  const valid = stepMask(c, random);
  if (valid && c.padding !== undefined) {
    const values = x.values as Float64Array;
    for (let i = 0; i < values.length; i++)
      if (!valid.values[Math.floor(i / c.inputSize)]) values[i] = c.padding;
  }
  // There are no gradients in 8-bit integers.
  const inference = more.inference ?? (more.precision ?? testedPrecision) === 'int8';
  const want = [!inference, ...c.layers.flatMap((l) => [true, true, l.cell === 'lstm'])];
  const forward = runOp(engine, 'rnnStack', [step, x, valid, ...weights], attrs, { want, ...more });
  if (inference) return { forward, backward: {} };

  const reserve: Operand = {
    dtype: 'real',
    shape: [(forward['0'] as Float64Array).length],
    values: forward['0'] as Float64Array,
  };
  const wantGrad = [true, true];
  const perLayer = stackLayout.layerInputs;
  const grads = c.layers.flatMap((l, i) => {
    const last = i === c.layers.length - 1;
    const sequence = !last || (c.returnSequences ?? true);
    const state = () => (c.stateGradients ? random.normal([c.batch, l.units], 0.3) : undefined);
    const own = weights.slice(perLayer * i, perLayer * (i + 1));
    wantGrad.push(...own.map((w) => w !== undefined));
    const dy = last ? random.normal(sequence ? [whole, c.batch, l.units] : [c.batch, l.units]) : undefined;
    return [...own, dy, state(), l.cell === 'lstm' ? state() : undefined];
  });
  const backward = runOp(engine, 'rnnStackGrad', [step, x, valid, reserve, ...grads], attrs, {
    want: wantGrad,
    ...more,
  });
  // The reserve's layout is each engine's own business.
  const { 0: _reserve, ...visible } = forward;
  const sequences = new Map(
    c.layers.flatMap(({ units }, l) => {
      const last = l === c.layers.length - 1 && c.returnSequences === false;
      return last ? [] : [[String(stackLayout.forwardOutput(l)), c.batch * units] as const];
    }),
  );
  const { 1: norms, ...gradients } = backward;
  const rows = c.layers.map((_, l) => norms?.slice(l * whole + (c.part?.first ?? 0)).slice(0, c.steps));
  return {
    forward: ownSteps(c, visible, sequences),
    backward: {
      ...ownSteps(c, gradients, new Map([['0', c.batch * c.inputSize]]), c.goBackwards),
      ...Object.fromEntries(rows.map((row, l) => [`norms ${l}`, row as Float64Array])),
    },
  };
}
