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
 * Long short-term memory (Hochreiter & Schmidhuber, 1997) with the forget gate of Gers, Schmidhuber & Cummins (2000). With
 * u = x̃_t W + h̃ R + b, in gate order i f g o:
 *
 *     i = s(u_i)    f = s(u_f)    g = a(u_g)    o = s(u_o)
 *     c_t = f ⊙ c_{t−1} + i ⊙ g
 *     h_t = o ⊙ a(c_t)
 *
 * cellClip cuts c_t to −clip … clip (Sak, Senior & Beaufays, 2014): where it stands at a bound it has no gradient.
 * Peepholes (Gers & Schmidhuber, 2000): u_i and u_f have p_i ⊙ c_{t−1} and p_f ⊙ c_{t−1} added to them, u_o has p_o ⊙ c_t.
 * Coupled gates (Greff et al., 2017): i = 1 − f, so that u and its weights have the gates f g o alone.
 */
export const lstm: Cell = {
  forward({ H, W, R, b, a, s, cellClip, p, coupledGates }, { x, hMasked, cPrev }, { gates: u, h, extra: c }) {
    const [p_i, p_f, p_o] = coupledGates ? [undefined, ...p] : p;
    const [f_at, g_at, o_at] = places(H, coupledGates);
    addProduct(u, x, W);
    addProduct(u, hMasked, R);
    for (const row of b) addToRows(u, row);
    for (let n = 0; n < h.rows; n++) {
      for (let j = 0; j < H; j++) {
        const at = u.at(n) + j;
        const before = cPrev.data[cPrev.at(n) + j]!;
        if (p_i) u.data[at]! += p_i[j]! * before;
        if (p_f) u.data[at + f_at]! += p_f[j]! * before;
        const f = s.value(u.data[at + f_at]!);
        const i = coupledGates ? 1 - f : s.value(u.data[at]!);
        const g = a.value(u.data[at + g_at]!);
        const c_t = clipped(f * before + i * g, cellClip);
        if (p_o) u.data[at + o_at]! += p_o[j]! * c_t;
        const o = s.value(u.data[at + o_at]!);
        c.data[c.at(n) + j] = c_t;
        h.data[h.at(n) + j] = o * a.value(c_t);
      }
    }
  },

  // do = dh ⊙ a(c_t)    du_o = do ⊙ s′(u_o)
  // dc_t = dc (from step t+1) + dh ⊙ o ⊙ a′(c_t) + du_o ⊙ p_o, or 0 where c_t stands at a bound
  // di = dc_t ⊙ g    df = dc_t ⊙ c_{t−1}    dg = dc_t ⊙ i    du_k = dk ⊙ s′(u_k) for k = i, f    du_g = dg ⊙ a′(u_g)
  // dc_{t−1} = dc_t ⊙ f + du_i ⊙ p_i + du_f ⊙ p_f
  // Coupled: df = dc_t ⊙ (c_{t−1} − g), and there is no du_i.
  // dp_i = Σ du_i ⊙ c_{t−1}    dp_f = Σ du_f ⊙ c_{t−1}    dp_o = Σ du_o ⊙ c_t
  backward(
    { H, W, R, a, s, cellClip, p, coupledGates },
    { x, hMasked, cPrev },
    { gates: u, extra: c },
    { dh, dc, dhMasked, dx, dW, dR, db, dp },
  ) {
    const [p_i, p_f, p_o] = coupledGates ? [undefined, ...p] : p;
    const [dp_i, dp_f, dp_o] = coupledGates ? [undefined, ...dp] : dp;
    const [f_at, g_at, o_at] = places(H, coupledGates);
    const du = Matrix.zeros(u.rows, u.cols);
    for (let n = 0; n < u.rows; n++) {
      for (let j = 0; j < H; j++) {
        const at = u.at(n) + j;
        const [u_f, u_g, u_o] = [u.data[at + f_at]!, u.data[at + g_at]!, u.data[at + o_at]!];
        const [f, g, o] = [s.value(u_f), a.value(u_g), s.value(u_o)];
        const u_i = u.data[at]!;
        const i = coupledGates ? 1 - f : s.value(u_i);
        const before = cPrev.data[cPrev.at(n) + j]!;
        const c_t = c.data[c.at(n) + j]!;
        const a_c = a.value(c_t);
        const dh_t = dh.data[dh.at(n) + j]!;
        const du_o = dh_t * a_c * s.slope(u_o, o);
        const atBound = cellClip !== undefined && Math.abs(c_t) >= cellClip;
        const dc_t = atBound
          ? 0
          : dc.data[dc.at(n) + j]! + dh_t * o * a.slope(c_t, a_c) + (p_o ? du_o * p_o[j]! : 0);
        const du_i = coupledGates ? 0 : dc_t * g * s.slope(u_i, i);
        const du_f = dc_t * (coupledGates ? before - g : before) * s.slope(u_f, f);
        const to = du.at(n) + j;
        if (!coupledGates) du.data[to] = du_i;
        du.data[to + f_at] = du_f;
        du.data[to + g_at] = dc_t * i * a.slope(u_g, g);
        du.data[to + o_at] = du_o;
        dc.data[dc.at(n) + j] = dc_t * f + (p_i ? du_i * p_i[j]! : 0) + (p_f ? du_f * p_f[j]! : 0);
        if (dp_i) dp_i[j]! += du_i * before;
        if (dp_f) dp_f[j]! += du_f * before;
        if (dp_o) dp_o[j]! += du_o * c_t;
      }
    }
    addProductTransposed(dx, du, W);
    addProductTransposed(dhMasked, du, R);
    addTransposedProduct(dW, x, du);
    addTransposedProduct(dR, hMasked, du);
    for (const row of db) addSumOfRows(row, du);
  },
};

/** Where the gates f, g and o begin in a row of u; i, where there is one, at 0. */
function places(H: number, coupledGates: boolean): [f: number, g: number, o: number] {
  return coupledGates ? [0, H, 2 * H] : [H, 2 * H, 3 * H];
}

function clipped(c: number, limit: number | undefined): number {
  return limit === undefined ? c : Math.min(Math.max(c, -limit), limit);
}
