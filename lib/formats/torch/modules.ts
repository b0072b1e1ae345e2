import { flagOption, readConfig } from '../../config';
import { oneOf, quoted, refuse } from '../../errors';
import { rateOption } from '../../layers/options';
import { nearestName } from '../../names';
import type { Shape, Tensor } from '../../tensors/tensor';
import { asFloat32, transposed } from './arrays';
import { type Entry, plainActivations } from './description';
import { countOf, type ModulePlan, positiveOption, type ShapeOf } from './modulePlan';
import { isRecurrent, planRecurrent, recurrentModules } from './recurrent';

type Planner = (entry: Entry, shapeOf: ShapeOf) => ModulePlan;

const named = ({ name }: Entry) => (name === '' ? {} : { name });

const planLinear: Planner = (entry, shapeOf) => {
  const { subject } = entry;
  const o = readConfig(entry.options, ['inFeatures', 'outFeatures', 'bias'], subject);
  const [rows, columns] = shapeOf('weight') ?? [];
  const outFeatures = countOf(o.outFeatures, rows, `${subject}: outFeatures`);
  const inFeatures = countOf(o.inFeatures, columns, `${subject}: inFeatures`);
  const bias = flagOption(o.bias, shapeOf('bias') !== undefined, `${subject}: bias`);
  return {
    arrays: new Map<string, Shape>([
      ['weight', [outFeatures, inFeatures]],
      ...(bias ? [['bias', [outFeatures]] as const] : []),
    ]),
    layers: [
      {
        type: 'dense',
        config: { ...named(entry), units: outFeatures, useBias: bias },
        weights: (get) => ({
          kernel: transposed(get('weight')),
          ...(bias ? { bias: asFloat32(get('bias')) } : {}),
        }),
      },
    ],
    inputWidth: inFeatures,
    reads: 'features',
    widthAfter: () => outFeatures,
    resolved: { inFeatures, outFeatures, bias },
  };
};

const planEmbedding: Planner = (entry, shapeOf) => {
  const { subject } = entry;
  const o = readConfig(entry.options, ['numEmbeddings', 'embeddingDim', 'paddingIdx', 'maskZero'], subject);
  const [rows, columns] = shapeOf('weight') ?? [];
  const numEmbeddings = countOf(o.numEmbeddings, rows, `${subject}: numEmbeddings`);
  const embeddingDim = countOf(o.embeddingDim, columns, `${subject}: embeddingDim`);
  const { paddingIdx } = o;
  const maskZero = flagOption(o.maskZero, false, `${subject}: maskZero`);
  if (
    paddingIdx !== undefined &&
    !(Number.isSafeInteger(paddingIdx) && Math.abs((paddingIdx as number) + 0.5) < numEmbeddings)
  )
    refuse(
      'ERR_VALUE',
      `${subject}: paddingIdx`,
      `an id from ${-numEmbeddings} to ${numEmbeddings - 1}`,
      quoted(paddingIdx),
    );
  return {
    arrays: new Map([['weight', [numEmbeddings, embeddingDim]]]),
    layers: [
      {
        type: 'embedding',
        config: { ...named(entry), inputDim: numEmbeddings, outputDim: embeddingDim, maskZero },
        weights: (get) => ({ embeddings: asFloat32(get('weight')) }),
      },
    ],
    reads: 'ids',
    widthAfter: () => embeddingDim,
    resolved: {
      numEmbeddings,
      embeddingDim,
      ...(paddingIdx === undefined ? {} : { paddingIdx }),
      ...(maskZero ? { maskZero } : {}),
    },
  };
};

/** Of LayerNorm and BatchNorm1d: gamma and beta. */
function affineWeights(
  get: (key: string) => Tensor,
  scale: boolean,
  center: boolean,
): Record<string, Tensor> {
  return {
    ...(scale ? { gamma: asFloat32(get('weight')) } : {}),
    ...(center ? { beta: asFloat32(get('bias')) } : {}),
  };
}

const planLayerNorm: Planner = (entry, shapeOf) => {
  const { subject } = entry;
  const o = readConfig(entry.options, ['normalizedShape', 'eps', 'elementwiseAffine', 'bias'], subject);
  const given = o.normalizedShape;
  const found = shapeOf('weight');
  if (Array.isArray(given) && given.length !== 1)
    refuse('ERR_VALUE', `${subject}: normalizedShape`, 'the last axis alone', given);
  const scale = flagOption(o.elementwiseAffine, found !== undefined, `${subject}: elementwiseAffine`);
  const center = scale && flagOption(o.bias, shapeOf('bias') !== undefined, `${subject}: bias`);
  const size = Array.isArray(given) ? given[0] : given;
  const features =
    size === undefined && !scale ? undefined : countOf(size, found?.[0], `${subject}: normalizedShape`);
  const eps = positiveOption(o.eps, 1e-5, `${subject}: eps`);
  const shape = [features as number];
  return {
    arrays: new Map([
      ...(scale ? [['weight', shape] as const] : []),
      ...(center ? [['bias', shape] as const] : []),
    ]),
    layers: [
      {
        type: 'layerNormalization',
        config: { ...named(entry), epsilon: eps, scale, center },
        weights: (get) => affineWeights(get, scale, center),
      },
    ],
    ...(features === undefined ? {} : { inputWidth: features }),
    reads: 'features',
    widthAfter: (width) => width,
    resolved: {
      ...(features === undefined ? {} : { normalizedShape: features }),
      ...{ eps, elementwiseAffine: scale, bias: center },
    },
  };
};

const planBatchNorm: Planner = (entry, shapeOf) => {
  const { subject } = entry;
  const o = readConfig(entry.options, ['numFeatures', 'eps', 'momentum', 'affine'], subject);
  const features = countOf(o.numFeatures, shapeOf('running_mean')?.[0], `${subject}: numFeatures`);
  const affine = flagOption(o.affine, shapeOf('weight') !== undefined, `${subject}: affine`);
  const eps = positiveOption(o.eps, 1e-5, `${subject}: eps`);
  const { momentum = 0.1 } = o;
  if (typeof momentum !== 'number' || !(momentum >= 0 && momentum <= 1))
    refuse('ERR_VALUE', `${subject}: momentum`, 'a number from 0 to 1', quoted(momentum));
  const keys = [...(affine ? ['weight', 'bias'] : []), 'running_mean', 'running_var'];
  return {
    arrays: new Map(keys.map((key) => [key, [features]])),
    ignored: ['num_batches_tracked'],
    layers: [
      {
        type: 'batchNormalization',
        // PyTorch's momentum is the share of the new, ours that of the old.
        config: {
          ...named(entry),
          ...{ epsilon: eps, momentum: 1 - (momentum as number), scale: affine, center: affine },
        },
        weights: (get) => ({
          ...affineWeights(get, affine, affine),
          movingMean: asFloat32(get('running_mean')),
          movingVariance: asFloat32(get('running_var')),
        }),
      },
    ],
    inputWidth: features,
    reads: 'features',
    widthAfter: (width) => width,
    resolved: { numFeatures: features, eps, momentum, affine },
  };
};

/** A module without arrays as one of our layers. */
function plain(
  entry: Entry,
  type: string,
  config: Record<string, unknown>,
  widthAfter: ModulePlan['widthAfter'] = (width) => width,
): ModulePlan {
  const layer = { type, config: { ...named(entry), ...config }, weights: () => ({}) };
  return { arrays: new Map(), layers: [layer], reads: 'features', widthAfter, resolved: entry.options };
}

/** An activation whose one option PyTorch has another name for. */
function withOption(option: string, usual: number, type: string): Planner {
  return (entry) => {
    const o = readConfig<string>(entry.options, [option], entry.subject);
    const value = o[option] ?? usual;
    if (typeof value !== 'number' || !Number.isFinite(value))
      refuse('ERR_VALUE', `${entry.subject}: ${option}`, 'a finite number', quoted(value));
    return plain(entry, 'activation', { activation: { type, alpha: value } });
  };
}

/** An activation over rows. @param usual the axis where the module is not told one: PyTorch's softmax then takes the first of three */
function overRows(type: string, usual: number | 'unsaid', widthAfter?: ModulePlan['widthAfter']): Planner {
  return (entry) => {
    const { dim = usual } = readConfig(entry.options, ['dim'], entry.subject);
    if (dim !== -1 && dim !== usual && !(Number.isInteger(dim) && (dim as number) > 0))
      refuse('ERR_VALUE', `${entry.subject}: dim`, '-1, the last axis, or its number', quoted(dim));
    const made = plain(entry, 'activation', { activation: type }, widthAfter);
    return dim === -1 ? made : { ...made, axis: dim as number | 'unsaid' };
  };
}

const planners: Readonly<Record<string, Planner>> = {
  ...Object.fromEntries(Object.keys(recurrentModules).map((module) => [module, planRecurrent])),
  Linear: planLinear,
  Embedding: planEmbedding,
  LayerNorm: planLayerNorm,
  BatchNorm1d: planBatchNorm,
  Dropout: (entry) => {
    const { p = 0.5 } = readConfig(entry.options, ['p'], entry.subject);
    return plain(entry, 'dropout', { rate: rateOption(p, `${entry.subject}: p`) });
  },
  Flatten: (entry) => {
    readConfig(entry.options, [], entry.subject);
    return plain(entry, 'flatten', {}, () => undefined);
  },
  LeakyReLU: withOption('negativeSlope', 0.01, 'leakyRelu'),
  ELU: withOption('alpha', 1, 'elu'),
  CELU: withOption('alpha', 1, 'celu'),
  Softshrink: withOption('lambd', 0.5, 'softShrink'),
  Hardshrink: withOption('lambd', 0.5, 'hardShrink'),
  GELU: (entry) => {
    const { approximate = 'none' } = readConfig(entry.options, ['approximate'], entry.subject);
    if (approximate !== 'none' && approximate !== 'tanh')
      refuse('ERR_VALUE', `${entry.subject}: approximate`, oneOf(['none', 'tanh']), quoted(approximate));
    return plain(entry, 'activation', { activation: approximate === 'tanh' ? 'geluTanh' : 'gelu' });
  },
  Softmax: overRows('softmax', 'unsaid'),
  LogSoftmax: overRows('logSoftmax', 'unsaid'),
  GLU: overRows('glu', -1, (width) => width && width / 2),
  ...Object.fromEntries(
    Object.entries(plainActivations).map(([module, activation]): [string, Planner] => [
      module,
      (entry) => {
        readConfig(entry.options, [], entry.subject);
        return plain(entry, 'activation', { activation });
      },
    ]),
  ),
};

/** @throws ERR_VALUE for a module or an option that is not known */
export function planModule(entry: Entry, shapeOf: ShapeOf): ModulePlan {
  const planner = Object.hasOwn(planners, entry.module) ? planners[entry.module] : undefined;
  if (planner) return planner(entry, shapeOf);
  const names = Object.keys(planners);
  const nearest = nearestName(entry.module, names);
  return refuse(
    'ERR_VALUE',
    `${entry.subject}: module`,
    `one of ${names.join(', ')}`,
    `'${entry.module}'`,
    nearest === undefined ? undefined : `Did you mean '${nearest}'?`,
  );
}

export { isRecurrent };
