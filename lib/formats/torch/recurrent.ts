import { flagOption, readConfig } from '../../config';
import { oneOf, quoted, refuse } from '../../errors';
import { countOption, rateOption } from '../../layers/options';
import type { Shape, Tensor } from '../../tensors/tensor';
import { asFloat32, row, stacked, sum, transposed, zerosLike } from './arrays';
import type { Entry } from './description';
import { countOf, type LayerPlan, type ModulePlan, type ShapeOf } from './modulePlan';

/*
 * The recurrent modules. Gates lie in the order i, f, g, o (LSTM) and r, z, n (GRU) in PyTorch as in this library, so that weights are
 * only transposed: weight_ih [G·H, D], weight_hh [G·H, P], weight_hr [P, H], P the columns of the output. Of the two biases RNN and LSTM
 * only know the sum; the n gate of a GRU has the second one inside the product with r, and both are kept.
 */

export const recurrentModules = {
  RNN: { type: 'simpleRNN', gates: 1 },
  LSTM: { type: 'lstm', gates: 4 },
  GRU: { type: 'gru', gates: 3 },
} as const;
export type RecurrentModule = keyof typeof recurrentModules;

export function isRecurrent(module: string): module is RecurrentModule {
  return Object.hasOwn(recurrentModules, module);
}

const MOST_LAYERS = 1000;
const options = [
  ...['inputSize', 'hiddenSize', 'numLayers', 'bidirectional', 'bias', 'batchFirst', 'dropout'],
  ...['nonlinearity', 'projSize', 'returnSequences'],
] as const;

/** The names of a layer's arrays in one direction: `weight_ih_l0_reverse`. */
function keysOf(layer: number, reverse: boolean) {
  const end = `_l${layer}${reverse ? '_reverse' : ''}`;
  const key = (part: string) => `${part}${end}`;
  return {
    kernel: key('weight_ih'),
    recurrentKernel: key('weight_hh'),
    projection: key('weight_hr'),
    inputBias: key('bias_ih'),
    stateBias: key('bias_hh'),
  };
}

export function planRecurrent(entry: Entry, shapeOf: ShapeOf): ModulePlan {
  const { subject, name } = entry;
  const module = entry.module as RecurrentModule;
  const { type, gates } = recurrentModules[module];
  const o = readConfig<string>(entry.options, options, subject);
  for (const [option, owner] of [
    ['nonlinearity', 'RNN'],
    ['projSize', 'LSTM'],
  ] as const)
    if (o[option] !== undefined && module !== owner)
      refuse('ERR_VALUE', `${subject}: ${option}`, `it of ${owner} alone`, quoted(o[option]));
  flagOption(o['batchFirst'], true, `${subject}: batchFirst`);
  const nonlinearity = o['nonlinearity'] ?? 'tanh';
  if (nonlinearity !== 'tanh' && nonlinearity !== 'relu')
    refuse('ERR_VALUE', `${subject}: nonlinearity`, oneOf(['tanh', 'relu']), quoted(nonlinearity));
  const first = keysOf(0, false);
  const depth = countOf(o['numLayers'], layersIn(shapeOf), `${subject}: numLayers`);
  if (depth > MOST_LAYERS)
    refuse('ERR_VALUE', `${subject}: numLayers`, `at most ${MOST_LAYERS} layers`, depth);
  const both = flagOption(
    o['bidirectional'],
    shapeOf(keysOf(0, true).kernel) !== undefined,
    `${subject}: bidirectional`,
  );
  const bias = flagOption(o['bias'], shapeOf(first.inputBias) !== undefined, `${subject}: bias`);
  const dropout = rateOption(o['dropout'], `${subject}: dropout`);
  const everyStep = flagOption(o['returnSequences'], true, `${subject}: returnSequences`);
  const [rows, columns] = shapeOf(first.kernel) ?? [];
  const hidden = countOf(o['hiddenSize'], Math.floor((rows ?? 0) / gates), `${subject}: hiddenSize`);
  const inputSize = countOf(o['inputSize'], columns, `${subject}: inputSize`);
  // PyTorch says 0 for none.
  const projected = o['projSize'] === 0 ? undefined : (o['projSize'] ?? shapeOf(first.projection)?.[0]);
  const projSize =
    module !== 'LSTM' || projected === undefined ? undefined : countOption(projected, `${subject}: projSize`);
  const width = projSize ?? hidden;

  const arrays = new Map<string, Shape>();
  const layers: LayerPlan[] = [];
  const directions = both ? [false, true] : [false];
  for (let l = 0; l < depth; l++) {
    for (const reverse of directions) {
      const keys = keysOf(l, reverse);
      arrays.set(keys.kernel, [gates * hidden, l === 0 ? inputSize : width * directions.length]);
      arrays.set(keys.recurrentKernel, [gates * hidden, width]);
      if (projSize !== undefined) arrays.set(keys.projection, [projSize, hidden]);
      if (bias) for (const key of [keys.inputBias, keys.stateBias]) arrays.set(key, [gates * hidden]);
    }
    const own = name === '' || depth === 1 ? name : `${name}.l${l}`;
    const named = own === '' ? {} : { name: own };
    const config = {
      units: hidden,
      useBias: bias,
      returnSequences: everyStep || l + 1 < depth,
      ...(module === 'RNN' ? { activation: nonlinearity } : {}),
      ...(projSize === undefined ? {} : { projectionUnits: projSize }),
    };
    layers.push({
      type: both ? 'bidirectional' : type,
      config: both ? { ...named, layer: { type, config } } : { ...named, ...config },
      weights: (get) =>
        Object.assign(
          {},
          ...directions.map((reverse) =>
            weightsOf(module, keysOf(l, reverse), both ? (reverse ? 'backward/' : 'forward/') : '', get, {
              bias,
              projected: projSize !== undefined,
            }),
          ),
        ),
    });
    if (dropout > 0 && l + 1 < depth)
      layers.push({ type: 'dropout', config: { rate: dropout }, weights: () => ({}) });
  }
  return {
    arrays,
    layers,
    inputWidth: inputSize,
    reads: 'sequence',
    widthAfter: () => width * directions.length,
    resolved: {
      ...{ inputSize, hiddenSize: hidden, numLayers: depth, bidirectional: both, bias, batchFirst: true },
      ...(dropout > 0 ? { dropout } : {}),
      ...(module === 'RNN' ? { nonlinearity } : {}),
      ...(projSize === undefined ? {} : { projSize }),
      returnSequences: everyStep,
    },
  };
}

/** How many layers the arrays are of; layers without a gap below them count. */
function layersIn(shapeOf: ShapeOf): number {
  let depth = 0;
  while (depth < MOST_LAYERS && shapeOf(keysOf(depth, false).kernel) !== undefined) depth++;
  return depth;
}

function weightsOf(
  module: RecurrentModule,
  keys: ReturnType<typeof keysOf>,
  prefix: string,
  get: (key: string) => Tensor,
  { bias, projected }: { bias: boolean; projected: boolean },
): Record<string, Tensor> {
  const [b, c] = bias ? [get(keys.inputBias), get(keys.stateBias)] : [];
  return {
    [`${prefix}kernel`]: transposed(get(keys.kernel)),
    [`${prefix}recurrentKernel`]: transposed(get(keys.recurrentKernel)),
    ...(projected ? { [`${prefix}projection`]: transposed(get(keys.projection)) } : {}),
    ...(b && c ? { [`${prefix}bias`]: module === 'GRU' ? stacked(b, c) : sum(b, c) } : {}),
  };
}

/** The reverse: the arrays of layer 0 of a module from the weights of a layer, both directions where it has them. */
export function torchArrays(
  module: RecurrentModule,
  weight: (name: string) => Tensor | undefined,
  both: boolean,
): Map<string, Tensor> {
  const arrays = new Map<string, Tensor>();
  for (const reverse of both ? [false, true] : [false]) {
    const prefix = both ? (reverse ? 'backward/' : 'forward/') : '';
    const keys = keysOf(0, reverse);
    const set = (key: string, array: Tensor | undefined) => array && arrays.set(key, asFloat32(array));
    const turned = (name: string) => {
      const found = weight(`${prefix}${name}`);
      return found && transposed(found);
    };
    set(keys.kernel, turned('kernel'));
    set(keys.recurrentKernel, turned('recurrentKernel'));
    set(keys.projection, turned('projection'));
    const bias = weight(`${prefix}bias`);
    if (!bias) continue;
    // PyTorch's biases are added up, so that one of zeros leaves ours as it is.
    set(keys.inputBias, module === 'GRU' ? row(bias, 0) : bias);
    set(keys.stateBias, module === 'GRU' ? row(bias, 1) : zerosLike(bias));
  }
  return arrays;
}

/** A key of layer 0 as that of layer `l`. */
export function atLayer(key: string, l: number): string {
  return key.replace(/_l0(?=$|_reverse$)/, `_l${l}`);
}
