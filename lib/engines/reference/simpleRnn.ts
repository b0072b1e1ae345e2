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
 * The simple recurrent network of Elman, "Finding structure in time" (1990):
 *
 *     u_t = x̃_t W + h̃ R + b
 *     h_t = a(u_t)
 */
export const simpleRnn: Cell = {
  forward({ W, R, b, a }, { x, hMasked }, { gates: u, h }) {
    addProduct(u, x, W);
    addProduct(u, hMasked, R);
    for (const row of b) addToRows(u, row);
    for (let n = 0; n < h.rows; n++) {
      for (let j = 0; j < h.cols; j++) h.data[h.at(n) + j] = a.value(u.data[u.at(n) + j]!);
    }
  },

  // du = dh ⊙ a′(u)
  backward({ W, R, a }, { x, hMasked }, { gates: u, h }, { dh, dhMasked, dx, dW, dR, db }) {
    const du = Matrix.zeros(h.rows, h.cols);
    for (let n = 0; n < h.rows; n++) {
      for (let j = 0; j < h.cols; j++) {
        const slope = a.slope(u.data[u.at(n) + j]!, h.data[h.at(n) + j]!);
        du.data[du.at(n) + j] = dh.data[dh.at(n) + j]! * slope;
      }
    }
    addProductTransposed(dx, du, W);
    addProductTransposed(dhMasked, du, R);
    addTransposedProduct(dW, x, du);
    addTransposedProduct(dR, hMasked, du);
    for (const row of db) addSumOfRows(row, du);
  },
};
