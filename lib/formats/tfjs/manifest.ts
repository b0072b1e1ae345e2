import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { readBytes } from '../../io/modelFile';
import { fromFloat16 } from '../../io/numbers';
import { type Shape, sizeOf, Tensor } from '../../tensors/tensor';

/** Throws ERR_FILE with the model's file and the reason. */
export type Fail = (reason: string) => never;

/** One array of a weights manifest: what it is, and how it is stored. */
export interface WeightEntry {
  readonly name: string;
  readonly shape: Shape;
  /** Whether it is of the optimizer. */
  readonly isSlot: boolean;
  /** Bytes of one number in the file. */
  readonly width: number;
  readonly decode: (bytes: Uint8Array) => Float32Array;
}

/** Shards of arrays that lie one after another, across the borders of the shards. */
export interface WeightGroup {
  readonly paths: readonly string[];
  readonly weights: readonly WeightEntry[];
}

const record = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
const shown = (value: unknown) => String(value).slice(0, 60);

/** `weightsManifest` of a model.json, proven. */
export function readManifest(manifest: unknown, fail: Fail): WeightGroup[] {
  if (!Array.isArray(manifest)) return fail('it has no weightsManifest');
  const paths = new Set<string>();
  const names = new Set<string>();
  return manifest.map((given: unknown): WeightGroup => {
    const group = record(given);
    if (!group || !Array.isArray(group['paths']) || !Array.isArray(group['weights']))
      return fail('a group of its weightsManifest is not { paths, weights }');
    for (const shard of group['paths'] as unknown[]) {
      if (typeof shard !== 'string' || !isInside(shard))
        fail(`its shard '${shown(shard)}' is not a file in the model's folder`);
      if (paths.has(shard as string)) fail(`its shard '${shown(shard)}' is listed twice`);
      paths.add(shard as string);
    }
    const weights = (group['weights'] as unknown[]).map((entry) => readEntry(entry, fail));
    for (const { name } of weights) {
      if (names.has(name)) fail(`its array '${shown(name)}' is listed twice`);
      names.add(name);
    }
    return { paths: group['paths'] as string[], weights };
  });
}

/** Whether a shard's path leads into the folder or one below, on any system. */
function isInside(shard: string): boolean {
  const parts = shard.split(/[\\/]/);
  return (
    shard !== '' &&
    !shard.includes('\0') &&
    !/^[a-z]+:/i.test(shard) &&
    parts[0] !== '' &&
    !parts.includes('..')
  );
}

function readEntry(given: unknown, fail: Fail): WeightEntry {
  const { name, shape, dtype, quantization, group } = record(given) ?? {};
  if (typeof name !== 'string' || name === '') return fail('an array of its weightsManifest has no name');
  const isShape =
    Array.isArray(shape) && shape.length <= 16 && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!isShape || !Number.isSafeInteger(sizeOf(shape as number[])))
    fail(`its array '${shown(name)}' has no possible shape`);
  if (dtype !== 'float32' && dtype !== 'int32')
    fail(`its array '${shown(name)}' has dtype ${shown(dtype)}, expected float32 or int32`);
  const stored = quantization === undefined ? dtype : record(quantization)?.['dtype'];
  const { scale = 1, min = 0 } = record(quantization) ?? {};
  if (typeof scale !== 'number' || typeof min !== 'number')
    fail(`its array '${shown(name)}' has a quantization without numbers for scale and min`);
  const [s, m] = [scale as number, min as number];
  const plans: Record<string, Pick<WeightEntry, 'width' | 'decode'>> = {
    float32: { width: 4, decode: (bytes) => new Float32Array(new Uint8Array(bytes).buffer) },
    int32: { width: 4, decode: (bytes) => Float32Array.from(new Int32Array(new Uint8Array(bytes).buffer)) },
    float16: {
      width: 2,
      decode: (bytes) => Float32Array.from(new Uint16Array(new Uint8Array(bytes).buffer), fromFloat16),
    },
    uint8: { width: 1, decode: (bytes) => Float32Array.from(bytes, (q) => q * s + m) },
    uint16: {
      width: 2,
      decode: (bytes) => Float32Array.from(new Uint16Array(new Uint8Array(bytes).buffer), (q) => q * s + m),
    },
  };
  const known = quantization === undefined ? ['float32', 'int32'] : ['uint8', 'uint16', 'float16'];
  if (!known.includes(stored as string))
    fail(`its array '${shown(name)}' is stored as ${shown(stored)}, expected ${known.join(', ')}`);
  return {
    name,
    shape: shape as number[],
    isSlot: group === 'optimizer',
    ...(plans[stored as string] as (typeof plans)[string]),
  };
}

/** All arrays of the groups, from the shards beside `file`. */
export async function readShards(
  file: string,
  groups: readonly WeightGroup[],
  fail: Fail,
): Promise<Map<string, Tensor>> {
  const folder = await realpath(path.dirname(file));
  const tensors = new Map<string, Tensor>();
  for (const { paths, weights } of groups) {
    const shards: Uint8Array[] = [];
    for (const shard of paths) {
      const whole = path.join(folder, shard);
      // A link may lead anywhere.
      const real = await realpath(whole).catch(() => whole);
      if (real !== folder && !real.startsWith(folder + path.sep))
        fail(`its shard '${shown(shard)}' is not a file in the model's folder`);
      shards.push(await readBytes(whole));
    }
    const bytes = Buffer.concat(shards);
    const wanted = weights.reduce((sum, { shape, width }) => sum + sizeOf(shape) * width, 0);
    if (bytes.length !== wanted) fail(`its shards have ${bytes.length} bytes, its arrays ${wanted}`);
    let at = 0;
    for (const { name, shape, width, decode } of weights) {
      const end = at + sizeOf(shape) * width;
      tensors.set(name, new Tensor(decode(bytes.subarray(at, end)), shape));
      at = end;
    }
  }
  return tensors;
}
