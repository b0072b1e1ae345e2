/** A rectangle inside a row-major array: element (r, c) is `data[offset + r·stride + c]`. Views share their memory. */
export class Matrix {
  constructor(
    readonly data: Float64Array,
    readonly rows: number,
    readonly cols: number,
    readonly offset = 0,
    readonly stride = cols,
  ) {}

  static zeros(rows: number, cols: number): Matrix {
    return new Matrix(new Float64Array(rows * cols), rows, cols);
  }

  /** A view of `count` rows. For a sequence [T·N, D], `rowRange(t * N, N)` is step t. */
  rowRange(first: number, count: number): Matrix {
    return new Matrix(this.data, count, this.cols, this.offset + first * this.stride, this.stride);
  }

  /** A view of `count` columns. For gates [N, G·H], `colRange(k * H, H)` is gate k. */
  colRange(first: number, count: number): Matrix {
    return new Matrix(this.data, this.rows, count, this.offset + first, this.stride);
  }

  /** Where row r begins. */
  at(r: number): number {
    return this.offset + r * this.stride;
  }
}

/** Y ← Y + A·B, with A [R, K], B [K, C]. */
export function addProduct(Y: Matrix, A: Matrix, B: Matrix): void {
  for (let r = 0; r < A.rows; r++) {
    for (let k = 0; k < A.cols; k++) addScaledRow(Y, r, A.data[A.at(r) + k]!, B, k);
  }
}

/** Y ← Y + A·Bᵀ, with A [R, C], B [K, C]: how the gradient of a product reaches its left factor. */
export function addProductTransposed(Y: Matrix, A: Matrix, B: Matrix): void {
  for (let r = 0; r < A.rows; r++) {
    for (let k = 0; k < B.rows; k++) Y.data[Y.at(r) + k]! += dotRows(A, r, B, k);
  }
}

/** Y ← Y + Aᵀ·B, with A [R, K], B [R, C]: how the gradient of a product reaches its right factor. */
export function addTransposedProduct(Y: Matrix, A: Matrix, B: Matrix): void {
  for (let r = 0; r < A.rows; r++) {
    for (let k = 0; k < A.cols; k++) addScaledRow(Y, k, A.data[A.at(r) + k]!, B, r);
  }
}

/** Row i of Y ← row i of Y + a · row j of B. */
function addScaledRow(Y: Matrix, i: number, a: number, B: Matrix, j: number): void {
  const [y, b, atY, atB, C] = [Y.data, B.data, Y.at(i), B.at(j), B.cols];
  for (let c = 0; c < C; c++) y[atY + c]! += a * b[atB + c]!;
}

/** Row i of A · row j of B. */
function dotRows(A: Matrix, i: number, B: Matrix, j: number): number {
  const [a, b, atA, atB, C] = [A.data, B.data, A.at(i), B.at(j), A.cols];
  let sum = 0;
  for (let c = 0; c < C; c++) sum += a[atA + c]! * b[atB + c]!;
  return sum;
}

/** Adds the vector `row` [C] to every row of Y [R, C]. */
export function addToRows(Y: Matrix, row: Float64Array): void {
  for (let r = 0; r < Y.rows; r++) {
    for (let c = 0; c < Y.cols; c++) Y.data[Y.at(r) + c]! += row[c]!;
  }
}

/** sum [C] ← sum + Σ_r A[r]. */
export function addSumOfRows(sum: Float64Array, A: Matrix): void {
  for (let r = 0; r < A.rows; r++) {
    for (let c = 0; c < A.cols; c++) sum[c]! += A.data[A.at(r) + c]!;
  }
}
