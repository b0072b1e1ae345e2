import { elementBytes, planBuffers } from '../plan/buffers';
import type { Plan } from '../plan/types';
import { sizeOf } from '../tensors/tensor';

/** Bytes of a plan's buffers, inputs and outputs on an engine whose real numbers take `realBytes`. */
export function planBytes(plan: Plan, realBytes: number): number {
  const ends = plan.values.filter(({ role }) => role === 'input' || role === 'output');
  return ends.reduce(
    (sum, v) => sum + sizeOf(v.shape) * elementBytes(v.dtype, realBytes),
    planBuffers(plan, realBytes).arenaBytes,
  );
}
