import { gatesOf } from '../../plan/codes';
import { inputSizeOf, stackLayout } from '../../plan/ops/rnnStack';
import { ABSENT, type PlanOp, type RnnLayerAttrs } from '../../plan/types';
import { type Cost, nothing, type Prices, plus } from './cost';

export type StackOp = PlanOp<'rnnStack'> | PlanOp<'rnnStackGrad'>;

/** A layer of a stack, with what of it a pass reads and gives. */
export interface StackLayer {
  readonly name: string;
  readonly cell: RnnLayerAttrs['cell'];
  readonly units: number;
  readonly inputSize: number;
  /** Columns of the kernels: gates times units. */
  readonly width: number;
  /** A GRU whose reset gate comes before the product. */
  readonly resetBefore: boolean;
  /** An LSTM with more than the usual equations. */
  readonly variant: boolean;
  readonly inputDropout: boolean;
  readonly recurrentDropout: boolean;
  /** Units keep h, or c, of the step before. */
  readonly zoneout: boolean;
  /** Its mask is drawn anew for every step. */
  readonly recurrentDropoutPerStep: boolean;
  readonly initialState: boolean;
  /** Backward: gradients of its outputs come from outside the stack. */
  readonly outputGradient: boolean;
  readonly kernelGradient: boolean;
  readonly recurrentKernelGradient: boolean;
  readonly biasGradient: boolean;
}

/** One direction of a recurrent stack. */
export interface Stack {
  readonly backward: boolean;
  readonly steps: number;
  readonly batch: number;
  readonly inputGradient: boolean;
  /** Some steps of some rows do not count. */
  readonly masked: boolean;
  readonly layers: readonly StackLayer[];
}

export function stackOf(op: StackOp): Stack {
  const backward = op.kind === 'rnnStackGrad';
  const { attrs } = op;
  const has = (ids: readonly number[], i: number) => backward && ids[i] !== ABSENT;
  return {
    backward,
    steps: attrs.steps,
    batch: attrs.batch,
    inputGradient: has(op.outputs, 0),
    masked: op.inputs[2] !== ABSENT,
    layers: attrs.layers.map((layer, l) => {
      const input = backward ? stackLayout.gradInput(l) : stackLayout.forwardInput(l);
      const gradient = stackLayout.gradOutput(l);
      return {
        name: layer.name,
        cell: layer.cell,
        units: layer.units,
        inputSize: inputSizeOf(attrs, l),
        width: gatesOf(layer) * layer.units,
        resetBefore: layer.cell === 'gru' && !layer.resetAfter,
        variant: layer.cellClip !== undefined || layer.peepholes === true || layer.coupledGates === true,
        inputDropout: layer.inputDropout.rate > 0,
        recurrentDropout: layer.recurrentDropout.rate > 0,
        zoneout: [layer.zoneout, layer.cellZoneout].some((zoneout) => zoneout && zoneout.rate > 0),
        recurrentDropoutPerStep: layer.recurrentDropout.rate > 0 && layer.recurrentDropout.mode === 'element',
        initialState: op.inputs[input + 3] !== ABSENT,
        outputGradient: has(op.inputs, input + stackLayout.layerInputs),
        kernelGradient: has(op.outputs, gradient),
        recurrentKernelGradient: has(op.outputs, gradient + 1),
        biasGradient: has(op.outputs, gradient + 2),
      };
    }),
  };
}

/** Gradients of one layer's weights: products over all steps, the same on every rung (native/cuda/rnn_weights.cpp). */
export function weightGradients(prices: Prices, { steps, batch }: Stack, layer: StackLayer): Cost {
  const rows = steps * batch;
  const before = (layer.initialState ? steps : steps - 1) * batch;
  const { cell, units, width, inputSize } = layer;
  const parts: Cost[] = [];
  if (layer.kernelGradient) parts.push(prices.product(inputSize, width, rows));
  if (layer.recurrentKernelGradient && before > 0) {
    // Of a GRU the candidate's part is a product of its own.
    const columns = cell === 'gru' ? [2 * units, units] : [width];
    for (const n of columns) parts.push(prices.product(units, n, before));
    if (layer.recurrentDropout) parts.push(prices.pass(8 * before * units));
  }
  if (layer.biasGradient) parts.push(prices.pass(4 * rows * width));
  return plus(nothing, ...parts);
}
