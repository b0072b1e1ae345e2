import { DeepRnnError } from '../errors';
import type { PlanBuilder } from './builder';
import type { OpKind } from './codes';
import type { GradContext } from './ops/row';
import { opRow } from './opTable';
import { ABSENT, type AnyPlanOp, type OpAttrs, type PlanOp, type ValueId } from './types';

export interface GradientOptions {
  /** Also compute ‖∂loss/∂h_t‖ for every recurrent layer and step. */
  readonly stepNorms?: boolean;
}

export interface Gradients {
  /** The gradient of the sum of the roots with respect to each wanted value; missing where the roots do not depend on it. */
  readonly of: ReadonlyMap<ValueId, ValueId>;
  /** Per recurrent stack, in rising depth: the names of its layers and the float64 `[L, T]` value of step norms. */
  readonly stepNorms: readonly { readonly layers: readonly string[]; readonly value: ValueId }[];
}

/**
 * Reverse-mode differentiation: appends the ops that compute the gradient of the sum of `roots` (scalars made by `loss`
 * and `penalty` ops) with respect to each value in `wanted`.
 */
export function gradients(
  builder: PlanBuilder,
  roots: readonly ValueId[],
  wanted: readonly ValueId[],
  options: GradientOptions = {},
): Gradients {
  const forward = [...builder.ops];
  const reached = reachableFrom(forward, wanted);
  const isRoot = new Set(roots);
  const grads = new Map<ValueId, ValueId>();
  const stepNorms: { layers: string[]; value: ValueId }[] = [];

  const accumulate = (id: ValueId, grad: ValueId, label: string): void => {
    const known = grads.get(id);
    grads.set(id, known === undefined ? grad : (builder.emit('add', [known, grad], {}, label)[0] as ValueId));
  };

  for (const op of forward.reverse()) {
    const touched = op.outputs.some((id) => id !== ABSENT && (grads.has(id) || isRoot.has(id)));
    if (!touched || !op.inputs.some((id) => reached.has(id))) continue;
    const rule = opRow(op.kind).grad as ((op: PlanOp, c: GradContext) => ValueId[]) | undefined;
    if (!rule) throw new DeepRnnError('ERR_STATE', `${op.label}: ${op.kind} has no gradient.`);
    const context: GradContext = {
      spec: (id) => builder.spec(id),
      outGrad: (i) => grads.get(op.outputs[i] as ValueId) ?? ABSENT,
      needs: (i) => reached.has(op.inputs[i] as ValueId),
      emit: <K extends OpKind>(kind: K, inputs: ValueId[], attrs: OpAttrs[K], want?: readonly boolean[]) =>
        builder.emit(kind, inputs, attrs, op.label, want),
      addOutput: (index) => builder.addOutput(op as AnyPlanOp, index),
      stepNorms: options.stepNorms ?? false,
      noteStepNorms: (value) => {
        const layers = op.kind === 'rnnStack' ? op.attrs.layers.map((l) => l.name) : [op.label];
        stepNorms.unshift({ layers, value });
      },
    };
    rule(op as PlanOp, context).forEach((grad, i) => {
      const input = op.inputs[i] ?? ABSENT;
      if (grad !== ABSENT && input !== ABSENT && reached.has(input)) accumulate(input, grad, op.label);
    });
  }
  const of = new Map<ValueId, ValueId>();
  for (const id of wanted) {
    const grad = grads.get(id);
    if (grad !== undefined) of.set(id, grad);
  }
  return { of, stepNorms };
}

/** All values that depend on one of `sources`, the sources included. */
function reachableFrom(ops: readonly AnyPlanOp[], sources: readonly ValueId[]): Set<ValueId> {
  const reached = new Set(sources);
  for (const op of ops) {
    if (!op.inputs.some((id) => reached.has(id))) continue;
    for (const id of op.outputs) if (id !== ABSENT) reached.add(id);
  }
  return reached;
}
