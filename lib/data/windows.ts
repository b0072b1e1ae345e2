import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { namedTensor, Tensor, type TensorLike, tensor } from '../tensors/tensor';

export interface WindowOptions {
  /** Steps that the model sees. */
  inputSteps: number;
  /** Steps that it is to foretell. Default 1. */
  outputSteps?: number;
  /** Steps from one window's start to the next. Default 1. */
  stride?: number;
  /** Steps from the last one seen to the first one foretold. Default 1: the very next. */
  horizon?: number;
  /** Columns to foretell. Default: all. */
  targetColumns?: readonly number[];
}

function positive(value: unknown, name: string, fallback?: number): number {
  const v = value ?? fallback;
  if (!Number.isSafeInteger(v) || (v as number) < 1)
    refuse('ERR_VALUE', `slidingWindows: ${name}`, 'a positive integer', quoted(v));
  return v as number;
}

/**
 * Windows over a series `[T, D]` (or `[T]`) for forecasting: x `[N, inputSteps, D]`; y `[N, targets]` for one output step, as a dense
 * layer on top of a recurrent one gives it, `[N, outputSteps, targets]` for more. float64 stays float64; everything else becomes float32.
 * @throws ERR_SHAPE when the series is too short for one window
 */
export function slidingWindows(series: TensorLike, options: WindowOptions): { x: Tensor; y: Tensor } {
  const o = readConfig(
    options,
    ['inputSteps', 'outputSteps', 'stride', 'horizon', 'targetColumns'],
    'slidingWindows',
  );
  const given = namedTensor('slidingWindows', series);
  const table = given.rank === 1 ? given.reshape([given.size, 1]) : given;
  if (table.rank !== 2)
    refuse('ERR_SHAPE', 'slidingWindows', 'a series [T] or [T, D]', `[${given.shape.join(', ')}]`);
  const [steps, width] = table.shape as [number, number];
  const inputSteps = positive(o.inputSteps, 'inputSteps');
  const outputSteps = positive(o.outputSteps, 'outputSteps', 1);
  const stride = positive(o.stride, 'stride', 1);
  const horizon = positive(o.horizon, 'horizon', 1);
  const columns =
    (o.targetColumns as readonly number[] | undefined) ?? Array.from({ length: width }, (_, d) => d);
  const fits =
    Array.isArray(columns) &&
    columns.length > 0 &&
    columns.every((d) => Number.isInteger(d) && d >= 0 && d < width);
  if (!fits) refuse('ERR_VALUE', 'slidingWindows: targetColumns', `columns from 0 to ${width - 1}`, columns);
  const span = inputSteps + horizon - 1 + outputSteps;
  if (steps < span)
    refuse('ERR_SHAPE', 'slidingWindows', `a series of at least ${span} steps`, `${steps} steps`);

  const count = Math.floor((steps - span) / stride) + 1;
  const Values = given.dtype === 'float64' ? Float64Array : Float32Array;
  const x = new Values(count * inputSteps * width);
  const y = new Values(count * outputSteps * columns.length);
  for (let n = 0; n < count; n++) {
    const start = n * stride;
    x.set(table.data.subarray(start * width, (start + inputSteps) * width), n * inputSteps * width);
    for (let t = 0; t < outputSteps; t++) {
      const row = (start + inputSteps + horizon - 1 + t) * width;
      columns.forEach((d, i) => {
        y[(n * outputSteps + t) * columns.length + i] = table.data[row + d] as number;
      });
    }
  }
  return {
    x: new Tensor(x, [count, inputSteps, width]),
    y: new Tensor(y, outputSteps === 1 ? [count, columns.length] : [count, outputSteps, columns.length]),
  };
}

/**
 * Windows over token ids for language modelling: x `[N, steps]`, and y the same windows one token on.
 * @throws ERR_SHAPE when there are not steps + 1 ids
 */
export function nextTokenWindows(
  ids: ArrayLike<number>,
  options: { steps: number; stride?: number },
): { x: Tensor; y: Tensor } {
  const o = readConfig(options, ['steps', 'stride'], 'nextTokenWindows');
  const steps = positive(o.steps, 'steps');
  const stride = positive(o.stride, 'stride', steps);
  if (ids.length < steps + 1)
    refuse('ERR_SHAPE', 'nextTokenWindows', `at least ${steps + 1} ids`, ids.length);
  const all = tensor(ids instanceof Int32Array ? ids : Float64Array.from(ids), undefined, 'int32')
    .data as Int32Array;
  const count = Math.floor((ids.length - steps - 1) / stride) + 1;
  const x = new Int32Array(count * steps);
  const y = new Int32Array(count * steps);
  for (let n = 0; n < count; n++) {
    x.set(all.subarray(n * stride, n * stride + steps), n * steps);
    y.set(all.subarray(n * stride + 1, n * stride + 1 + steps), n * steps);
  }
  return { x: new Tensor(x, [count, steps]), y: new Tensor(y, [count, steps]) };
}
