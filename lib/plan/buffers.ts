import { sizeOf } from '../tensors/tensor';
import type { ValueDType } from './codes';
import { ABSENT, type Plan, type ValueId } from './types';

export const ALIGNMENT = 64;

export interface BufferPlan {
  /** Byte offset in the arena of every arena value, a multiple of 64; undefined for values elsewhere. */
  readonly offsets: readonly (number | undefined)[];
  readonly arenaBytes: number;
}

/** Bytes per element on an engine whose reals have `realBytes` bytes. */
export function elementBytes(dtype: ValueDType, realBytes: number): number {
  return dtype === 'real' ? realBytes : dtype === 'int32' ? 4 : 8;
}

/**
 * Lays the arena values of a plan out in one block so that values whose lifetimes meet never overlap: largest first, each
 * at the lowest offset that is free for its whole lifetime. A value lives from the op that makes it to its last reader.
 */
export function planBuffers(plan: Plan, realBytes: number): BufferPlan {
  const born = new Map<ValueId, number>();
  const dies = new Map<ValueId, number>();
  plan.ops.forEach((op, at) => {
    for (const id of op.outputs) if (id !== ABSENT && !born.has(id)) born.set(id, at);
    for (const id of [...op.inputs, ...op.outputs]) if (id !== ABSENT) dies.set(id, at);
  });
  const blocks = plan.values
    .filter((v) => v.role === 'arena' && born.has(v.id))
    .map((v) => ({
      id: v.id,
      bytes: roundUp(Math.max(1, sizeOf(v.shape)) * elementBytes(v.dtype, realBytes)),
      born: born.get(v.id) as number,
      dies: dies.get(v.id) as number,
      offset: 0,
    }))
    .sort((a, b) => b.bytes - a.bytes || a.id - b.id);

  const offsets: (number | undefined)[] = plan.values.map(() => undefined);
  const placed: typeof blocks = [];
  let arenaBytes = 0;
  for (const block of blocks) {
    const rivals = placed
      .filter((p) => p.born <= block.dies && block.born <= p.dies)
      .sort((a, b) => a.offset - b.offset);
    for (const rival of rivals) {
      if (block.offset + block.bytes <= rival.offset) break;
      block.offset = Math.max(block.offset, rival.offset + rival.bytes);
    }
    offsets[block.id] = block.offset;
    arenaBytes = Math.max(arenaBytes, block.offset + block.bytes);
    placed.push(block);
  }
  return { offsets, arenaBytes };
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
