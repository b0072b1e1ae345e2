import type { Kernel, Real } from './operands';

/** Whether a is what the op gives; of equal ones the first is. NaN is, so that it shows. */
function takesFirst(kind: 'max' | 'min', a: number, b: number): boolean {
  return Number.isNaN(a) || (kind === 'max' ? a >= b : a <= b);
}

/** y = max(a, b), or min(a, b). */
export const extremum: Kernel<'extremum', [a: Real, b: Real], [y: Real]> = ({ kind }, [a, b], [y]) => {
  for (let i = 0; i < y.data.length; i++)
    y.data[i] = takesFirst(kind, a.data[i]!, b.data[i]!) ? a.data[i]! : b.data[i]!;
};

/** dy to the one that was taken. */
export const extremumGrad: Kernel<
  'extremumGrad',
  [a: Real, b: Real, dy: Real],
  [da: Real | undefined, db: Real | undefined]
> = ({ kind }, [a, b, dy], [da, db]) => {
  for (let i = 0; i < dy.data.length; i++) {
    const first = takesFirst(kind, a.data[i]!, b.data[i]!);
    if (da) da.data[i] = first ? dy.data[i]! : 0;
    if (db) db.data[i] = first ? 0 : dy.data[i]!;
  }
};
