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

/** Values of a plan above which they are laid out in the order of their making: to compare each with each would take seconds. */
const MOST_COMPARED = 2 ** 12;

/**
 * Lays the arena values of a plan out in one block so that values whose lifetimes meet never overlap: largest first, each
 * at the lowest offset that is free for its whole lifetime. A value lives from the op that makes it to its last reader.
 * Values of plans of thousands of ops, as graphs with unrolled recurrences make them, lie as a first-fit allocator lays them while the ops run.
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
    .map(
      (v): Block => ({
        id: v.id,
        bytes: roundUp(Math.max(1, sizeOf(v.shape)) * elementBytes(v.dtype, realBytes)),
        born: born.get(v.id) as number,
        dies: dies.get(v.id) as number,
        offset: 0,
      }),
    );
  if (blocks.length > MOST_COMPARED) placeInOrder(blocks, plan.ops.length);
  else placeLargestFirst(blocks);
  const offsets: (number | undefined)[] = plan.values.map(() => undefined);
  let arenaBytes = 0;
  for (const { id, offset, bytes } of blocks) {
    offsets[id] = offset;
    arenaBytes = Math.max(arenaBytes, offset + bytes);
  }
  return { offsets, arenaBytes };
}

/** A value in the arena; it lives from op `born` to op `dies`, both included. */
interface Block {
  readonly id: ValueId;
  readonly bytes: number;
  readonly born: number;
  readonly dies: number;
  offset: number;
}

function placeLargestFirst(blocks: readonly Block[]): void {
  const placed: Block[] = [];
  for (const block of [...blocks].sort((a, b) => b.bytes - a.bytes || a.id - b.id)) {
    const rivals = placed
      .filter((p) => p.born <= block.dies && block.born <= p.dies)
      .sort((a, b) => a.offset - b.offset);
    for (const rival of rivals) {
      if (block.offset + block.bytes <= rival.offset) break;
      block.offset = Math.max(block.offset, rival.offset + rival.bytes);
    }
    placed.push(block);
  }
}

/** Each at the lowest offset that is free when it is made. @param ops how many there are */
function placeInOrder(blocks: readonly Block[], ops: number): void {
  const making: Block[][] = Array.from({ length: ops }, () => []);
  const dying: Block[][] = Array.from({ length: ops }, () => []);
  for (const block of blocks) {
    making[block.born]?.push(block);
    dying[block.dies]?.push(block);
  }
  /** What is free, lowest first; no two touch. The last one has no end. */
  const gaps = [{ from: 0, to: Number.POSITIVE_INFINITY }];
  for (let at = 0; at < ops; at++) {
    for (const block of making[at] as Block[]) {
      const place = gaps.findIndex(({ from, to }) => to - from >= block.bytes);
      const gap = gaps[place] as { from: number; to: number };
      block.offset = gap.from;
      gap.from += block.bytes;
      if (gap.from === gap.to) gaps.splice(place, 1);
    }
    for (const { offset: from, bytes } of dying[at] as Block[]) giveBack(gaps, from, from + bytes);
  }
}

function giveBack(gaps: { from: number; to: number }[], from: number, to: number): void {
  let [low, high] = [0, gaps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((gaps[middle] as { from: number }).from < from) low = middle + 1;
    else high = middle;
  }
  const [before, behind] = [gaps[low - 1], gaps[low]];
  if (behind?.from === to) {
    behind.from = from;
    if (before?.to === from) {
      before.to = behind.to;
      gaps.splice(low, 1);
    }
  } else if (before?.to === from) before.to = to;
  else gaps.splice(low, 0, { from, to });
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
