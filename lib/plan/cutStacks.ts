import type { PlanBuilder } from './builder';
import { stackLayout } from './ops/rnnStack';
import { ABSENT, type AnyPlanOp, type PlanOp, type RnnStackAttrs, type ValueId } from './types';

/** Where stacks are cut, in steps in the order of processing. */
export interface StackCuts {
  /**
   * Gradient checkpointing (Chen et al., 2016): segments of about so many steps as this gives for all steps. The forward pass keeps the
   * states at their borders alone, and the backward pass runs a segment again before it goes back through it.
   */
  readonly checkpointSteps?: ((steps: number) => number) | undefined;
  /** The end states that the stacks give are those after so many steps; these and the ones before are all differentiated through. */
  readonly statesAfter?: number | undefined;
}

/** What the ops of a stack that was cut share: the borders, the states at the begin of each segment, and what each has kept. */
interface Cut {
  readonly borders: readonly number[];
  /** Per segment and layer: h and c before it. */
  readonly states: (readonly (readonly [h: ValueId, c: ValueId])[])[];
  /** Per segment; none where it runs again. */
  readonly reserves: ValueId[];
}

/**
 * Cuts stacks and their gradients into segments of steps, each an op of its own, connected by their states. Runs after differentiation. All
 * segments write the same sequences, each its own steps; so that what is computed is the same but for the order in which the gradients of
 * weights are summed.
 */
export function cutStacks(builder: PlanBuilder, { checkpointSteps, statesAfter }: StackCuts): void {
  const { ops } = builder;
  const differentiated = new Set(ops.flatMap((op) => (op.kind === 'rnnStackGrad' ? [op.inputs[3]] : [])));
  const cuts = new Map<ValueId, Cut>();
  builder.ops = [];
  for (const op of ops) {
    if (op.kind === 'rnnStack') {
      const { steps } = op.attrs;
      const [reserve] = op.outputs as [ValueId];
      const keeps = differentiated.has(reserve);
      const borders = bordersOf(steps, keeps ? checkpointSteps?.(steps) : undefined, statesAfter);
      if (borders.length > 2) {
        const cut: Cut = { borders, states: [], reserves: [] };
        cutForward(builder, op, cut, { keeps: keeps && checkpointSteps === undefined, statesAfter });
        if (keeps) cuts.set(reserve, cut);
        continue;
      }
    } else if (op.kind === 'rnnStackGrad') {
      const cut = cuts.get(op.inputs[3] as ValueId);
      if (cut) {
        cutBackward(builder, op, cut);
        continue;
      }
    }
    builder.ops.push(op);
  }
}

function bordersOf(steps: number, segment: number | undefined, other: number | undefined): number[] {
  const borders = new Set([0, steps]);
  if (segment !== undefined) for (let at = segment; at < steps; at += segment) borders.add(at);
  if (other !== undefined && other > 0 && other < steps) borders.add(other);
  return [...borders].sort((a, b) => a - b);
}

/** Attributes of segment `i`. */
function partOf(attrs: RnnStackAttrs, { borders }: Cut, i: number): RnnStackAttrs {
  const [first, end] = [borders[i] as number, borders[i + 1] as number];
  return { ...attrs, steps: end - first, part: { first, of: attrs.steps } };
}

/** Inputs of a segment of a stack, from those of the whole one. */
function inputsFrom({ attrs, inputs }: PlanOp<'rnnStack'>, states: Cut['states'][number]): ValueId[] {
  const own = [...inputs];
  for (const l of attrs.layers.keys())
    own.splice(stackLayout.forwardInput(l) + 3, 2, ...(states[l] as [ValueId, ValueId]));
  return own;
}

/** Appends an op; outputs are new values where `wanted`, and those of `given` that are there. */
function emitWith<K extends 'rnnStack' | 'rnnStackGrad'>(
  builder: PlanBuilder,
  op: PlanOp<K>,
  inputs: ValueId[],
  attrs: RnnStackAttrs,
  wanted: readonly boolean[],
  given: readonly ValueId[],
): ValueId[] {
  builder.emit<K>(op.kind, inputs, attrs as PlanOp<K>['attrs'], op.label, wanted);
  const made = builder.ops.at(-1) as AnyPlanOp;
  made.outputs = made.outputs.map((id, i) => (id === ABSENT ? (given[i] as ValueId) : id));
  return made.outputs;
}

function cutForward(
  builder: PlanBuilder,
  op: PlanOp<'rnnStack'>,
  cut: Cut,
  { keeps, statesAfter }: { keeps: boolean; statesAfter: number | undefined },
): void {
  const { attrs, inputs, outputs } = op;
  const { layers, returnSequences } = attrs;
  const segments = cut.borders.length - 1;
  let states = layers.map((_, l): readonly [ValueId, ValueId] => {
    const first = stackLayout.forwardInput(l) + 3;
    return [inputs[first] as ValueId, inputs[first + 1] as ValueId];
  });
  for (let i = 0; i < segments; i++) {
    cut.states.push(states);
    const last = i === segments - 1;
    const givesStates = cut.borders[i + 1] === (statesAfter ?? attrs.steps);
    const given: ValueId[] = [ABSENT];
    for (const l of layers.keys()) {
      const out = stackLayout.forwardOutput(l);
      const [y, h, c] = outputs.slice(out, out + 3) as [ValueId, ValueId, ValueId];
      const whole = l < layers.length - 1 || returnSequences;
      given.push(whole || last ? y : ABSENT, ...(givesStates ? [h, c] : [ABSENT, ABSENT]));
    }
    const wanted = [keeps, ...layers.flatMap(({ cell }) => [false, !last, !last && cell === 'lstm'])];
    // What the whole stack gives is made under its own name.
    const made = emitWith(
      builder,
      op,
      inputsFrom(op, states),
      partOf(attrs, cut, i),
      wanted.map((want, at) => want && given[at] === ABSENT),
      given,
    );
    if (keeps) cut.reserves.push(made[0] as ValueId);
    states = layers.map((_, l) => {
      const out = stackLayout.forwardOutput(l);
      return [made[out + 1] as ValueId, made[out + 2] as ValueId];
    });
  }
}

function cutBackward(builder: PlanBuilder, op: PlanOp<'rnnStackGrad'>, cut: Cut): void {
  const { attrs, inputs, outputs, label } = op;
  const { layers, returnSequences } = attrs;
  const segments = cut.borders.length - 1;
  const { layerInputs } = stackLayout;
  const forward: PlanOp<'rnnStack'> = {
    kind: 'rnnStack',
    inputs: [
      ...inputs.slice(0, 3),
      ...layers.flatMap((_, l) =>
        inputs.slice(stackLayout.gradInput(l), stackLayout.gradInput(l) + layerInputs),
      ),
    ],
    outputs: [],
    attrs,
    label,
  };
  /** By output: the gradient of a weight, summed over the segments so far. */
  const sums = new Map<number, ValueId>();
  let ahead = layers.map((_, l) => {
    const first = stackLayout.gradInput(l) + layerInputs;
    return inputs.slice(first + 1, first + 3);
  });
  for (let i = segments - 1; i >= 0; i--) {
    const part = partOf(attrs, cut, i);
    const own = inputsFrom(forward, cut.states[i] as Cut['states'][number]);
    const again = () =>
      builder.emit('rnnStack', own, part, label, [true, ...layers.flatMap(() => [false, false, false])]);
    const read = [...inputs.slice(0, 3), cut.reserves[i] ?? (again()[0] as ValueId)];
    const wanted = [false, false];
    const given = outputs.slice(0, 2);
    for (const [l, { cell }] of layers.entries()) {
      const first = stackLayout.forwardInput(l);
      const whole = l < layers.length - 1 || returnSequences;
      const dy = inputs[stackLayout.gradInput(l) + layerInputs] as ValueId;
      read.push(
        ...own.slice(first, first + layerInputs),
        whole || i === segments - 1 ? dy : ABSENT,
        ...(ahead[l] as ValueId[]),
      );
      const out = stackLayout.gradOutput(l);
      const sends = i > 0;
      const [dKernel, dRecurrentKernel, dBias, , , dPeephole] = outputs
        .slice(out, out + layerInputs)
        .map((id) => id !== ABSENT) as [boolean, boolean, boolean, boolean, boolean, boolean];
      wanted.push(dKernel, dRecurrentKernel, dBias, sends, sends && cell === 'lstm', dPeephole);
      // Those that the whole op gave are of its first steps.
      const [h, c] = outputs.slice(out + 3, out + 5) as [ValueId, ValueId];
      given.push(ABSENT, ABSENT, ABSENT, ...(sends ? [ABSENT, ABSENT] : [h, c]), ABSENT);
    }
    const made = emitWith(builder, op, read, part, wanted, given);
    for (const l of layers.keys()) {
      for (const at of [0, 1, 2, 5].map((k) => stackLayout.gradOutput(l) + k)) {
        if (outputs[at] === ABSENT) continue;
        const known = sums.get(at);
        const grad = made[at] as ValueId;
        sums.set(
          at,
          known === undefined ? grad : (builder.emit('add', [known, grad], {}, label)[0] as ValueId),
        );
        // The last sum is what the whole op gave.
        if (i === 0) (builder.ops.at(-1) as AnyPlanOp).outputs[0] = outputs[at] as ValueId;
      }
    }
    ahead = layers.map((_, l) => made.slice(stackLayout.gradOutput(l) + 3, stackLayout.gradOutput(l) + 5));
  }
}
