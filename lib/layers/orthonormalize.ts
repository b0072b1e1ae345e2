/** Rows that are made orthogonal to all before them at once, so that each of those is read from memory once per panel. */
const PANEL = 32;
/** Elements of a row that are worked on while a panel's pieces of that length stay in the cache. */
const PIECE = 1024;
/** Rows of both factors that a kernel takes at once. */
const TILE = 4;
/**
 * A row that keeps less than this share of its length has lost digits to cancellation and is projected a second time, which
 * is enough (Giraud et al., "The loss of orthogonality in the Gram–Schmidt orthogonalization process", 2005).
 */
const ENOUGH = Math.SQRT1_2;

/** Rows beside each other, padded with rows of zeros to a multiple of {@link TILE}. */
interface Rows {
  readonly data: Float64Array;
  readonly length: number;
}

/** Room for `count` rows of `length` numbers. */
export function paddedRows(count: number, length: number): Float64Array {
  return new Float64Array(Math.ceil(count / TILE) * TILE * length);
}

/**
 * Makes the first `count` rows of `data` (from {@link paddedRows}, at most `length` of them) orthonormal by Gram–Schmidt, panel by
 * panel. The implied triangular factor has a positive diagonal.
 */
export function orthonormalize(data: Float64Array, count: number, length: number): void {
  const rows: Rows = { data, length };
  const products = new Float64Array(PANEL * count);
  for (let begin = 0; begin < count; begin += PANEL) {
    const end = Math.min(begin + PANEL, count);
    const before = Array.from({ length: end - begin }, (_, i) => norm(rows, begin + i));
    if (begin > 0) {
      projectPanel(rows, begin, end, products);
      const cancelled = before.some((n, i) => norm(rows, begin + i) < ENOUGH * n);
      if (cancelled) projectPanel(rows, begin, end, products);
    }
    for (let row = begin; row < end; row++) {
      const whole = norm(rows, row);
      projectRow(rows, row, begin);
      if (norm(rows, row) < ENOUGH * whole) projectRow(rows, row, 0);
      scale(rows, row, 1 / norm(rows, row));
    }
  }
}

function norm({ data, length }: Rows, row: number): number {
  let sum = 0;
  for (let j = row * length, end = j + length; j < end; j++) sum += (data[j] as number) * (data[j] as number);
  return Math.sqrt(sum);
}

function scale({ data, length }: Rows, row: number, factor: number): void {
  for (let j = row * length, end = j + length; j < end; j++) data[j] = (data[j] as number) * factor;
}

/** Takes out of one row what lies along rows `first` … `row` − 1, one after another. */
function projectRow({ data, length }: Rows, row: number, first: number): void {
  const begin = row * length;
  for (let k = first; k < row; k++) {
    const q = k * length;
    let dot = 0;
    for (let j = 0; j < length; j++) dot += (data[begin + j] as number) * (data[q + j] as number);
    for (let j = 0; j < length; j++)
      data[begin + j] = (data[begin + j] as number) - dot * (data[q + j] as number);
  }
}

/** Takes out of rows `begin` … `end` − 1 what lies along all rows before them. */
function projectPanel(rows: Rows, begin: number, end: number, products: Float64Array): void {
  const { length } = rows;
  products.fill(0);
  for (let from = 0; from < length; from += PIECE)
    addProducts(rows, begin, end, products, from, Math.min(from + PIECE, length));
  for (let from = 0; from < length; from += PIECE)
    subtract(rows, begin, end, products, from, Math.min(from + PIECE, length));
}

/** `products[p·begin + q] += ⟨row begin+p, row q⟩` over elements `from` … `to` − 1, four rows of the panel by two before it. */
function addProducts(
  { data, length }: Rows,
  begin: number,
  end: number,
  products: Float64Array,
  from: number,
  to: number,
): void {
  for (let p = 0; p < end - begin; p += TILE) {
    for (let q = 0; q < begin; q += 2) {
      let [p0, q0] = [(begin + p) * length + from, q * length + from];
      let [p1, p2, p3, q1] = [p0 + length, p0 + 2 * length, p0 + 3 * length, q0 + length];
      let s00 = 0;
      let s01 = 0;
      let s10 = 0;
      let s11 = 0;
      let s20 = 0;
      let s21 = 0;
      let s30 = 0;
      let s31 = 0;
      for (let j = from; j < to; j++) {
        const a = data[q0++] as number;
        const b = data[q1++] as number;
        let v = data[p0++] as number;
        s00 += v * a;
        s01 += v * b;
        v = data[p1++] as number;
        s10 += v * a;
        s11 += v * b;
        v = data[p2++] as number;
        s20 += v * a;
        s21 += v * b;
        v = data[p3++] as number;
        s30 += v * a;
        s31 += v * b;
      }
      [s00, s01, s10, s11, s20, s21, s30, s31].forEach((sum, i) => {
        const at = (p + (i >> 1)) * begin + q + (i & 1);
        products[at] = (products[at] as number) + sum;
      });
    }
  }
}

/** Row begin+p −= Σ_q products[p·begin + q] · row q over elements `from` … `to` − 1, two rows of the panel by four before it. */
function subtract(
  { data, length }: Rows,
  begin: number,
  end: number,
  products: Float64Array,
  from: number,
  to: number,
): void {
  for (let p = 0; p < end - begin; p += 2) {
    for (let q = 0; q < begin; q += TILE) {
      const at = p * begin + q;
      const [a0, a1, a2, a3] = products.subarray(at, at + TILE) as unknown as [
        number,
        number,
        number,
        number,
      ];
      const below = at + begin;
      const [b0, b1, b2, b3] = products.subarray(below, below + TILE) as unknown as [
        number,
        number,
        number,
        number,
      ];
      let [p0, q0] = [(begin + p) * length + from, q * length + from];
      let [p1, q1, q2, q3] = [p0 + length, q0 + length, q0 + 2 * length, q0 + 3 * length];
      for (let j = from; j < to; j++) {
        const v0 = data[q0++] as number;
        const v1 = data[q1++] as number;
        const v2 = data[q2++] as number;
        const v3 = data[q3++] as number;
        data[p0] = (data[p0] as number) - (a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3);
        data[p1] = (data[p1] as number) - (b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3);
        p0++;
        p1++;
      }
    }
  }
}
