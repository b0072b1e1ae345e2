import { Tensor, type TensorData } from '../../tensors/tensor';

/** `[R, C]` → `[C, R]`, as float32: PyTorch multiplies weights from the left. */
export function transposed({ data, shape }: Tensor): Tensor {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array(data.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c] as number;
  return new Tensor(out, [columns, rows]);
}

export function asFloat32({ data, shape }: Tensor): Tensor {
  return new Tensor(data instanceof Float32Array ? data : Float32Array.from(data), shape);
}

/** `a + b`, rounded once to float32. */
export function sum(a: Tensor, b: Tensor): Tensor {
  return new Tensor(
    Float32Array.from(a.data, (v, i) => v + (b.data[i] as number)),
    a.shape,
  );
}

/** Two vectors as the rows of one array. */
export function stacked(a: Tensor, b: Tensor): Tensor {
  const out = new Float32Array(a.size + b.size);
  out.set(a.data);
  out.set(b.data, a.size);
  return new Tensor(out, [2, a.size]);
}

/** Row `i` of `[R, C]`. */
export function row({ data, shape }: Tensor, i: number): Tensor {
  const width = shape[1] as number;
  return new Tensor(data.slice(i * width, (i + 1) * width) as TensorData, [width]);
}

export function zerosLike({ shape, size }: Tensor): Tensor {
  return new Tensor(new Float32Array(size), shape);
}
