import { ABSENT, type ValueId } from '../plan/types';
import type { CallContext } from './layer';
import type { Regularizer } from './regularizers';

/** The states of a recurrent layer, as it made them. */
export interface States {
  /** `[T, N, units]`, in the order of reading. */
  readonly id: ValueId;
  readonly steps: number;
  /** int32 `[T, N]` in the same order, or undefined where every step counts. */
  readonly mask: ValueId | undefined;
}

/**
 * Temporal activation regularization (Merity, McCann & Socher, 2017): adds the regularizer of h_t − h_{t−1} to the loss, summed over units
 * and over neighbouring steps t − 1, t that both count, divided by the batch size, as activity regularizers are. A sequence of one step has
 * none.
 */
export function penalizeChanges(
  context: CallContext,
  subject: string,
  { l1, l2 }: Regularizer,
  { id, steps, mask }: States,
): void {
  if (steps < 2) return;
  const { builder, batch } = context;
  const label = `${subject}: temporal activation regularizer`;
  // Windows of one step: all but the last, and, from the other side, all but the first.
  const attrs = { size: 1, stride: 1, dilation: 1 };
  const earlier = (of: ValueId) =>
    builder.emit('unfold', [of], { ...attrs, before: 0, windows: steps - 1 }, label)[0] as ValueId;
  const later = (of: ValueId) =>
    builder.emit('fold', [of], { ...attrs, before: 1, steps: steps - 1 }, label)[0] as ValueId;
  const [before] = builder.emit('scale', [earlier(id)], { factor: -1 }, label) as [ValueId];
  let [change] = builder.emit('add', [later(id), before], {}, label) as [ValueId];
  if (mask !== undefined) {
    const [counts] = builder.emit('maskWeights', [mask, ABSENT], { normalize: false }, label) as [ValueId];
    const [each] = builder.emit('reshape', [counts], { shape: [steps, batch, 1] }, label) as [ValueId];
    const [both] = builder.emit('multiply', [later(each), earlier(each)], {}, label) as [ValueId];
    const [valid] = builder.emit('stepMask', [both], { value: 0 }, label) as [ValueId];
    [change] = builder.emit('maskRows', [change, valid], {}, label) as [ValueId];
  }
  const [penalty] = builder.emit('penalty', [change], { l1, l2, scale: 1 / batch }, label) as [ValueId];
  context.addLoss(penalty);
}
