import { readConfig, readSpec } from '../config';
import { refuse } from '../errors';
import { toCamelCase } from '../names';
import { type ActivationSpec, activationConfig, resolveActivation } from '../ops/activations';
import type { PlanBuilder } from '../plan/builder';
import type { ActivationAttrs, ValueId } from '../plan/types';

/**
 * What a layer applies to its output: an activation, or `'glu'` (Dauphin et al., 2017), which halves the last axis: `a·sigmoid(b)` of its
 * halves a and b.
 */
export type LayerActivation = ActivationAttrs | 'glu';

/** @throws ERR_VALUE for what no activation is, and for another axis of a glu than the last */
export function resolveLayerActivation(spec: unknown, subject: string): LayerActivation {
  if (spec === null || spec === undefined) return resolveActivation(spec, subject);
  const { type, options } = readSpec(spec, subject);
  if (typeof type !== 'string' || toCamelCase(type) !== 'glu') return resolveActivation(spec, subject);
  const { axis = -1 } = readConfig(options, ['axis'], subject);
  if (axis !== -1) refuse('ERR_VALUE', `${subject}: axis`, '-1', axis);
  return 'glu';
}

/** The length of the last axis after the activation. @throws ERR_SHAPE for an odd one that is to be halved */
export function widthAfter(activation: LayerActivation, width: number, subject: string): number {
  if (activation !== 'glu') return width;
  if (width % 2 !== 0) refuse('ERR_SHAPE', subject, "an even number of columns for 'glu'", width);
  return width / 2;
}

export function emitActivation(
  builder: PlanBuilder,
  activation: LayerActivation,
  id: ValueId,
  label: string,
): ValueId {
  if (activation !== 'glu') return builder.emit('activation', [id], activation, label)[0] as ValueId;
  const width = (builder.spec(id).shape.at(-1) as number) / 2;
  const [a, b] = [0, width].map((first) => builder.emit('slice', [id], { first, width }, label)[0]);
  const sigmoid = { kind: 'sigmoid', alpha: 0 } as const;
  const [gate] = builder.emit('activation', [b as ValueId], sigmoid, label);
  return builder.emit('multiply', [a as ValueId, gate as ValueId], {}, label)[0] as ValueId;
}

export function layerActivationConfig(activation: LayerActivation): ActivationSpec {
  return activation === 'glu' ? activation : activationConfig(activation);
}
