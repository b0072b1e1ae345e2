import { ABSENT, type Plan, type ValueId } from './types';

/** A plan as readable text: one line per op, `%id [shape]` for every value. */
export function printPlan(plan: Plan): string {
  const show = (id: ValueId): string => {
    const v = plan.values[id];
    if (id === ABSENT || !v) return '–';
    const name = v.role === 'arena' ? `%${id}` : `${v.role} ${v.name}`;
    return `${name} [${v.shape.join(', ')}]`;
  };
  const lines = plan.ops.map(
    (op) =>
      `  ${op.outputs.map(show).join(', ')} = ${op.kind}(${op.inputs.map(show).join(', ')})  # ${op.label}`,
  );
  return [`plan ${plan.name}:`, ...lines].join('\n');
}
