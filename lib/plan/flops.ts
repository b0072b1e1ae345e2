import { gatesOf } from './codes';
import { inputSizeOf, stackLayout } from './ops/rnnStack';
import { lastOf, rowsOf } from './ops/row';
import type { ProgramAttrs, ProgramOperand } from './program/program';
import { ABSENT, type AnyPlanOp, type Plan, type PlanOp, type RnnLayerAttrs, type ValueId } from './types';

/**
 * Floating-point operations of an op's matrix products: 2 for each multiplication with its addition. All else is not counted:
 * its time goes by bytes. A recurrent product counts in every step, the first included, whose state may be zero.
 */
export function opFlops(plan: Plan, op: AnyPlanOp): number {
  const shape = (id: ValueId | undefined) => plan.values[id as ValueId]?.shape as readonly number[];
  switch (op.kind) {
    case 'dense':
    case 'denseGrad': {
      const kernel = shape(op.inputs[1]);
      const product = 2 * rowsOf(shape(op.inputs[0])) * rowsOf(kernel) * lastOf(kernel);
      // Backward, the input's and the kernel's gradient are a product each.
      return op.kind === 'dense' ? product : product * countPresent(op.outputs.slice(0, 2));
    }
    case 'program':
      return programFlops(op.attrs);
    case 'matmul': {
      const a = shape(op.inputs[0]);
      return 2 * rowsOf(a) * lastOf(a) * lastOf(shape(op.outputs[0]));
    }
    case 'rnnStack':
      return sumOverLayers(op, (input, recurrent) => input + recurrent);
    case 'rnnStackGrad':
      return sumOverLayers(op, (input, recurrent, l) => {
        const first = stackLayout.gradOutput(l);
        const toBelow = l > 0 || op.outputs[0] !== ABSENT ? input : 0;
        const kernel = op.outputs[first] !== ABSENT ? input : 0;
        const recurrentKernel = op.outputs[first + 1] !== ABSENT ? recurrent : 0;
        return toBelow + recurrent + kernel + recurrentKernel;
      });
    default:
      return 0;
  }
}

/** The same over all ops. */
export function planFlops(plan: Plan): number {
  return plan.ops.reduce((sum, op) => sum + opFlops(plan, op), 0);
}

/** A product of each row at every step. */
function programFlops(attrs: ProgramAttrs): number {
  const { steps, batch, operands, instructions } = attrs;
  return instructions.reduce((sum, { kind, from, ints: [, repeat] }) => {
    if (kind !== 'matmul') return sum;
    const { rows, width } = operands[from[1] as number] as ProgramOperand;
    return sum + 2 * steps * batch * (repeat as number) * rows * width;
  }, 0);
}

function countPresent(ids: readonly ValueId[]): number {
  return ids.filter((id) => id !== ABSENT).length;
}

/** Adds up what `each` makes of a layer's products with its kernel and with its recurrent kernel. */
function sumOverLayers(
  { attrs }: PlanOp<'rnnStack'> | PlanOp<'rnnStackGrad'>,
  each: (input: number, recurrent: number, layer: number) => number,
): number {
  return attrs.layers.reduce((sum, layer: RnnLayerAttrs, l) => {
    const perInput = 2 * attrs.steps * attrs.batch * gatesOf(layer) * layer.units;
    return sum + each(perInput * inputSizeOf(attrs, l), perInput * layer.units, l);
  }, 0);
}
