import { type Shape, sameShape } from '../../tensors/tensor';
import { clipCodes, constraintCodes, type OptimizerKind, optimizerCodes } from '../codes';
import { need, type OpRow, present } from './row';

/** Numbers in the `hyper` input of `update`. */
export const HYPER_SIZE = 8;
/** Where `hyper` holds how gradients are accumulated and weights averaged. */
export const hyperPlaces = { share: 4, apply: 5, averageMomentum: 6, overwrite: 7 } as const;
/** Operands a parameter: itself, its gradient, three slots, the sum of its gradients, its average. */
export const PARAMETER_INPUTS = 7;
const CONSTANTS = 6;

/** The shape of a parameter's slot; undefined where the rule keeps none for such a parameter. */
export function slotShape(kind: OptimizerKind, slot: number, parameter: Shape): Shape | undefined {
  if (kind !== 'adafactor') return parameter;
  // Second moments of a matrix [rows, columns] are factored, those of a vector are whole.
  const matrix = parameter.length === 2;
  if (slot === 2) return matrix ? undefined : parameter;
  return matrix ? [parameter[slot] as number] : undefined;
}

export const update: OpRow<'update'> = {
  infer(inputs, attrs) {
    const count = attrs.decay.length;
    need(
      sameShape(inputs[0]?.shape ?? [], [HYPER_SIZE]),
      'update',
      `hyper float64 [${HYPER_SIZE}]`,
      inputs[0],
    );
    for (let p = 0; p < count; p++) {
      const first = 1 + PARAMETER_INPUTS * p;
      const [param, grad, ...slots] = inputs.slice(first, first + 5);
      const v = present(param, 'update', 'a parameter');
      for (const other of [grad, ...inputs.slice(first + 5, first + PARAMETER_INPUTS)]) {
        const like = `gradient, its sum and average like ${v.name}`;
        need(!other || sameShape(other.shape, v.shape), 'update', like, other);
      }
      slots.forEach((slot, i) => {
        const shape = slotShape(attrs.kind, i, v.shape);
        need(
          !slot || (shape !== undefined && sameShape(slot.shape, shape)),
          'update',
          `slot ${i} for ${v.name}`,
          slot,
        );
      });
    }
    return [{ dtype: 'float64', shape: [count + 1] }];
  },
  encode: (attrs) => ({
    ints: [optimizerCodes[attrs.kind], attrs.decay.length, clipCodes[attrs.clip.mode], Number(attrs.flag)],
    floats: [
      attrs.clip.limit,
      ...Array.from({ length: CONSTANTS }, (_, i) => attrs.constants[i] ?? 0),
      ...attrs.decay.flatMap((decay, p) => [
        attrs.penalties?.[p]?.l1 ?? 0,
        attrs.penalties?.[p]?.l2 ?? 0,
        decay,
        attrs.rateFactors?.[p] ?? 1,
      ]),
    ],
  }),
};

export const constraint: OpRow<'constraint'> = {
  infer([x], { axis }) {
    const v = present(x, 'constraint', 'a variable');
    need(v.shape.length <= 2 || axis === 0, 'constraint', 'axis 0 of more than two', v);
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: (attrs) => ({ ints: [constraintCodes[attrs.kind], attrs.axis], floats: [attrs.limit] }),
};
