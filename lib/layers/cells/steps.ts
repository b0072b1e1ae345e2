import { type Operand, ops } from '../../ops';
import { activated, type Traced } from '../../ops/traced';
import type { ActivationAttrs } from '../../plan/types';
import type { CellContext, CellStep } from './cell';

/** What the steps of SimpleRNN, LSTM and GRU have in common. */
export interface StepOptions {
  readonly units: number;
  readonly activation: ActivationAttrs;
  readonly recurrentActivation: ActivationAttrs;
  readonly recurrentDropout: number;
  /** Whether a mask of the state is that of all steps. */
  readonly sharedOverTime: boolean;
  /** Of the layer normalization, which normalizes both products; undefined: there is none. */
  readonly epsilon: number | undefined;
}

export interface LstmStepOptions extends StepOptions {
  readonly cellClip: number | undefined;
  readonly coupledGates: boolean;
}

type Named = Readonly<Record<string, Traced>>;

/** Both products of a step, `[N, G·units]`: of the input and of the state, normalized where that is asked for (Ba, Kiros & Hinton, 2016). */
function products(o: StepOptions, x: Traced, h: Traced, w: Named, context: CellContext): [Traced, Traced] {
  const dropped = context.dropout(h, o.recurrentDropout, { sharedOverTime: o.sharedOverTime });
  const ofInput = ops.matmul(x, w['kernel'] as Traced);
  const ofState = ops.matmul(dropped, w['recurrentKernel'] as Traced);
  if (o.epsilon === undefined) return [ofInput, ofState];
  return [
    ops.layerNormalization(ofInput, w['kernelGamma'], undefined, o.epsilon),
    ops.layerNormalization(ofState, w['recurrentGamma'], undefined, o.epsilon),
  ];
}

function withBias(x: Traced, bias: Traced | undefined): Traced {
  return bias === undefined ? x : ops.add(x, bias);
}

/** `h_t = activation(x_t W + h_{t−1} R + b)`. */
export function simpleRnnStep(
  o: StepOptions,
  x: Traced,
  states: Named,
  w: Named,
  context: CellContext,
): CellStep {
  const [ofInput, ofState] = products(o, x, states['h'] as Traced, w, context);
  const h = activated(o.activation, withBias(ops.add(ofInput, ofState), w['bias']));
  return { output: h, states: { h } };
}

/** Gates i f g o, coupled f g o; `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ activation(c_t)`, projected where there is a matrix for it. */
export function lstmStep(
  o: LstmStepOptions,
  x: Traced,
  states: Named,
  w: Named,
  context: CellContext,
): CellStep {
  const { coupledGates } = o;
  const before = states['c'] as Traced;
  const [ofInput, ofState] = products(o, x, states['h'] as Traced, w, context);
  const gates = withBias(ops.add(ofInput, ofState), w['bias']);
  const parts = ops.split(gates, coupledGates ? 3 : 4);
  const [f, g, out] = parts.slice(coupledGates ? 0 : 1) as [Traced, Traced, Traced];
  // Rows i f o, coupled f o.
  const peepholes = w['peephole'] === undefined ? [] : ops.split(w['peephole'], coupledGates ? 2 : 3);
  const [ofForget, ofOutput] = peepholes.slice(coupledGates ? 0 : 1);
  const seen = (gate: Traced, c: Traced, weight: Traced | undefined) =>
    activated(o.recurrentActivation, weight === undefined ? gate : ops.add(gate, ops.multiply(c, weight)));
  const forget = seen(f, before, ofForget);
  const input: Operand = coupledGates
    ? ops.subtract(1, forget)
    : seen(parts[0] as Traced, before, peepholes[0]);
  const kept = ops.add(ops.multiply(forget, before), ops.multiply(input, activated(o.activation, g)));
  const c = o.cellClip === undefined ? kept : ops.maximum(ops.minimum(kept, o.cellClip), -o.cellClip);
  const shown =
    o.epsilon === undefined ? c : ops.layerNormalization(c, w['cellGamma'], w['cellBeta'], o.epsilon);
  const m = ops.multiply(seen(out, c, ofOutput), activated(o.activation, shown));
  const h = w['projection'] === undefined ? m : ops.matmul(m, w['projection']);
  return { output: h, states: { h, c } };
}

/** Gates r z n; `h_t = z ⊙ h_{t−1} + (1 − z) ⊙ n`. */
export function gruStep(
  o: StepOptions & { readonly resetAfter: boolean },
  x: Traced,
  states: Named,
  w: Named,
  context: CellContext,
): CellStep {
  const h = states['h'] as Traced;
  const [ofInput, ofState] = products(o, x, h, w, context);
  const bias = w['bias'];
  const width = 3 * o.units;
  const [first, second] =
    bias === undefined || !o.resetAfter ? [bias] : [ops.slice(bias, 0, width), ops.slice(bias, width, width)];
  const [xr, xz, xn] = ops.split(withBias(ofInput, first), 3) as [Traced, Traced, Traced];
  const [hr, hz, hn] = ops.split(withBias(ofState, second), 3) as [Traced, Traced, Traced];
  const r = activated(o.recurrentActivation, ops.add(xr, hr));
  const z = activated(o.recurrentActivation, ops.add(xz, hz));
  // Without, the reset works on the state that enters the product, which is another product then.
  const candidate = o.resetAfter
    ? ops.multiply(r, hn)
    : (ops.split(products(o, x, ops.multiply(r, h), w, context)[1], 3)[2] as Traced);
  const n = activated(o.activation, ops.add(xn, candidate));
  const next = ops.add(ops.multiply(z, h), ops.multiply(ops.subtract(1, z), n));
  return { output: next, states: { h: next } };
}
