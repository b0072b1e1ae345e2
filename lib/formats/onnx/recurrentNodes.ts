import type { Layer } from '../../layers/layer';
import { resolveActivation } from '../../ops/activations';
import type { ActivationAttrs } from '../../plan/types';
import type { Tensor } from '../../tensors/tensor';
import { isRecurrentActivation, type RecurrentActivation, recurrentActivation } from './activationNodes';
import type { AttributeValue } from './graphWriter';

/**
 * Gates in ONNX's order, as places in ours: LSTM i o f c of i f g o, GRU z r h of r z n. Of peepholes i o f of our rows i f o.
 */
const gateOrders = { simpleRNN: [0], lstm: [0, 3, 1, 2], gru: [1, 0, 2] } as const;
const peepholeOrder = [0, 2, 1];

type CellType = keyof typeof gateOrders;
const operators: Readonly<Record<CellType, string>> = { simpleRNN: 'RNN', lstm: 'LSTM', gru: 'GRU' };

/** What a recurrent operator is made from: `weight` gives arrays by the names of the layer's weights. */
export interface RecurrentCell {
  readonly operator: string;
  readonly units: number;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** Shapes of W, R, B and P with the leading axis of directions; undefined: there is none. */
  readonly shapes: Readonly<Record<'W' | 'R' | 'B' | 'P', readonly number[] | undefined>>;
  make(part: 'W' | 'R' | 'B' | 'P', weight: (name: string) => Tensor): Float32Array;
}

/** An activation that of a number's negative gives 1 less what it gives of the number: with it f = 1 − i is a gate of turned signs. */
const complementary: readonly string[] = ['sigmoid', 'hardSigmoid', 'sparseSigmoid'];

interface CellConfig {
  readonly units: number;
  readonly activation: ActivationAttrs;
  readonly recurrentActivation: ActivationAttrs;
  readonly coupledGates: boolean;
  readonly peepholes: boolean;
  readonly resetAfter: boolean;
}

/** Options that no operator of ONNX's has, where they are not off. Its clip bounds what activations read, not the state. */
const ownSteps = ['layerNormalization', 'projectionUnits', 'cellClip', 'zoneout', 'cellZoneout'] as const;

/** Whether ONNX's RNN, LSTM or GRU makes the steps of a layer. */
export function hasOperator(layer: Layer): boolean {
  if (!(layer.type in gateOrders)) return false;
  const o = layer.getConfig();
  if (ownSteps.some((option) => o[option] !== undefined && o[option] !== false && o[option] !== 0))
    return false;
  const { activation, recurrentActivation, coupledGates } = readConfig(layer, layer.subject);
  return (
    [activation, recurrentActivation].every(isRecurrentActivation) &&
    (!coupledGates || complementary.includes(recurrentActivation.kind))
  );
}

function readConfig(layer: Layer, subject: string): CellConfig {
  const o = layer.getConfig();
  const lstm = layer.type === 'lstm';
  return {
    units: o['units'] as number,
    activation: resolveActivation(o['activation'], `${subject}: activation`),
    recurrentActivation: resolveActivation(
      o['recurrentActivation'] ?? 'sigmoid',
      `${subject}: recurrentActivation`,
    ),
    coupledGates: lstm && o['coupledGates'] === true,
    peepholes: lstm && o['peepholes'] === true,
    resetAfter: o['resetAfter'] === true,
  };
}

/** Columns of our gates [rows, G·H] as rows of ONNX's [G·H, rows], `order` the gate of ours for each of theirs; −1: zeros. */
function turnGates(
  data: ArrayLike<number>,
  rows: number,
  units: number,
  gates: number,
  order: readonly number[],
  signs: readonly number[],
) {
  const made = new Float32Array(order.length * units * rows);
  for (const [g, from] of order.entries()) {
    if (from < 0) continue;
    for (let j = 0; j < units; j++)
      for (let k = 0; k < rows; k++)
        made[(g * units + j) * rows + k] =
          (signs[g] as number) * (data[k * gates * units + from * units + j] as number);
  }
  return made;
}

/** A cell for ONNX, of a layer that has an operator there. @param features columns of the input */
export function recurrentCell(layer: Layer, features: number, subject: string): RecurrentCell {
  const type = layer.type as CellType;
  const { units, coupledGates, peepholes, resetAfter, ...activations } = readConfig(layer, subject);
  const inner = recurrentActivation(activations.activation);
  const gate = () => recurrentActivation(activations.recurrentActivation);
  const list: readonly RecurrentActivation[] =
    type === 'simpleRNN' ? [inner] : type === 'gru' ? [gate(), inner] : [gate(), inner, inner];
  // With i = s(−u) of the weights of f, turned, ONNX's f = 1 − i is s(u). Its own gate f is not looked at.
  const order: readonly number[] = coupledGates ? [0, 2, -1, 1] : gateOrders[type];
  const signs = coupledGates ? [-1, 1, 0, 1] : order.map(() => 1);
  const gates = order.filter((from) => from >= 0).length;
  const width = order.length * units;
  const hasBias = layer.weights.some(({ name }) => name === 'bias');
  const alphas = list.flatMap(({ alpha }) => (alpha === undefined ? [] : [alpha]));
  const betas = list.flatMap(({ beta }) => (beta === undefined ? [] : [beta]));
  return {
    operator: operators[type],
    units,
    attributes: {
      hidden_size: units,
      activations: list.map(({ name }) => name),
      ...(alphas.length > 0 ? { activation_alpha: { fs: alphas } } : {}),
      ...(betas.length > 0 ? { activation_beta: { fs: betas } } : {}),
      ...(coupledGates ? { input_forget: 1 } : {}),
      ...(type === 'gru' ? { linear_before_reset: Number(resetAfter) } : {}),
    },
    shapes: {
      W: [1, width, features],
      R: [1, width, units],
      B: hasBias ? [1, 2 * width] : undefined,
      P: peepholes ? [1, 3 * units] : undefined,
    },
    make(part, weight) {
      if (part === 'W' || part === 'R') {
        const { data } = weight(part === 'W' ? 'kernel' : 'recurrentKernel');
        return turnGates(data, part === 'W' ? features : units, units, gates, order, signs);
      }
      if (part === 'P') {
        const { data } = weight('peephole');
        const rows = coupledGates ? [0, 1, -1] : peepholeOrder;
        return turnGates(
          data,
          1,
          units,
          rows.length - (coupledGates ? 1 : 0),
          rows,
          coupledGates ? [-1, 1, 0] : [1, 1, 1],
        );
      }
      // The bias of the input, then that of the state.
      const { data } = weight('bias');
      const both = new Float32Array(2 * width);
      const own = gates * units;
      both.set(turnGates(data.subarray(0, own), 1, units, gates, order, signs));
      if (data.length > own) both.set(turnGates(data.subarray(own), 1, units, gates, order, signs), width);
      return both;
    },
  };
}
