import type { PlanBuilder } from '../plan/builder';
import { ABSENT, type ValueId } from '../plan/types';

/** The mask `[T, N]` of the steps that count in both masks: their product, of which a step that is not zero counts. */
export function bothMasks(builder: PlanBuilder, a: ValueId, b: ValueId, label: string): ValueId {
  const { shape } = builder.spec(a);
  const ones = builder.emitOnce('maskWeights', [a, ABSENT], { normalize: false }, label);
  const product = builder.emitOnce('maskWeights', [b, ones], { normalize: false }, label);
  const rows = builder.emitOnce('reshape', [product], { shape: [...shape, 1] }, label);
  return builder.emitOnce('stepMask', [rows], { value: 0 }, label);
}
