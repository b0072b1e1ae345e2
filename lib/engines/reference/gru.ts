import type { Cell, CellGradients, CellInputs, CellResults, CellWeights } from './cell';
import {
  addProduct,
  addProductTransposed,
  addSumOfRows,
  addToRows,
  addTransposedProduct,
  Matrix,
} from './matrix';

/**
 * The gated recurrent unit of Cho et al. (2014), where the new state keeps z of the old one. In gate order r z n:
 *
 *     r = s(u_r)    z = s(u_z)    n = a(u_n)    h_t = z ⊙ h_{t−1} + (1 − z) ⊙ n
 *
 * resetAfter = 0, as in the paper:            u_k = x̃ W_k + h̃ R_k + b_k for k = r, z
 *                                             u_n = x̃ W_n + q R_n + b_n,    q = r ⊙ h̃
 * resetAfter = 1, as cuDNN and PyTorch do:    u_k = x̃ W_k + b_k + h̃ R_k + b′_k for k = r, z
 *                                             u_n = x̃ W_n + b_n + r ⊙ q,    q = h̃ R_n + b′_n
 */
export const gru: Cell = {
  forward(weights, inputs, results) {
    const { H, W, R, b, a, s, resetAfter } = weights;
    const { x, hPrev, hMasked } = inputs;
    const { gates: u, h, extra: q } = results;
    addProduct(u, x, W);
    if (b[0]) addToRows(u, b[0]);
    addProduct(u.colRange(0, 2 * H), hMasked, R.colRange(0, 2 * H));
    if (resetAfter) {
      if (b[1]) addToRows(u.colRange(0, 2 * H), b[1]);
      addProduct(q, hMasked, R.colRange(2 * H, H));
      if (b[1]) addToRows(q, b[1].subarray(2 * H));
    }
    for (let n = 0; n < h.rows; n++) {
      for (let j = 0; j < H; j++) {
        const r = s.value(u.data[u.at(n) + j]!);
        if (resetAfter) u.data[u.at(n) + 2 * H + j]! += r * q.data[q.at(n) + j]!;
        else q.data[q.at(n) + j] = r * hMasked.data[hMasked.at(n) + j]!;
      }
    }
    if (!resetAfter) addProduct(u.colRange(2 * H, H), q, R.colRange(2 * H, H));
    for (let n = 0; n < h.rows; n++) {
      for (let j = 0; j < H; j++) {
        const z = s.value(u.data[u.at(n) + H + j]!);
        const candidate = a.value(u.data[u.at(n) + 2 * H + j]!);
        h.data[h.at(n) + j] = z * hPrev.data[hPrev.at(n) + j]! + (1 - z) * candidate;
      }
    }
  },

  backward(weights, inputs, results, gradients) {
    const { H, W } = weights;
    const du = Matrix.zeros(results.gates.rows, 3 * H);
    mixGradients(weights, inputs, results, gradients, du);
    if (weights.resetAfter) resetAfterGradients(weights, inputs, results, gradients, du);
    else resetBeforeGradients(weights, inputs, results, gradients, du);
    addProductTransposed(gradients.dx, du, W);
    addTransposedProduct(gradients.dW, inputs.x, du);
    if (gradients.db[0]) addSumOfRows(gradients.db[0], du);
  },
};

// du_z = dh ⊙ (h_{t−1} − n) ⊙ s′(u_z)    du_n = dh ⊙ (1 − z) ⊙ a′(u_n)    dh_{t−1} = dh ⊙ z + …
function mixGradients(
  { H, a, s }: CellWeights,
  { hPrev }: CellInputs,
  { gates: u }: CellResults,
  { dh, dhPrev }: CellGradients,
  du: Matrix,
): void {
  for (let n = 0; n < u.rows; n++) {
    for (let j = 0; j < H; j++) {
      const [u_z, u_n] = [u.data[u.at(n) + H + j]!, u.data[u.at(n) + 2 * H + j]!];
      const [z, candidate] = [s.value(u_z), a.value(u_n)];
      const dh_t = dh.data[dh.at(n) + j]!;
      du.data[du.at(n) + H + j] = dh_t * (hPrev.data[hPrev.at(n) + j]! - candidate) * s.slope(u_z, z);
      du.data[du.at(n) + 2 * H + j] = dh_t * (1 - z) * a.slope(u_n, candidate);
      dhPrev.data[dhPrev.at(n) + j]! += dh_t * z;
    }
  }
}

// dr = du_n ⊙ q    dq = du_n ⊙ r    du_r = dr ⊙ s′(u_r)
// What the products with R see is v = [du_r, du_z, dq]: dh̃ = v Rᵀ, dR = h̃ᵀ v, db′ = Σ v.
function resetAfterGradients(
  { H, R, s }: CellWeights,
  { hMasked }: CellInputs,
  { gates: u, extra: q }: CellResults,
  { dhMasked, dR, db }: CellGradients,
  du: Matrix,
): void {
  const v = Matrix.zeros(u.rows, 3 * H);
  for (let n = 0; n < u.rows; n++) {
    for (let j = 0; j < H; j++) {
      const u_r = u.data[u.at(n) + j]!;
      const r = s.value(u_r);
      const du_n = du.data[du.at(n) + 2 * H + j]!;
      const du_r = du_n * q.data[q.at(n) + j]! * s.slope(u_r, r);
      du.data[du.at(n) + j] = du_r;
      v.data[v.at(n) + j] = du_r;
      v.data[v.at(n) + H + j] = du.data[du.at(n) + H + j]!;
      v.data[v.at(n) + 2 * H + j] = du_n * r;
    }
  }
  addProductTransposed(dhMasked, v, R);
  addTransposedProduct(dR, hMasked, v);
  if (db[1]) addSumOfRows(db[1], v);
}

// dq = du_n R_nᵀ    dR_n = qᵀ du_n    dr = dq ⊙ h̃    dh̃ = dq ⊙ r + du_r R_rᵀ + du_z R_zᵀ    du_r = dr ⊙ s′(u_r)
function resetBeforeGradients(
  { H, R, s }: CellWeights,
  { hMasked }: CellInputs,
  { gates: u, extra: q }: CellResults,
  { dhMasked, dR }: CellGradients,
  du: Matrix,
): void {
  const dq = Matrix.zeros(u.rows, H);
  addProductTransposed(dq, du.colRange(2 * H, H), R.colRange(2 * H, H));
  addTransposedProduct(dR.colRange(2 * H, H), q, du.colRange(2 * H, H));
  for (let n = 0; n < u.rows; n++) {
    for (let j = 0; j < H; j++) {
      const u_r = u.data[u.at(n) + j]!;
      const r = s.value(u_r);
      const dq_j = dq.data[dq.at(n) + j]!;
      du.data[du.at(n) + j] = dq_j * hMasked.data[hMasked.at(n) + j]! * s.slope(u_r, r);
      dhMasked.data[dhMasked.at(n) + j]! += dq_j * r;
    }
  }
  addProductTransposed(dhMasked, du.colRange(0, 2 * H), R.colRange(0, 2 * H));
  addTransposedProduct(dR.colRange(0, 2 * H), hMasked, du.colRange(0, 2 * H));
}
