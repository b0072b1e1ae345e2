import type { Activation } from './activation';
import type { Matrix } from './matrix';

/*
 * The letters of the recurrent layers. N rows, D inputs, H units, G gates side by side in [·, G·H]:
 *   x̃_t [N, D]      the input of step t, times its dropout mask
 *   h_t, c_t [N, H]  the state and the LSTM's cell state after step t
 *   h̃ [N, H]        h_{t−1} times the recurrent dropout mask: what enters products with R
 *   W [D, G·H], R [H, G·H], b [G·H]
 * A name with d in front is the gradient of the loss with respect to it.
 */

/** A layer's weights and functions, the same at every step. */
export interface CellWeights {
  readonly H: number;
  readonly W: Matrix;
  readonly R: Matrix;
  /** One row of bias; two for a GRU with resetAfter; none without bias. */
  readonly b: readonly Float64Array[];
  /** a: the activation of candidates and outputs. */
  readonly a: Activation;
  /** s: the activation of gates. */
  readonly s: Activation;
  readonly resetAfter: boolean;
  /** LSTM: bound of the cell state's size, or undefined. */
  readonly cellClip: number | undefined;
  /** LSTM: peephole weights [H] of the gates i, f, o (coupled: f, o), or none. */
  readonly p: readonly Float64Array[];
  /** LSTM: i = 1 − f; there is no gate i. */
  readonly coupledGates: boolean;
}

export interface CellInputs {
  readonly x: Matrix;
  readonly hPrev: Matrix;
  readonly hMasked: Matrix;
  readonly cPrev: Matrix;
}

/** What a step leaves behind for the next step and for the backward pass. */
export interface CellResults {
  /** Pre-activations of all gates, [N, G·H]. */
  readonly gates: Matrix;
  readonly h: Matrix;
  /** LSTM: c_t. GRU: q, the recurrent factor of the candidate. SimpleRNN: not there, no columns. */
  readonly extra: Matrix;
}

/** What flows back through a step. */
export interface CellGradients {
  /** In: the whole gradient that reaches h_t. */
  readonly dh: Matrix;
  /** In: the gradient that reaches c_t from step t+1. Out: that of c_{t−1}. LSTM only. */
  readonly dc: Matrix;
  /** Out, zero before: what reaches h_{t−1} outside the products with R, then through them. */
  readonly dhPrev: Matrix;
  readonly dhMasked: Matrix;
  /** Out, zero before. */
  readonly dx: Matrix;
  /** Sums over all steps. */
  readonly dW: Matrix;
  readonly dR: Matrix;
  readonly db: readonly Float64Array[];
  readonly dp: readonly Float64Array[];
}

/** One kind of recurrent layer at one step. `forward` fills its results, which are zero before. */
export interface Cell {
  forward(weights: CellWeights, inputs: CellInputs, results: CellResults): void;
  backward(weights: CellWeights, inputs: CellInputs, results: CellResults, gradients: CellGradients): void;
}
