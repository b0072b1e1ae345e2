import {
  addProduct,
  addProductTransposed,
  addSumOfRows,
  addToRows,
  addTransposedProduct,
  Matrix,
} from './matrix';
import { type Kernel, type Real, rowsOf, widthOf } from './operands';

const asRows = (v: Real) => new Matrix(v.data, rowsOf(v), widthOf(v));

/** y = x W + b, with x [R, D], W [D, U], b [U]; transposed: y = x Wᵀ + b, W [U, D]. */
export const dense: Kernel<'dense', [x: Real, W: Real, b: Real | undefined], [y: Real]> = (
  { transposed },
  [x, W, b],
  [y],
) => {
  y.data.fill(0);
  if (transposed) addProductTransposed(asRows(y), asRows(x), asRows(W));
  else addProduct(asRows(y), asRows(x), asRows(W));
  if (b) addToRows(asRows(y), b.data);
};

/** dx = dy Wᵀ, dW = xᵀ dy, db = Σ_r dy; transposed: dx = dy W, dW = dyᵀ x. */
export const denseGrad: Kernel<
  'denseGrad',
  [x: Real, W: Real, dy: Real],
  [dx: Real | undefined, dW: Real | undefined, db: Real | undefined]
> = ({ transposed }, [x, W, dy], [dx, dW, db]) => {
  for (const gradient of [dx, dW, db]) gradient?.data.fill(0);
  if (transposed) {
    if (dx) addProduct(asRows(dx), asRows(dy), asRows(W));
    if (dW) addTransposedProduct(asRows(dW), asRows(dy), asRows(x));
  } else {
    if (dx) addProductTransposed(asRows(dx), asRows(dy), asRows(W));
    if (dW) addTransposedProduct(asRows(dW), asRows(x), asRows(dy));
  }
  if (db) addSumOfRows(db.data, asRows(dy));
};
