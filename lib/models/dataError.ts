import { DeepRnnError } from '../errors';
import type { Plan, PlanCheckError } from '../plan/types';
import { type Shape, sizeOf } from '../tensors/tensor';

/**
 * A failed `check` in the words of the call: which array, which example, what was wanted.
 * @param inCallersData the place in the caller's array of a place in the plan's input
 */
export function dataError(
  plan: Plan,
  caller: string,
  failure: PlanCheckError,
  inCallersData: (place: number[]) => number[],
): DeepRnnError {
  const op = plan.ops[failure.op];
  const value = plan.values[op?.inputs[0] ?? -1];
  if (op?.kind !== 'check' || !value)
    return new DeepRnnError('ERR_STATE', failure.message, { cause: failure });
  const place = inCallersData(coordinates(failure.element, value.shape));
  const isInput = value.name === 'x' || value.name.startsWith('x.');
  const name = isInput ? value.name : value.name.replace(/^targets/, 'y');
  const reader = isInput ? ` (${op.label})` : '';
  const wanted =
    op.attrs.mode === 'finite'
      ? 'finite numbers'
      : `${isInput ? 'ids' : 'class indices'} from 0 to ${op.attrs.size - 1}`;
  return new DeepRnnError(
    'ERR_VALUE',
    `${caller}: ${name}: expected ${wanted}${reader}, got ${failure.value} at [${place.join(', ')}].`,
    { cause: failure },
  );
}

/** The multi-index of element `flat` of an array. */
function coordinates(flat: number, shape: Shape): number[] {
  return shape.map((n, axis) => Math.floor(flat / sizeOf(shape.slice(axis + 1))) % n);
}
