import { refuse } from '../../errors';
import type { ActivationKind } from '../../plan/codes';
import type { ActivationAttrs } from '../../plan/types';
import type { AttributeValue, GraphWriter } from './graphWriter';

type Write = (graph: GraphWriter, x: string, alpha: number) => string;

const f = (value: number): AttributeValue => ({ f: value });
const plain =
  (op: string): Write =>
  (graph, x) =>
    graph.node(op, [x]);
const withAlpha =
  (op: string): Write =>
  (graph, x, alpha) =>
    graph.node(op, [x], { alpha: f(alpha) });
const clipped = (graph: GraphWriter, x: string, least: number, most: number) =>
  graph.node('Clip', [x, graph.scalar(least), graph.scalar(most)]);
const times = (graph: GraphWriter, a: string, b: string) => graph.node('Mul', [a, b]);
const sixth = { alpha: f(1 / 6), beta: f(0.5) };

/** Half of x times 1 and a function of it. */
function halfGate(graph: GraphWriter, x: string, gate: string): string {
  return times(graph, times(graph, x, graph.scalar(0.5)), graph.node('Add', [gate, graph.scalar(1)]));
}

/** Each activation as nodes of operator set 17. */
const writers: Readonly<Partial<Record<ActivationKind, Write>>> = {
  linear: (_, x) => x,
  tanh: plain('Tanh'),
  sigmoid: plain('Sigmoid'),
  relu: plain('Relu'),
  hardSigmoid: (graph, x) => graph.node('HardSigmoid', [x], sixth),
  softplus: plain('Softplus'),
  softsign: plain('Softsign'),
  elu: withAlpha('Elu'),
  selu: (graph, x) => graph.node('Selu', [x], { alpha: f(1.6732632423543772), gamma: f(1.0507009873554805) }),
  exponential: plain('Exp'),
  relu6: (graph, x) => clipped(graph, x, 0, 6),
  leakyRelu: withAlpha('LeakyRelu'),
  gelu: (graph, x) => halfGate(graph, x, graph.node('Erf', [times(graph, x, graph.scalar(Math.SQRT1_2))])),
  silu: (graph, x) => times(graph, x, graph.node('Sigmoid', [x])),
  mish: (graph, x) => times(graph, x, graph.node('Tanh', [graph.node('Softplus', [x])])),
  hardSilu: (graph, x) => times(graph, x, graph.node('HardSigmoid', [x], sixth)),
  softmax: (graph, x) => graph.node('Softmax', [x], { axis: -1 }),
  logSoftmax: (graph, x) => graph.node('LogSoftmax', [x], { axis: -1 }),
  geluTanh(graph, x) {
    const cube = times(graph, times(graph, x, x), times(graph, x, graph.scalar(0.044715)));
    const inner = times(graph, graph.node('Add', [x, cube]), graph.scalar(Math.sqrt(2 / Math.PI)));
    return halfGate(graph, x, graph.node('Tanh', [inner]));
  },
  celu: withAlpha('Celu'),
  squareplus(graph, x, b) {
    const root = graph.node('Sqrt', [graph.node('Add', [times(graph, x, x), graph.scalar(b)])]);
    return times(graph, graph.node('Add', [x, root]), graph.scalar(0.5));
  },
  softShrink: (graph, x, alpha) => graph.node('Shrink', [x], { lambd: f(alpha), bias: f(alpha) }),
  hardShrink: (graph, x, alpha) => graph.node('Shrink', [x], { lambd: f(alpha), bias: f(0) }),
  threshold: withAlpha('ThresholdedRelu'),
  tanhShrink: (graph, x) => graph.node('Sub', [x, graph.node('Tanh', [x])]),
  hardTanh: (graph, x) => clipped(graph, x, -1, 1),
  logSigmoid: (graph, x) => graph.node('Neg', [graph.node('Softplus', [graph.node('Neg', [x])])]),
  sparsePlus(graph, x) {
    // clip(x + 1, 0, 2)²/4 is 1 from 1 on, where x goes on by itself.
    const ramp = clipped(graph, graph.node('Add', [x, graph.scalar(1)]), 0, 2);
    const bend = times(graph, times(graph, ramp, ramp), graph.scalar(0.25));
    const above = graph.node('Relu', [graph.node('Sub', [x, graph.scalar(1)])]);
    return graph.node('Add', [bend, above]);
  },
  sparseSigmoid: (graph, x) => graph.node('HardSigmoid', [x], { alpha: f(0.5), beta: f(0.5) }),
};

/** @throws ERR_VALUE for one that ONNX has no nodes for */
export function writeActivation(
  graph: GraphWriter,
  { kind, alpha }: ActivationAttrs,
  x: string,
  subject: string,
): string {
  const write = writers[kind];
  if (!write) refuse('ERR_VALUE', `${subject}: activation`, 'one that ONNX has operators for', `'${kind}'`);
  return (write as Write)(graph, x, alpha);
}

/** An activation of ONNX's recurrent operators, with the parameters that it takes. */
export interface RecurrentActivation {
  readonly name: string;
  readonly alpha?: number;
  readonly beta?: number;
}

const recurrentNames: Readonly<Partial<Record<ActivationKind, (alpha: number) => RecurrentActivation>>> = {
  linear: () => ({ name: 'Affine', alpha: 1, beta: 0 }),
  tanh: () => ({ name: 'Tanh' }),
  sigmoid: () => ({ name: 'Sigmoid' }),
  relu: () => ({ name: 'Relu' }),
  hardSigmoid: () => ({ name: 'HardSigmoid', alpha: 1 / 6, beta: 0.5 }),
  sparseSigmoid: () => ({ name: 'HardSigmoid', alpha: 0.5, beta: 0.5 }),
  softplus: () => ({ name: 'Softplus' }),
  softsign: () => ({ name: 'Softsign' }),
  elu: (alpha) => ({ name: 'Elu', alpha }),
  leakyRelu: (alpha) => ({ name: 'LeakyRelu', alpha }),
  threshold: (alpha) => ({ name: 'ThresholdedRelu', alpha }),
};

export function isRecurrentActivation({ kind }: ActivationAttrs): boolean {
  return kind in recurrentNames;
}

/** One that ONNX's recurrent operators have. */
export function recurrentActivation({ kind, alpha }: ActivationAttrs): RecurrentActivation {
  return (recurrentNames[kind] as (alpha: number) => RecurrentActivation)(alpha);
}
