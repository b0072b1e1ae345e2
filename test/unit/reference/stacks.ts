import type { ActivationKind, CellKind } from '../../../lib/plan/codes';
import { gatesOf } from '../../../lib/plan/codes';
import { inputSizeOf, stackLayout } from '../../../lib/plan/ops/rnnStack';
import type { DropoutMode, RnnLayerAttrs, RnnStackAttrs } from '../../../lib/plan/types';
import { sizeOf } from '../../../lib/tensors/tensor';
import type { Draws } from './gradientCheck';
import { type Arg, ints, type LoadedOp, loadOp, real, runOp, scalar } from './runOp';

/** One layer of a random stack; what is left out is off, or the usual activation. */
export interface LayerChoice {
  readonly cell: CellKind;
  readonly units: number;
  readonly activation?: ActivationKind;
  readonly recurrentActivation?: ActivationKind;
  readonly alpha?: number;
  readonly resetAfter?: boolean;
  readonly useBias?: boolean;
  readonly inputDropout?: { readonly mode: DropoutMode; readonly rate: number };
  readonly recurrentDropout?: number;
  readonly recurrentDropoutMode?: DropoutMode;
  /** Rates of h, and of an LSTM's c. */
  readonly zoneout?: number;
  readonly cellZoneout?: number;
  readonly zoneoutExpected?: boolean;
  readonly initialState?: boolean;
  readonly cellClip?: number;
  readonly peepholes?: boolean;
  readonly coupledGates?: boolean;
}

export interface StackChoice {
  readonly T: number;
  readonly N: number;
  readonly D: number;
  readonly layers: readonly LayerChoice[];
  readonly returnSequences?: boolean;
  readonly goBackwards?: boolean;
  readonly seed?: number;
  /** [T·N], 0 for a step that does not count. */
  readonly valid?: readonly number[];
  /** Multiplies all random inputs. */
  readonly scale?: number;
}

export function stackAttrs({
  T,
  N,
  D,
  layers,
  returnSequences = true,
  goBackwards = false,
  seed = 7,
}: StackChoice): RnnStackAttrs {
  return {
    steps: T,
    batch: N,
    inputSize: D,
    returnSequences,
    goBackwards,
    seed,
    layers: layers.map(
      (l, i): RnnLayerAttrs => ({
        name: `layer${i}`,
        cell: l.cell,
        units: l.units,
        activation: { kind: l.activation ?? 'tanh', alpha: l.alpha ?? 0.3 },
        recurrentActivation: { kind: l.recurrentActivation ?? 'sigmoid', alpha: l.alpha ?? 0.3 },
        resetAfter: l.resetAfter ?? false,
        cellClip: l.cellClip,
        peepholes: l.peepholes,
        coupledGates: l.coupledGates,
        useBias: l.useBias ?? true,
        inputDropout: { mode: 'element', rate: 0, ...l.inputDropout, stream: 2 * i },
        recurrentDropout: {
          mode: l.recurrentDropoutMode,
          rate: l.recurrentDropout ?? 0,
          stream: 2 * i + 1,
        },
        zoneout: l.zoneout ? { rate: l.zoneout, stream: 100 + 2 * i } : undefined,
        cellZoneout: l.cellZoneout ? { rate: l.cellZoneout, stream: 101 + 2 * i } : undefined,
        zoneoutExpected: l.zoneoutExpected,
      }),
    ),
  };
}

/** Random inputs for a stack: step, x, valid?, then per layer kernel, recurrentKernel, bias?, h0?, c0?, peephole?. */
export function stackArgs(choice: StackChoice, draws: Draws, step = 5): (Arg | undefined)[] {
  const attrs = stackAttrs(choice);
  const { T, N, D, valid, scale: all = 1 } = choice;
  const random = (shape: number[], scale: number) => real(draws.normals(sizeOf(shape), scale * all), shape);
  const args: (Arg | undefined)[] = [scalar(step), random([T, N, D], 1), valid && ints(valid, [T, N])];
  choice.layers.forEach((l, i) => {
    const width = gatesOf(l) * l.units;
    const inputSize = inputSizeOf(attrs, i);
    args.push(
      random([inputSize, width], 0.8 / Math.sqrt(inputSize)),
      random([l.units, width], 0.8 / Math.sqrt(l.units)),
      l.useBias === false ? undefined : random(l.cell === 'gru' && l.resetAfter ? [2, width] : [width], 0.3),
      l.initialState ? random([N, l.units], 0.7) : undefined,
      l.initialState && l.cell === 'lstm' ? random([N, l.units], 0.7) : undefined,
      l.peepholes ? random([gatesOf(l) - 1, l.units], 0.5) : undefined,
    );
  });
  return args;
}

/** Which forward outputs there are: reserve, then per layer y, hT and, for an LSTM, cT. */
export function stackOutputs({ layers }: StackChoice): boolean[] {
  return [true, ...layers.flatMap((l) => [true, true, l.cell === 'lstm'])];
}

/** The inputs of `rnnStackGrad` for the gradients `dOut` of the forward outputs (index 0, the reserve, unused). */
export function stackGradArgs(
  choice: StackChoice,
  args: readonly (Arg | undefined)[],
  outputs: readonly (Float64Array | undefined)[],
  dOut: readonly (ArrayLike<number> | undefined)[],
): (Arg | undefined)[] {
  const { T, N, layers, returnSequences = true } = choice;
  const reserve = outputs[0] as Float64Array;
  const result = [args[0], args[1], args[2], real(reserve, [reserve.length])];
  layers.forEach(({ units }, l) => {
    const first = stackLayout.forwardInput(l);
    const out = stackLayout.forwardOutput(l);
    const whole = returnSequences || l < layers.length - 1;
    const shapes = [whole ? [T, N, units] : [N, units], [N, units], [N, units]];
    result.push(
      ...args.slice(first, first + stackLayout.layerInputs),
      ...shapes.map((shape, k) => {
        const d = dOut[out + k];
        return d && real(d, shape);
      }),
    );
  });
  return result;
}

export interface StackRun {
  readonly forward: LoadedOp;
  readonly outputs: readonly (Float64Array | undefined)[];
  /** dx, stepNorms, then per layer dKernel, dRecurrentKernel, dBias, dh0, dc0, dPeephole. */
  readonly gradients: readonly (Float64Array | undefined)[];
}

/** Runs a stack forward and back. */
export function runStack(
  choice: StackChoice,
  args: (Arg | undefined)[],
  dOut: readonly (ArrayLike<number> | undefined)[],
): StackRun {
  const attrs = stackAttrs(choice);
  const forward = loadOp('rnnStack', attrs, args, { want: stackOutputs(choice) });
  const outputs = forward.run();
  const want = [true, true, ...args.slice(3).map((arg) => arg !== undefined)];
  const gradients = runOp('rnnStackGrad', attrs, stackGradArgs(choice, args, outputs, dOut), { want });
  return { forward, outputs, gradients };
}
