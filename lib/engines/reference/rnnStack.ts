import { type CellKind, gatesOf, reserveOf } from '../../plan/codes';
import { inputSizeOf, stackLayout, wholeOf } from '../../plan/ops/rnnStack';
import type { RnnLayerAttrs, RnnStackAttrs, ZoneoutAttrs } from '../../plan/types';
import { elementwise } from './activation';
import type { Cell, CellInputs, CellResults, CellWeights } from './cell';
import { dropoutMask } from './dropout';
import { gru } from './gru';
import { lstm } from './lstm';
import { Matrix } from './matrix';
import type { Ints, Kernel, Real } from './operands';
import { simpleRnn } from './simpleRnn';

/** A new cell is a file of its own and one row here. */
const cells: { readonly [K in CellKind]: Cell } = { simpleRnn, lstm, gru };

/** Per layer: kernel, recurrentKernel, bias?, h0?, c0?, peephole?. */
type LayerInputs = readonly (Real | undefined)[];

/** Layer l of a stack with all that stays the same over time. Sequences are [T·N, ·] in processing order. */
interface Layer {
  readonly cell: Cell;
  readonly weights: CellWeights;
  readonly D: number;
  readonly carriesC: boolean;
  readonly h0: Matrix;
  readonly c0: Matrix;
  /**
   * Dropout masks, of one step where they are shared over time: over the stored input, [T·N, D] or [N, D], and over the states before each
   * step in processing order, [T·N, H] or [N, H].
   */
  readonly inputMask: Float64Array;
  readonly recurrentMask: Float64Array;
  /** How much of h and of c a step makes anew, [T·N, H] in processing order: 1 or 0, or what that is on average. None: all of it. */
  readonly renewed: { readonly h: Float64Array | undefined; readonly c: Float64Array | undefined };
  /** Whether processing order is the reverse of the stored order of the input. */
  readonly backwards: boolean;
}

/** The results of a layer at every step, [T·N, ·], kept in `reserve`: first the gates, then h, then the extra part. */
type Trace = CellResults;

/**
 * Runs the layers one after another, each over all its steps. How an engine schedules a stack does not change what it
 * computes, so this one takes the plainest order.
 */
export const rnnStack: Kernel<
  'rnnStack',
  [step: Real, x: Real, valid: Ints | undefined, ...(Real | undefined)[]],
  (Real | undefined)[]
> = (attrs, inputs, outputs) => {
  const { steps: T, batch: N, layers } = attrs;
  const [step, x, valid] = inputs;
  const counts = validRows(attrs, valid);
  const reserve = outputs[0]?.data ?? new Float64Array(reserveSize(attrs));
  reserve.fill(0);
  const traces = splitReserve(attrs, reserve);
  const { processed, lies } = wholeOf(attrs);
  let below = new Matrix(x.data, T * N, attrs.inputSize, lies * N * attrs.inputSize);

  layers.forEach((_, l) => {
    const first = stackLayout.forwardInput(l);
    const layer = makeLayer(attrs, l, step.data[0]!, inputs.slice(first) as LayerInputs);
    const trace = traces[l]!;
    const xs = maskedInput(layer, below, T, N);
    for (let t = 0; t < T; t++) {
      const before = inputsAt(layer, xs, trace, t, N);
      const after = resultsAt(trace, t, N);
      layer.cell.forward(layer.weights, before, after);
      renew(after.h, before.hPrev, layer.renewed.h, t);
      renew(after.extra, before.cPrev, layer.renewed.c, t);
      for (let n = 0; n < N; n++) {
        if (counts(t, n)) continue;
        copyRow(after.h, before.hPrev, n);
        if (layer.carriesC) copyRow(after.extra, before.cPrev, n);
      }
    }
    const [y, hT, cT] = outputs.slice(stackLayout.forwardOutput(l));
    const end = resultsAt(trace, T - 1, N);
    const whole = l < layers.length - 1 || attrs.returnSequences;
    if (y) copyInto(whole ? y.data.subarray(processed * N * trace.h.cols) : y.data, whole ? trace.h : end.h);
    if (hT) copyInto(hT.data, end.h);
    if (cT) copyInto(cT.data, end.extra);
    below = trace.h;
  });
};

/**
 * Back-propagation through time (Werbos, 1990). Layers run from the top down; each one's dx is added to the gradient that
 * the loss sends to the sequence of the layer below.
 */
export const rnnStackGrad: Kernel<
  'rnnStackGrad',
  [step: Real, x: Real, valid: Ints | undefined, reserve: Real, ...(Real | undefined)[]],
  (Real | undefined)[]
> = (attrs, inputs, outputs) => {
  const { steps: T, batch: N, layers } = attrs;
  const [step, x, valid, reserve] = inputs;
  const counts = validRows(attrs, valid);
  const [dx, stepNorms] = outputs;
  const traces = splitReserve(attrs, reserve.data);
  const { whole, processed, lies } = wholeOf(attrs);
  let fromAbove: Matrix | undefined;

  for (let l = layers.length - 1; l >= 0; l--) {
    const first = stackLayout.gradInput(l);
    const layer = makeLayer(attrs, l, step.data[0]!, inputs.slice(first) as LayerInputs);
    const [dy, dhT, dcT] = inputs.slice(first + stackLayout.layerInputs) as LayerInputs;
    const { weights, D } = layer;
    const { H, W, R } = weights;
    const trace = traces[l]!;
    const below = l === 0 ? new Matrix(x.data, T * N, D, lies * N * D) : traces[l - 1]!.h;
    const xs = maskedInput(layer, below, T, N);

    const dhs = Matrix.zeros(T * N, H);
    if (fromAbove) addInto(dhs, fromAbove.data);
    const sequence = l < layers.length - 1 || attrs.returnSequences;
    if (dy && sequence) addInto(dhs, dy.data.subarray(processed * N * H));
    else if (dy) addInto(dhs.rowRange((T - 1) * N, N), dy.data);
    const dxs = Matrix.zeros(T * N, D);
    const dW = Matrix.zeros(D, W.cols);
    const dR = Matrix.zeros(H, R.cols);
    const db = weights.b.map((row) => new Float64Array(row.length));
    const dp = weights.p.map((row) => new Float64Array(row.length));
    const dhNext = Matrix.zeros(N, H);
    const dc = Matrix.zeros(N, H);
    if (dhT) addInto(dhNext, dhT.data);
    if (dcT) addInto(dc, dcT.data);

    for (let t = T - 1; t >= 0; t--) {
      const dh = dhs.rowRange(t * N, N);
      addInto(dh, dhNext.data);
      if (stepNorms) stepNorms.data[l * whole + processed + t] = norm(dh);
      const recurrentMask = recurrentMaskAt(layer, t, N);
      const dhPrev = Matrix.zeros(N, H);
      const dhMasked = Matrix.zeros(N, H);
      // What reaches a step that does not count passes it by, and is nothing to its cell.
      const passed = Matrix.zeros(N, H);
      const dcPassed = Matrix.zeros(N, H);
      for (let n = 0; n < N; n++) {
        if (counts(t, n)) continue;
        moveRow(passed, dh, n);
        moveRow(dcPassed, dc, n);
      }
      keepPart(dh, passed, layer.renewed.h, t);
      keepPart(dc, dcPassed, layer.renewed.c, t);
      const gradients = { dh, dc, dhPrev, dhMasked, dx: dxs.rowRange(t * N, N), dW, dR, db, dp };
      const before = inputsAt(layer, xs, trace, t, N);
      layer.cell.backward(weights, before, madeAt(layer, before, trace, t, N), gradients);
      for (let i = 0; i < N * H; i++) {
        dhNext.data[i] = passed.data[i]! + dhPrev.data[i]! + dhMasked.data[i]! * recurrentMask[i]!;
        dc.data[i]! += dcPassed.data[i]!;
      }
    }

    const [dKernel, dRecurrentKernel, dBias, dh0, dc0, dPeephole] = outputs.slice(stackLayout.gradOutput(l));
    if (dKernel) copyInto(dKernel.data, dW);
    if (dRecurrentKernel) copyInto(dRecurrentKernel.data, dR);
    db.forEach((row, k) => {
      dBias?.data.set(row, k * row.length);
    });
    dp.forEach((row, k) => {
      dPeephole?.data.set(row, k * row.length);
    });
    if (dh0) copyInto(dh0.data, dhNext);
    if (dc0) copyInto(dc0.data, dc);
    // The mask is the same going back, and reversing time twice restores the stored order.
    fromAbove = timesInputMask(layer, layer.backwards ? reversed(dxs, T, N) : dxs);
  }
  if (dx && fromAbove) copyInto(dx.data.subarray(lies * N * attrs.inputSize), fromAbove);
};

function reserveSize({ steps, batch, layers }: RnnStackAttrs): number {
  return layers.reduce((sum, layer) => sum + steps * batch * layer.units * reserveOf(layer), 0);
}

function splitReserve({ steps, batch, layers }: RnnStackAttrs, reserve: Float64Array): Trace[] {
  const rows = steps * batch;
  let offset = 0;
  const take = (cols: number) => {
    const part = new Matrix(reserve, rows, cols, offset);
    offset += rows * cols;
    return part;
  };
  return layers.map((layer) => {
    const { units } = layer;
    const gates = gatesOf(layer);
    return {
      gates: take(gates * units),
      h: take(units),
      extra: take(layer.cell === 'simpleRnn' ? 0 : units),
    };
  });
}

function makeLayer(stack: RnnStackAttrs, l: number, step: number, inputs: LayerInputs): Layer {
  const attrs = stack.layers[l]!;
  const { units: H, resetAfter, cellClip, inputDropout, recurrentDropout } = attrs;
  const { steps: T, batch: N, seed } = stack;
  const D = inputSizeOf(stack, l);
  const [kernel, recurrentKernel, bias, h0, c0, peephole] = inputs as [Real, Real, ...(Real | undefined)[]];
  const width = gatesOf(attrs) * H;
  const rowsOf = (weights: Real | undefined, length: number) =>
    Array.from({ length: weights ? weights.data.length / length : 0 }, (_, k) =>
      (weights as Real).data.subarray(k * length, (k + 1) * length),
    );
  const { processed, lies } = wholeOf(stack);
  const perElement = inputDropout.mode === 'element';
  // Numbered as over the whole sequence.
  const firstRow = perElement ? (l === 0 ? lies : processed) * N : 0;
  return {
    cell: cells[attrs.cell],
    weights: {
      H,
      W: new Matrix(kernel.data, D, width),
      R: new Matrix(recurrentKernel.data, H, width),
      b: rowsOf(bias, width),
      a: elementwise(attrs.activation),
      s: elementwise(attrs.recurrentActivation),
      resetAfter,
      cellClip,
      p: rowsOf(peephole, H),
      coupledGates: attrs.coupledGates ?? false,
    },
    D,
    carriesC: attrs.cell === 'lstm',
    h0: h0 ? new Matrix(h0.data, N, H) : Matrix.zeros(N, H),
    c0: c0 ? new Matrix(c0.data, N, H) : Matrix.zeros(N, H),
    inputMask: dropoutMask({ ...inputDropout, seed, step }, (perElement ? T * N : N) * D, firstRow * D),
    recurrentMask:
      recurrentDropout.mode === 'element'
        ? dropoutMask({ ...recurrentDropout, seed, step }, T * N * H, processed * N * H)
        : dropoutMask({ ...recurrentDropout, seed, step }, N * H),
    renewed: {
      h: renewedShares(stack, attrs, attrs.zoneout, step),
      c: renewedShares(stack, attrs, attrs.cellZoneout, step),
    },
    backwards: l === 0 && stack.goBackwards,
  };
}

/** x̃ in processing order, from the input in stored order. */
function maskedInput(layer: Layer, stored: Matrix, T: number, N: number): Matrix {
  const masked = timesInputMask(layer, stored);
  return layer.backwards ? reversed(masked, T, N) : masked;
}

/** The input, or its gradient, in stored order, times the input mask. */
function timesInputMask({ inputMask }: Layer, { data, offset, rows, cols }: Matrix): Matrix {
  const product = Matrix.zeros(rows, cols);
  for (let i = 0; i < product.data.length; i++) {
    product.data[i] = data[offset + i]! * inputMask[i % inputMask.length]!;
  }
  return product;
}

/** The sequence with its last step first. */
function reversed(sequence: Matrix, T: number, N: number): Matrix {
  const result = Matrix.zeros(T * N, sequence.cols);
  for (let t = 0; t < T; t++) {
    const from = sequence.at((T - 1 - t) * N);
    addInto(result.rowRange(t * N, N), sequence.data.subarray(from, from + N * sequence.cols));
  }
  return result;
}

function inputsAt(layer: Layer, xs: Matrix, trace: Trace, t: number, N: number): CellInputs {
  const before = t > 0 ? resultsAt(trace, t - 1, N) : { h: layer.h0, extra: layer.c0 };
  const hMasked = Matrix.zeros(N, layer.weights.H);
  addInto(hMasked, before.h.data.subarray(before.h.offset));
  const mask = recurrentMaskAt(layer, t, N);
  for (let i = 0; i < hMasked.data.length; i++) hMasked.data[i]! *= mask[i]!;
  return { x: xs.rowRange(t * N, N), hPrev: before.h, hMasked, cPrev: before.extra };
}

/** The mask [N, H] of the state before step t. */
function recurrentMaskAt({ recurrentMask, weights: { H } }: Layer, t: number, N: number): Float64Array {
  const size = N * H;
  return recurrentMask.length === size ? recurrentMask : recurrentMask.subarray(t * size, (t + 1) * size);
}

/** 0 where a unit keeps its state, by the draws of docs/plan.md, and 1 elsewhere. */
function renewedShares(
  stack: RnnStackAttrs,
  { units, zoneoutExpected }: RnnLayerAttrs,
  zoneout: ZoneoutAttrs | undefined,
  step: number,
): Float64Array | undefined {
  if (!zoneout || zoneout.rate === 0) return undefined;
  const { steps, batch, seed } = stack;
  const count = steps * batch * units;
  if (zoneoutExpected) return new Float64Array(count).fill(1 - zoneout.rate);
  const first = wholeOf(stack).processed * batch * units;
  return dropoutMask({ ...zoneout, seed, step }, count, first).map((factor) => (factor === 0 ? 0 : 1));
}

/** Zoneout (Krueger et al., 2017): s_t = k ⊙ s_t + (1 − k) ⊙ s_{t−1}, k the share that is made anew. */
function renew(state: Matrix, before: Matrix, share: Float64Array | undefined, t: number): void {
  const size = state.rows * state.cols;
  for (let i = 0; share && i < size; i++) {
    const k = share[t * size + i]!;
    state.data[state.offset + i] =
      k * state.data[state.offset + i]! + (1 - k) * before.data[before.offset + i]!;
  }
}

/** Its gradient: (1 − k) ⊙ ds goes to s_{t−1} and is added to `kept`, k ⊙ ds stays for the cell. */
function keepPart(ds: Matrix, kept: Matrix, share: Float64Array | undefined, t: number): void {
  const size = ds.rows * ds.cols;
  for (let i = 0; share && i < size; i++) {
    const k = share[t * size + i]!;
    kept.data[kept.offset + i]! += (1 - k) * ds.data[ds.offset + i]!;
    ds.data[ds.offset + i]! *= k;
  }
}

/** What the cell made of step t: under zoneout not what became of it, so it is made again. */
function madeAt(layer: Layer, before: CellInputs, trace: Trace, t: number, N: number): CellResults {
  const kept = resultsAt(trace, t, N);
  if (!layer.renewed.h && !layer.renewed.c) return kept;
  const made = {
    gates: Matrix.zeros(N, kept.gates.cols),
    h: Matrix.zeros(N, kept.h.cols),
    extra: Matrix.zeros(N, kept.extra.cols),
  };
  layer.cell.forward(layer.weights, before, made);
  return made;
}

function resultsAt({ gates, h, extra }: Trace, t: number, N: number): CellResults {
  return { gates: gates.rowRange(t * N, N), h: h.rowRange(t * N, N), extra: extra.rowRange(t * N, N) };
}

/** Whether row n counts at processing step t. */
function validRows(attrs: RnnStackAttrs, valid: Ints | undefined) {
  const { steps: T, batch: N, goBackwards } = attrs;
  const { lies } = wholeOf(attrs);
  return (t: number, n: number) => valid?.data[(lies + (goBackwards ? T - 1 - t : t)) * N + n] !== 0;
}

function copyRow(to: Matrix, from: Matrix, n: number): void {
  to.data.set(from.data.subarray(from.at(n), from.at(n) + from.cols), to.at(n));
}

/** The row goes over and leaves zeros behind. */
function moveRow(to: Matrix, from: Matrix, n: number): void {
  copyRow(to, from, n);
  from.data.fill(0, from.at(n), from.at(n) + from.cols);
}

/** All matrices here are dense: their elements lie one after another. */
function addInto(to: Matrix, from: Float64Array): void {
  for (let i = 0; i < to.rows * to.cols; i++) to.data[to.offset + i]! += from[i]!;
}

function copyInto(to: Float64Array, from: Matrix): void {
  to.set(from.data.subarray(from.offset, from.offset + from.rows * from.cols));
}

function norm({ data, offset, rows, cols }: Matrix): number {
  let squares = 0;
  for (const v of data.subarray(offset, offset + rows * cols)) squares += v * v;
  return Math.sqrt(squares);
}
