import { isDeepStrictEqual } from 'node:util';
import { DeepRnnError, refuse } from '../../errors';
import { Bidirectional } from '../../layers/bidirectional';
import { ConvLstm } from '../../layers/convLstm';
import type { Layer } from '../../layers/layer';
import { Recurrent } from '../../layers/recurrent';
import type { RecurrentLayer } from '../../layers/recurrentLayer';
import { Rnn } from '../../layers/rnn';
import { TimeDistributed } from '../../layers/timeDistributed';
import type { Model } from '../../models/model';
import { Sequential } from '../../models/sequential';
import { type Shape, sameShape, Tensor } from '../../tensors/tensor';
import { cellClassOf, classOf, toSnakeCase } from './toKerasLayers';
import { groupName, type KerasVariable, placesAsListed, withGates } from './variables';

/** Weights that layers of Keras have. */
const known = [
  'kernel',
  'recurrentKernel',
  'bias',
  'embeddings',
  'alpha',
  'gamma',
  'beta',
  'movingMean',
  'movingVariance',
];

/** A part of a path: its name, or as an expression what it may be where a program may have named it otherwise. */
interface Part {
  readonly name: string;
  readonly expression: string;
}

const exactly = (name: string): Part => ({ name, expression: name.replace(/[^\w]/g, '\\$&') });
const guessed = (name: string, expression = '[^/]+'): Part => ({ name, expression });

/** Names that Keras gives by itself in a fresh process. */
class AutoNames {
  private readonly counts = new Map<string, number>();

  peek(className: string): string {
    const name = groupName(className);
    const count = this.counts.get(name) ?? 0;
    return count === 0 ? name : `${name}_${count}`;
  }

  next(className: string): string {
    const name = this.peek(className);
    const own = groupName(className);
    this.counts.set(own, (this.counts.get(own) ?? 0) + 1);
    return name;
  }
}

/** Of a weight: the parts of its path in Keras. */
type Scoped = (readonly [weight: string, parts: readonly Part[]])[];

/**
 * The path of each weight's variable in a model that is made in Keras with the same names of layers, without that of the model, by the name here.
 * Layers inside others have the names that Keras gives them where a program does not, their numbers counted over the layers in order.
 * @throws ERR_VALUE, naming the layer, for weights that Keras does not have
 */
function pathsOf(model: Model): ReadonlyMap<string, readonly Part[]> {
  const names = new AutoNames();
  const paths = new Map<string, readonly Part[]>();
  for (const layer of model.layers) {
    if (layer.type === 'input') continue;
    const scoped = scopedIn(
      layer,
      layer.weights.map(({ name }) => name),
      names,
    );
    // A layer of which a program has not said the name, as far as can be seen, is counted.
    if (names.peek(classOf(layer)) === layer.name) names.next(classOf(layer));
    for (const [weight, parts] of scoped) {
      const own = weight.slice(weight.lastIndexOf('/') + 1);
      const base = layer instanceof Rnn || layer instanceof Bidirectional ? own.replace(/\d+$/, '') : own;
      if (!known.includes(base))
        refuse('ERR_VALUE', `saveWeights: ${layer.subject}`, 'weights that Keras has', `'${weight}'`);
      paths.set(`${layer.name}/${weight}`, [exactly(layer.name), ...parts, exactly(toSnakeCase(base))]);
    }
  }
  return paths;
}

/** Whether one layer is what Keras makes of the other for the other direction where it is given one alone. */
function mirrors(forward: RecurrentLayer, backward: RecurrentLayer): boolean {
  const config = (layer: RecurrentLayer) => ({
    ...layer.getConfig(),
    name: '',
    trainable: true,
    goBackwards: false,
  });
  return forward.type === backward.type && isDeepStrictEqual(config(forward), config(backward));
}

/** @param weights names in the layer, of those that are asked for */
function scopedIn(layer: Layer, weights: readonly string[], names: AutoNames): Scoped {
  if (layer instanceof Bidirectional) {
    const { forward, backward } = layer.parts;
    const of = (direction: string) =>
      weights
        .filter((weight) => weight.startsWith(`${direction}/`))
        .map((weight) => weight.slice(direction.length + 1));
    const within = (direction: string, part: Part, scoped: Scoped): Scoped =>
      scoped.map(([weight, parts]) => [`${direction}/${weight}`, [part, ...parts]]);
    const ahead = scopedIn(forward, of('forward'), names);
    const name = names.next(classOf(forward));
    const first = guessed(`forward_${name}`, 'forward_[^/]+');
    if (mirrors(forward, backward)) {
      const second = guessed(`backward_${name}`, '(?!forward_)[^/]+');
      return [...within('forward', first, ahead), ...within('backward', second, ahead)];
    }
    const behind = scopedIn(backward, of('backward'), names);
    const second = guessed(names.next(classOf(backward)), '(?!forward_)[^/]+');
    return [...within('forward', first, ahead), ...within('backward', second, behind)];
  }
  if (layer instanceof TimeDistributed) {
    const inner = scopedIn(layer.layer, weights, names);
    const part = guessed(names.next(classOf(layer.layer)));
    return inner.map(([weight, parts]) => [weight, [part, ...parts]]);
  }
  if (layer instanceof Rnn) return scopedInCell(layer, weights, names);
  const cell =
    layer instanceof ConvLstm
      ? 'conv_lstm_cell'
      : layer instanceof Recurrent
        ? `${groupName(classOf(layer))}_cell`
        : undefined;
  return weights.map((weight) => [weight, cell === undefined ? [] : [exactly(cell)]]);
}

function scopedInCell({ cell, subject }: Rnn, weights: readonly string[], names: AutoNames): Scoped {
  if (cell.type !== 'stacked') {
    const part = guessed(names.next(cellClassOf(cell.type, subject)));
    return weights.map((weight) => [weight, [part]]);
  }
  const { cells } = cell.config as unknown as { cells: readonly { type: string }[] };
  const parts = cells.map(({ type }) => exactly(names.next(cellClassOf(type, subject))));
  const stack = exactly(names.next('StackedRNNCells'));
  return weights.map((weight) => [weight, [stack, parts[Number(/\d+$/.exec(weight)?.[0])] as Part]]);
}

interface Named {
  readonly variable: KerasVariable;
  readonly path: string;
  readonly expression: string;
  readonly isSure: boolean;
}

function namedIn(model: Model): Named[] {
  const paths = pathsOf(model);
  const listed = model.layers.map(({ name }) => ({ name, here: name }));
  return placesAsListed(model, listed).flatMap(({ variables }) =>
    variables.map((variable) => {
      const parts = paths.get(variable.name) as readonly Part[];
      const expression = parts.map((part) => part.expression).join('/');
      return {
        variable,
        path: parts.map(({ name }) => name).join('/'),
        expression,
        isSure: !expression.includes('[^/]'),
      };
    }),
  );
}

/**
 * Weights by the paths that Keras's variables have, in Keras's layouts and order of gates. The paths are those in a model that is made in a
 * program: of a sequential one they begin with its name.
 */
export async function toKerasNames(model: Model): Promise<ReadonlyMap<string, Tensor>> {
  const named = namedIn(model);
  const before = model instanceof Sequential ? `${model.name}/` : '';
  const names = named.map(({ variable }) => variable.name);
  const arrays = await model.exclusive('reads', () => model.variables.readLater(names));
  return new Map(
    named.map(({ variable: { name, fileShape, swapped }, path }) => {
      const { data } = arrays.get(name) as Tensor;
      return [`${before}${path}`, new Tensor(withGates(data, swapped), fileShape)];
    }),
  );
}

/** The arrays of a file, by the names here, where they have Keras's. */
type Found = ReadonlyMap<string, readonly [array: string, variable: KerasVariable]>;

function foundIn(named: readonly Named[], names: readonly string[], before: string): Found {
  const all = new Set(names);
  const found = new Map<string, readonly [string, KerasVariable]>();
  for (const { variable, path, expression, isSure } of named) {
    const whole = new RegExp(`^${exactly(before).expression}${expression}$`);
    const own = all.has(before + path)
      ? [before + path]
      : isSure
        ? []
        : names.filter((name) => whole.test(name));
    if (own.length === 1) found.set(variable.name, [own[0] as string, variable]);
  }
  return found;
}

/**
 * Arrays of a file whose names are those of {@link toKerasNames}, with any name of the model or none, in the layouts of this library and by its names.
 * @param asked whether the names are known to be Keras's; else undefined where they are not
 * @throws ERR_FILE where an array is missing, has another shape, or is one too many
 */
export function fromKerasNames(
  model: Model,
  tensors: ReadonlyMap<string, Tensor>,
  path: string,
  asked: boolean,
): ReadonlyMap<string, Tensor> | undefined {
  const names = [...tensors.keys()];
  const foreign = (wanted: string, got: string): never => {
    throw new DeepRnnError(
      'ERR_FILE',
      `'${path}' holds the weights of another model: expected ${wanted}, got ${got}.`,
    );
  };
  const named = namedIn(model);
  const first = /^[^/]+\//.exec(names[0] ?? '')?.[0] ?? '';
  const befores = first !== '' && names.every((name) => name.startsWith(first)) ? [first, ''] : [''];
  const found = befores
    .map((before) => foundIn(named, names, before))
    .reduce((a, b) => (b.size > a.size ? b : a));
  const isOwn = new Set(named.map(({ variable }) => variable.name));
  if (!asked && [...found.values()].every(([array]) => isOwn.has(array))) return undefined;
  if (names.length > named.length) foreign(`${named.length} arrays`, `${names.length}`);
  const shown = (shape: Shape) => `[${shape.join(', ')}]`;
  return new Map(
    named.map(({ variable: { name, shape, fileShape, swapped }, path: own }) => {
      const [array] = found.get(name) ?? foreign(`${own} ${shown(fileShape)}`, 'no such array');
      const { shape: got, data } = tensors.get(array as string) as Tensor;
      if (!sameShape(got, fileShape)) foreign(`${array} ${shown(fileShape)}`, shown(got));
      return [name, new Tensor(withGates(data, swapped), shape)];
    }),
  );
}
