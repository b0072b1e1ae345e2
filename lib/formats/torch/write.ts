import { readConfig } from '../../config';
import { DeepRnnError, refuse } from '../../errors';
import { writeSafetensors } from '../../io/modelFile';
import type { Layer } from '../../layers/layer';
import { inputOf } from '../../models/graph';
import type { Model } from '../../models/model';
import { toCamelCase } from '../../names';
import { sameShape, type Tensor } from '../../tensors/tensor';
import { asFloat32, transposed } from './arrays';
import { type Entry, plainActivations, prefixOf, readEntries, type TorchDescription } from './description';
import { planModule } from './modules';
import { atLayer, isRecurrent, type RecurrentModule, recurrentModules, torchArrays } from './recurrent';

export interface ToTorchOptions {
  /**
   * The modules whose state dict is wanted, as `fromTorch` takes them: recurrent layers in a row become one module of several layers. Default: a
   * module for every layer, by the layer's name.
   */
  readonly description?: TorchDescription;
}

/** A module that does what a layer does, or a part of it. */
interface Unit {
  readonly layer: Layer;
  readonly module: string;
  /** Beside sizes, which the arrays say. */
  readonly options: Readonly<Record<string, unknown>>;
  /** By their names in the module; of recurrent ones those of layer 0. */
  readonly arrays: (weight: (name: string) => Tensor | undefined) => ReadonlyMap<string, Tensor>;
}

interface Placed extends Unit {
  /** The number of the last axis of what it gives, counted from the batch's. */
  readonly axis: number;
}

/** See `toTorch`. */
export async function writeTorch(
  model: Model,
  path: string,
  options: ToTorchOptions,
): Promise<TorchDescription> {
  const o = readConfig(options, ['description'], 'toTorch');
  const chain = layersInARow(model);
  let read = inputOf(model.requireBuilt('toTorch'));
  const units = chain.flatMap((layer): Placed[] => {
    read = layer.outputShape(read);
    const axis = read.shape.length;
    return unitsOf(layer).map((unit) => ({ ...unit, axis }));
  });
  // All refusals of layers come before weights are read.
  const groups =
    o.description === undefined ? alone(units) : grouped(units, readEntries(o.description, 'toTorch'));
  const weights = await model.getWeights();
  const tensors = new Map<string, Tensor>();
  const description = groups.map(({ entry, units: own }) => {
    const arrays = new Map<string, Tensor>();
    for (const [l, { layer, arrays: of }] of own.entries())
      for (const [key, array] of of((name) => weights.get(name) ?? weights.get(`${layer.name}/${name}`)))
        arrays.set(atLayer(key, l), array);
    const { resolved } = prove(entry, arrays);
    for (const [key, array] of arrays) {
      const name = `${prefixOf(entry)}${key}`;
      if (tensors.has(name))
        refuse(
          'ERR_VALUE',
          `${entry.subject}: name`,
          'one of its own',
          `the name of another that has '${name}'`,
        );
      tensors.set(name, array);
    }
    return { ...(entry.name === '' ? {} : { name: entry.name }), module: entry.module, ...resolved };
  });
  await writeSafetensors(path, { tensors, metadata: { format: 'pt' } });
  return description as unknown as TorchDescription;
}

/** @throws ERR_VALUE for a model that is no chain of layers, each used once */
function layersInARow(model: Model): readonly Layer[] {
  const { inputs, nodes, outputs } = model.requireBuilt('toTorch');
  const isChain =
    inputs.length === 1 &&
    outputs.length === 1 &&
    outputs[0]?.from === nodes.length &&
    new Set(nodes.map(({ layer }) => layer)).size === nodes.length;
  const branch = isChain
    ? nodes.find((node, i) => node.inputs.length !== 1 || node.inputs[0]?.from !== i)?.layer.subject
    : 'branches';
  if (branch !== undefined) refuse('ERR_VALUE', `toTorch: model '${model.name}'`, 'layers in a row', branch);
  return nodes.map(({ layer }) => layer);
}

interface Group {
  readonly entry: Entry;
  /** One for each layer of a recurrent module, else one. */
  readonly units: readonly Unit[];
}

function alone(units: readonly Placed[]): Group[] {
  return units.map((unit) => {
    const { layer, module, options } = unit;
    // What an activation of a dense layer becomes has no arrays and needs no name.
    const name = hasArrays(unit) ? layer.name : '';
    return { entry: { subject: `toTorch: ${layer.subject}`, name, module, options }, units: [unit] };
  });
}

function hasArrays({ module, options }: Unit): boolean {
  return (
    isRecurrent(module) ||
    ['Linear', 'Embedding', 'BatchNorm1d'].includes(module) ||
    (module === 'LayerNorm' && options['elementwiseAffine'] !== false)
  );
}

/** Shares the units out among the modules of a description. @throws ERR_VALUE where they do not fit */
function grouped(units: readonly Placed[], entries: readonly Entry[]): Group[] {
  let at = 0;
  const take = (entry: Entry, module: string): Placed => {
    const unit = units[at++];
    const got = unit ? `${unit.layer.subject}, which is ${unit.module}` : 'the end of the model';
    if (unit?.module !== module) refuse('ERR_VALUE', entry.subject, `a layer that is ${module}`, got);
    return unit as Placed;
  };
  /** As in a state dict: all layers in a row, unless the description has modules for them. */
  const layersOf = (module: string, next: Entry | undefined): number => {
    const other = units.findIndex((unit, i) => i >= at && unit.module !== module);
    return next?.module === module ? 1 : Math.max(1, (other < 0 ? units.length : other) - at);
  };
  const groups = entries.map((entry, i): Group => {
    const { module, options } = entry;
    const recurrent = isRecurrent(module) ? options : { numLayers: 1 };
    const { numLayers = layersOf(module, entries[i + 1]), dropout = 0, returnSequences } = recurrent;
    const own: Placed[] = [];
    for (let l = 0; l < (numLayers as number); l++) {
      if (l > 0 && (dropout as number) > 0) {
        const { layer, options: dropped } = take(entry, 'Dropout');
        if (dropped['p'] !== dropout)
          refuse('ERR_VALUE', `${entry.subject}: dropout`, `the rate of ${layer.subject}`, dropout);
      }
      own.push(take(entry, module));
    }
    const top = own.at(-1)?.options ?? {};
    if (returnSequences !== undefined && returnSequences !== top['returnSequences'])
      refuse(
        'ERR_VALUE',
        `${entry.subject}: returnSequences`,
        String(top['returnSequences']),
        returnSequences,
      );
    const lower = own.slice(0, -1).find((unit) => unit.options['returnSequences'] === false);
    if (lower)
      refuse(
        'ERR_VALUE',
        entry.subject,
        'layers that give every step, below the top one',
        lower.layer.subject,
      );
    for (const [key, value] of Object.entries(options)) {
      const found = key === 'dim' && value === own.at(-1)?.axis ? value : top[key];
      if (found !== undefined && value !== null && found !== value)
        refuse(
          'ERR_VALUE',
          `${entry.subject}: ${key}`,
          `that of ${own.at(-1)?.layer.subject}, ${found}`,
          value,
        );
    }
    return { entry: { ...entry, options: { ...top, ...options } }, units: own };
  });
  if (at < units.length) {
    const left = units[at] as Unit;
    refuse('ERR_VALUE', 'toTorch: description', `a module for ${left.layer.subject}`, 'the end of it');
  }
  return groups;
}

/** The module as `fromTorch` would see it, so that what is written can be read. */
function prove(entry: Entry, arrays: ReadonlyMap<string, Tensor>) {
  const plan = planModule(entry, (key) => arrays.get(key)?.shape);
  for (const [key, shape] of plan.arrays) {
    const found = arrays.get(key);
    if (found && sameShape(found.shape, shape)) continue;
    const got = found ? `[${found.shape.join(', ')}]` : 'none in the model';
    refuse('ERR_SHAPE', `${entry.subject}: '${prefixOf(entry)}${key}'`, `[${shape.join(', ')}]`, got);
  }
  const stranger = [...arrays.keys()].find((key) => !plan.arrays.has(key));
  if (stranger !== undefined)
    refuse('ERR_VALUE', `${entry.subject}`, `no '${stranger}', which the model has`, 'its options');
  return plan;
}

function cannot(layer: Layer, reason: string): never {
  throw new DeepRnnError('ERR_VALUE', `toTorch: ${layer.subject} cannot be written for PyTorch: ${reason}.`);
}

/** Turned round: our activation → module. */
const activationModules: Readonly<Record<string, string>> = Object.fromEntries([
  ...Object.entries(plainActivations).map(([module, activation]) => [activation, module]),
  ...['softmax:Softmax', 'logSoftmax:LogSoftmax', 'glu:GLU', 'gelu:GELU', 'geluTanh:GELU'].map((pair) =>
    pair.split(':'),
  ),
  ...['leakyRelu:LeakyReLU', 'elu:ELU', 'celu:CELU', 'softShrink:Softshrink', 'hardShrink:Hardshrink'].map(
    (pair) => pair.split(':'),
  ),
]);
/** Our parameters of activations where configurations leave them out. */
const usualParameters: Readonly<Record<string, number>> = {
  leakyRelu: 0.2,
  softShrink: 0.5,
  hardShrink: 0.5,
};
const parameterNames: Readonly<Record<string, string>> = {
  ...{ LeakyReLU: 'negativeSlope', ELU: 'alpha', CELU: 'alpha' },
  ...{ Softshrink: 'lambd', Hardshrink: 'lambd' },
};

function activationUnit(layer: Layer, activation: unknown): Unit[] {
  const { type, alpha } = (
    typeof activation === 'object' && activation ? activation : { type: activation }
  ) as {
    type: string;
    alpha?: number;
  };
  if (type === 'linear') return [];
  const module = activationModules[type];
  if (module === undefined) cannot(layer, `PyTorch has no activation '${type}'`);
  const parameter = parameterNames[module as string];
  const options = {
    ...(parameter ? { [parameter]: alpha ?? usualParameters[type] ?? 1 } : {}),
    ...(['Softmax', 'LogSoftmax', 'GLU'].includes(module as string) ? { dim: -1 } : {}),
    ...(module === 'GELU' ? { approximate: type === 'geluTanh' ? 'tanh' : 'none' } : {}),
  };
  return [{ layer, module: module as string, options, arrays: () => new Map() }];
}

const none = () => new Map<string, Tensor>();
type Writer = (layer: Layer, config: Record<string, unknown>) => Unit[];

const writers: Readonly<Record<string, Writer>> = {
  input: () => [],
  simpleRNN: (layer, config) => [recurrentUnit(layer, 'simpleRNN', config)],
  lstm: (layer, config) => [recurrentUnit(layer, 'lstm', config)],
  gru: (layer, config) => [recurrentUnit(layer, 'gru', config)],
  bidirectional: (layer, config) => {
    if (config['mergeMode'] !== 'concat') cannot(layer, "its mergeMode is not 'concat'");
    if (config['backwardLayer'] !== undefined) cannot(layer, 'its two directions have layers of their own');
    const inner = config['layer'] as { type: string; config: Record<string, unknown> };
    return [recurrentUnit(layer, inner.type, inner.config, true)];
  },
  dense: (layer, { useBias, tiedTo, activation }) => [
    {
      layer,
      module: 'Linear',
      options: { bias: useBias },
      arrays: (weight) => {
        const kernel = weight('kernel');
        // The table of a tied embedding lies as PyTorch wants it.
        const tied = tiedTo === undefined ? undefined : weight(`${tiedTo}/embeddings`);
        return new Map([
          ...(kernel ? [['weight', transposed(kernel)] as const] : []),
          ...(tied ? [['weight', asFloat32(tied)] as const] : []),
          ...biasOf('bias', weight('bias')),
        ]);
      },
    },
    ...activationUnit(layer, activation),
  ],
  embedding: (layer, { maskZero }) => [
    {
      layer,
      module: 'Embedding',
      options: maskZero ? { paddingIdx: 0, maskZero } : {},
      arrays: (weight) => new Map(biasOf('weight', weight('embeddings'))),
    },
  ],
  layerNormalization: (layer, { epsilon, scale, center }) => {
    if (!scale && center) cannot(layer, 'LayerNorm has no bias without a weight');
    return [
      {
        layer,
        module: 'LayerNorm',
        options: { eps: epsilon, elementwiseAffine: scale, bias: center },
        arrays: (weight) =>
          new Map([...biasOf('weight', weight('gamma')), ...biasOf('bias', weight('beta'))]),
      },
    ];
  },
  batchNormalization: (layer, { epsilon, momentum, scale, center }) => {
    if (scale !== center) cannot(layer, 'BatchNorm1d has weight and bias, or neither');
    return [
      {
        layer,
        module: 'BatchNorm1d',
        // Rounded where the subtraction shows: 1 − 0.9 is not 0.1.
        options: {
          eps: epsilon,
          momentum: Number((1 - (momentum as number)).toPrecision(15)),
          affine: scale,
        },
        arrays: (weight) =>
          new Map([
            ...biasOf('weight', weight('gamma')),
            ...biasOf('bias', weight('beta')),
            ...biasOf('running_mean', weight('movingMean')),
            ...biasOf('running_var', weight('movingVariance')),
          ]),
      },
    ];
  },
  dropout: (layer, { rate, noiseShape }) => {
    if (noiseShape !== undefined) cannot(layer, 'its masks are shared over time');
    return [{ layer, module: 'Dropout', options: { p: rate }, arrays: none }];
  },
  flatten: (layer) => [{ layer, module: 'Flatten', options: {}, arrays: none }],
  activation: (layer, { activation }) => activationUnit(layer, activation),
  softmax: (layer) => activationUnit(layer, 'softmax'),
  elu: (layer, { alpha }) => activationUnit(layer, { type: 'elu', alpha }),
  leakyReLU: (layer, { negativeSlope }) => activationUnit(layer, { type: 'leakyRelu', alpha: negativeSlope }),
  relu: (layer, { maxValue, negativeSlope, threshold }) => {
    if (threshold !== 0 || (maxValue !== undefined && (maxValue !== 6 || negativeSlope !== 0)))
      cannot(layer, 'PyTorch has no such ReLU in one module');
    if (maxValue === 6) return activationUnit(layer, 'relu6');
    return activationUnit(layer, negativeSlope === 0 ? 'relu' : { type: 'leakyRelu', alpha: negativeSlope });
  },
};

function biasOf(key: string, array: Tensor | undefined): (readonly [string, Tensor])[] {
  return array ? [[key, asFloat32(array)]] : [];
}

function unitsOf(layer: Layer): Unit[] {
  const write = Object.hasOwn(writers, layer.type) ? writers[layer.type] : undefined;
  return write?.(layer, layer.getConfig()) ?? cannot(layer, `it is of the type ${layer.type}`);
}

/** Options that PyTorch's modules do not have, at the values that change nothing in what the layer predicts. */
const mustBe: Readonly<Record<string, readonly unknown[]>> = {
  goBackwards: [false],
  initialState: ['zeros'],
  layerNormalization: [false],
  peepholes: [false],
  coupledGates: [false],
  recurrentActivation: ['sigmoid'],
  resetAfter: [true],
  zeroOutputForMask: [false, true],
};

function recurrentUnit(layer: Layer, type: string, config: Record<string, unknown>, both = false): Unit {
  const found = Object.entries(recurrentModules).find(([, own]) => own.type === toCamelCase(type));
  if (!found) return cannot(layer, `its directions are of the type ${type}`);
  const module = found[0] as RecurrentModule;
  for (const [option, accepted] of Object.entries(mustBe)) {
    const value = config[option];
    if (value !== undefined && !accepted.includes(value))
      cannot(layer, `its ${option} is ${JSON.stringify(value)}`);
  }
  for (const option of ['cellClip', 'zoneout', 'cellZoneout'])
    if (config[option] !== undefined && config[option] !== 0) cannot(layer, `it has ${option}`);
  const { activation, useBias } = config;
  const fits = activation === 'tanh' || (module === 'RNN' && activation === 'relu');
  if (!fits) cannot(layer, `its activation is ${JSON.stringify(activation)}`);
  return {
    layer,
    module,
    options: {
      ...{ bidirectional: both, bias: useBias },
      ...(module === 'RNN' ? { nonlinearity: activation } : {}),
      returnSequences: config['returnSequences'] === true,
    },
    arrays: (weight) => torchArrays(module, weight, both),
  };
}
