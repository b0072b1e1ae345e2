import type { Cell } from './cell';
import {
  addProduct,
  addProductTransposed,
  addSumOfRows,
  addToRows,
  addTransposedProduct,
  Matrix,
} from './matrix';

/**
 * Long short-term memory (Hochreiter & Schmidhuber, 1997) with the forget gate of Gers, Schmidhuber & Cummins (2000), no
 * peepholes. With u = x̃_t W + h̃ R + b, in gate order i f g o:
 *
 *     i = s(u_i)    f = s(u_f)    g = a(u_g)    o = s(u_o)
 *     c_t = f ⊙ c_{t−1} + i ⊙ g
 *     h_t = o ⊙ a(c_t)
 *
 * cellClip cuts c_t to −clip … clip (Sak, Senior & Beaufays, 2014): where it stands at a bound it has no gradient.
 */
export const lstm: Cell = {
  forward({ H, W, R, b, a, s, cellClip }, { x, hMasked, cPrev }, { gates: u, h, extra: c }) {
    addProduct(u, x, W);
    addProduct(u, hMasked, R);
    for (const row of b) addToRows(u, row);
    for (let n = 0; n < h.rows; n++) {
      for (let j = 0; j < H; j++) {
        const at = u.at(n) + j;
        const i = s.value(u.data[at]!);
        const f = s.value(u.data[at + H]!);
        const g = a.value(u.data[at + 2 * H]!);
        const o = s.value(u.data[at + 3 * H]!);
        const c_t = clipped(f * cPrev.data[cPrev.at(n) + j]! + i * g, cellClip);
        c.data[c.at(n) + j] = c_t;
        h.data[h.at(n) + j] = o * a.value(c_t);
      }
    }
  },

  // dc_t = dc (from step t+1) + dh ⊙ o ⊙ a′(c_t), or 0 where c_t stands at a bound
  // do = dh ⊙ a(c_t)    di = dc_t ⊙ g    dg = dc_t ⊙ i    df = dc_t ⊙ c_{t−1}    dc_{t−1} = dc_t ⊙ f
  // du_k = dk ⊙ s′(u_k) for the gates k = i, f, o;    du_g = dg ⊙ a′(u_g)
  backward(
    { H, W, R, a, s, cellClip },
    { x, hMasked, cPrev },
    { gates: u, extra: c },
    { dh, dc, dhMasked, dx, dW, dR, db },
  ) {
    const du = Matrix.zeros(u.rows, u.cols);
    for (let n = 0; n < u.rows; n++) {
      for (let j = 0; j < H; j++) {
        const at = u.at(n) + j;
        const [u_i, u_f, u_g, u_o] = [u.data[at]!, u.data[at + H]!, u.data[at + 2 * H]!, u.data[at + 3 * H]!];
        const [i, f, g, o] = [s.value(u_i), s.value(u_f), a.value(u_g), s.value(u_o)];
        const c_t = c.data[c.at(n) + j]!;
        const a_c = a.value(c_t);
        const dh_t = dh.data[dh.at(n) + j]!;
        const atBound = cellClip !== undefined && Math.abs(c_t) >= cellClip;
        const dc_t = atBound ? 0 : dc.data[dc.at(n) + j]! + dh_t * o * a.slope(c_t, a_c);
        const to = du.at(n) + j;
        du.data[to] = dc_t * g * s.slope(u_i, i);
        du.data[to + H] = dc_t * cPrev.data[cPrev.at(n) + j]! * s.slope(u_f, f);
        du.data[to + 2 * H] = dc_t * i * a.slope(u_g, g);
        du.data[to + 3 * H] = dh_t * a_c * s.slope(u_o, o);
        dc.data[dc.at(n) + j] = dc_t * f;
      }
    }
    addProductTransposed(dx, du, W);
    addProductTransposed(dhMasked, du, R);
    addTransposedProduct(dW, x, du);
    addTransposedProduct(dR, hMasked, du);
    for (const row of db) addSumOfRows(row, du);
  },
};

function clipped(c: number, limit: number | undefined): number {
  return limit === undefined ? c : Math.min(Math.max(c, -limit), limit);
}
