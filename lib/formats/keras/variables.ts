import { refuse } from '../../errors';
import { Bidirectional } from '../../layers/bidirectional';
import { ConvLstm } from '../../layers/convLstm';
import { Gru } from '../../layers/gru';
import type { Layer } from '../../layers/layer';
import { Recurrent } from '../../layers/recurrent';
import type { RecurrentLayer } from '../../layers/recurrentLayer';
import { Rnn } from '../../layers/rnn';
import { TimeDistributed } from '../../layers/timeDistributed';
import { Functional } from '../../models/functional';
import type { KerasListed } from '../../models/kerasNested';
import type { Model } from '../../models/model';
import type { Shape, TensorData } from '../../tensors/tensor';
import { kerasOrder, type Operation } from './order';
import { cellClassOf, classOf } from './toKerasLayers';

/** A weight with its place in Keras's files. */
export interface KerasVariable {
  /** `<layer>/<weight>` of the model here. */
  readonly name: string;
  /** In a file of weights of Keras 3. */
  readonly path: string;
  readonly shape: Shape;
  /** In files, where that is another: a cell's bias of two rows is one row here. */
  readonly fileShape: Shape;
  /** Whether training changes it, as the layer is now. */
  readonly trainable: boolean;
  /** Of a GRU: its units. Keras has the gates z, r, h, here they are r, z, n. */
  readonly swapped: number | undefined;
}

/** A layer with its place. */
export interface KerasPlace {
  readonly layer: Layer;
  /** The group of a layer in a file of weights. */
  readonly path: string;
  /** In files of Keras 2: the name of the layer, or of the model that it is in and that is used as a layer. */
  readonly listed: string;
  /** All groups of the layer, outer ones first, each with the name of what it belongs to. */
  readonly groups: readonly (readonly [path: string, name: string])[];
  readonly variables: readonly KerasVariable[];
}

/** `LSTMCell` → `lstm_cell`, `PReLU` → `p_re_lu`: how Keras names objects by their classes. */
export function groupName(className: string): string {
  return className
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

/** Names that count on: `dense`, `dense_1`. */
function counter(): (name: string) => string {
  const used = new Map<string, number>();
  return (name) => {
    const count = used.get(name) ?? 0;
    used.set(name, count + 1);
    return count === 0 ? name : `${name}_${count}`;
  };
}

/** The layers of a built model, in the order in which Keras opens it, with their places. */
export function placesOf(model: Model): KerasPlace[] {
  const places = placed(operationsOf(model, 0), '');
  // Where Keras's masks come to lie decides which of two alike layers is the first: rather none than the wrong weights.
  const other = new Map(placed(operationsOf(model, 1), '').map(({ path, layer }) => [path, layer]));
  const odd = places.find(({ path, layer }) => other.get(path) !== layer);
  if (odd)
    refuse(
      'ERR_VALUE',
      odd.layer.subject,
      'a place among layers of its kind that does not depend on where masks are made',
      'branches with a masking layer in one of them',
      'Put masking right above the inputs.',
    );
  return places;
}

/** The layers of a model as a file of Keras lists them. */
export function placesAsListed(model: Model, listed: readonly KerasListed[]): KerasPlace[] {
  const layers = new Map(
    model.layers.filter(({ type }) => type !== 'input').map((layer) => [layer.name, layer]),
  );
  const partsOf = (parts: readonly KerasListed[]): Part[] =>
    parts.flatMap((part): Part[] => {
      if ('parts' in part) return [{ ...part, parts: partsOf(part.parts) }];
      const layer = layers.get(part.here);
      return layer ? [{ layer, name: part.name }] : [];
    });
  return placed(partsOf(listed), '');
}

function operationsOf(model: Model, maskDepth: number): Part[] {
  const operations: readonly Operation[] =
    model instanceof Functional
      ? kerasOrder(model.graph, maskDepth)
      : model.layers.filter(({ type }) => type !== 'input');
  return operations.flatMap((layer) => (typeof layer === 'number' ? [] : [{ layer, name: layer.name }]));
}

/** A layer, or a model among layers with those in it, by its name in a file. */
type Part =
  | { readonly name: string; readonly layer: Layer }
  | { readonly name: string; readonly className: string; readonly parts: readonly Part[] };

/** @param within the group of the model that they are in */
function placed(parts: readonly Part[], within: string): KerasPlace[] {
  const next = counter();
  return parts.flatMap((part) => {
    const className = 'parts' in part ? part.className : classOf(part.layer);
    const path = `${within}layers/${next(groupName(className))}`;
    const { name: listed } = part;
    if ('parts' in part) return placed(part.parts, `${path}/`).map((place) => ({ ...place, listed }));
    const { layer } = part;
    const found = variablesOf(layer, layer.name, path, '');
    const variables = found.variables.map((variable) => ({
      ...variable,
      trainable: layer.trainable && variable.trainable,
    }));
    return [{ layer, path, listed, groups: found.groups, variables }];
  });
}

type Found = Pick<KerasPlace, 'groups' | 'variables'>;

/** @param prefix of the weights' names in the layer */
function variablesOf(layer: Layer, owner: string, path: string, prefix: string): Found {
  const own: Found['groups'] = [[path, layer.name || owner]];
  if (layer instanceof Bidirectional) {
    const parts = (['forward', 'backward'] as const).map((direction) => {
      const found = variablesOf(layer.parts[direction], owner, `${path}/${direction}_layer`, `${direction}/`);
      if (!layer.isFrozen(direction)) return found;
      return { ...found, variables: found.variables.map((own) => ({ ...own, trainable: false })) };
    });
    return joined([{ groups: own, variables: [] }, ...parts]);
  }
  if (layer instanceof TimeDistributed)
    return joined([{ groups: own, variables: [] }, variablesOf(layer.layer, owner, `${path}/layer`, prefix)]);
  const list = (names: readonly string[], group: string, swapped?: number): Found['variables'] =>
    names.map((name, i) => {
      const spec = layer.weights.find((weight) => weight.name === name);
      if (!spec) throw new Error(`${layer.subject} has no weight '${name}'`);
      return {
        name: `${owner}/${prefix}${name}`,
        path: `${group}/vars/${i}`,
        shape: spec.shape,
        fileShape:
          swapped !== undefined && spec.shape.join() === `${6 * swapped}` ? [2, 3 * swapped] : spec.shape,
        trainable: spec.trainable !== false,
        swapped,
      };
    });
  if (layer instanceof Rnn) return joined([{ groups: own, variables: [] }, cellVariables(layer, path, list)]);
  const names = layer.weights.map(({ name }) => name);
  if (layer instanceof Recurrent || layer instanceof ConvLstm) {
    const cell = `${path}/cell`;
    const swapped = layer instanceof Gru ? layer.units : undefined;
    return {
      groups: [...own, [cell, `${groupName(classOf(layer))}_cell`]],
      variables: list(names, cell, swapped),
    };
  }
  return { groups: own, variables: list(names, path) };
}

function cellVariables(
  layer: Rnn & RecurrentLayer,
  path: string,
  list: (names: readonly string[], group: string, swapped?: number) => Found['variables'],
): Found {
  const cell = `${path}/cell`;
  const { type, config } = layer.cell;
  const unitsOf = (given: unknown) => (given as { config: { units: number } }).config.units;
  if (type !== 'stacked') {
    const name = groupName(cellClassOf(type, layer.subject));
    const swapped = type === 'gru' ? unitsOf({ config }) : undefined;
    return {
      groups: [[cell, name]],
      variables: list(
        layer.weights.map((weight) => weight.name),
        cell,
        swapped,
      ),
    };
  }
  const next = counter();
  const { cells } = config as { cells: readonly { type: string }[] };
  const parts = cells.map((part, i): Found => {
    const name = next(groupName(cellClassOf(part.type, layer.subject)));
    const group = `${cell}/cells/${name}`;
    const names = layer.weights
      .map((weight) => weight.name)
      .filter((weight) => /\d+$/.exec(weight)?.[0] === `${i}`);
    return {
      groups: [[group, name]],
      variables: list(names, group, part.type === 'gru' ? unitsOf(part) : undefined),
    };
  });
  return joined([
    {
      groups: [
        [cell, 'stacked_rnn_cells'],
        [`${cell}/cells`, ''],
      ],
      variables: [],
    },
    ...parts,
  ]);
}

function joined(parts: readonly Found[]): Found {
  return {
    groups: parts.flatMap(({ groups }) => groups),
    variables: parts.flatMap(({ variables }) => variables),
  };
}

/** An array with the first two gates of each row in each other's place, which is its own reverse; others as they are. */
export function withGates<D extends TensorData>(values: D, units: number | undefined): D {
  if (units === undefined) return values;
  const out = values.slice() as D;
  const width = 3 * units;
  for (let row = 0; row + width <= values.length; row += width) {
    out.set(values.subarray(row + units, row + 2 * units), row);
    out.set(values.subarray(row, row + units), row + units);
  }
  return out;
}
