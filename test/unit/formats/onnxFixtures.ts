import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Tensor } from '../../../lib/tensors/tensor';

/** An array as fixtures hold it. */
export interface PackedArray {
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: string;
}

export function fixture<F>(name: string): F {
  const file = path.join(__dirname, '../../fixtures/onnx', `${name}.json.gz`);
  return JSON.parse(gunzipSync(readFileSync(file)).toString()) as F;
}

/** Truth values become 0 and 1, whole numbers int32. */
export function unpacked({ type, shape, data }: PackedArray): Tensor {
  const bytes = new Uint8Array(Buffer.from(data, 'base64')).buffer;
  switch (type) {
    case 'float32':
      return new Tensor(new Float32Array(bytes), shape);
    case 'int32':
      return new Tensor(new Int32Array(bytes), shape);
    case 'int64':
      return new Tensor(Int32Array.from(new BigInt64Array(bytes), Number), shape);
    case 'bool':
      return new Tensor(Float32Array.from(new Uint8Array(bytes)), shape);
    default:
      throw new Error(`fixtures have no arrays of ${type}`);
  }
}

/** The largest difference, above 1 in parts of what it should be; Infinity where a number is NaN and should not be. */
export function worstOf(wanted: Tensor, got: Tensor): number {
  expect(got.shape).toEqual(wanted.shape);
  let worst = 0;
  for (let i = 0; i < wanted.size; i++) {
    const [a, b] = [wanted.data[i] as number, got.data[i] as number];
    if (Object.is(a, b) || a === b) continue;
    const error = Math.abs(a - b) / Math.max(1, Math.abs(a));
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst;
}
