import { flagOption, readConfig } from '../../config';
import { DeepRnnError, reasonOf } from '../../errors';
import { readBytes } from '../../io/modelFile';
import type { Layer } from '../../layers/layer';
import type { CompileOptions } from '../../models/compiled';
import { structureToModel } from '../../models/fromConfig';
import type { Model } from '../../models/model';
import type { ModelStructure } from '../../models/modelStructure';
import { toCamelCase } from '../../names';
import { type Shape, sameShape, Tensor } from '../../tensors/tensor';
import type { LoadOptions } from '../loadModel';
import { refuseReversedMasks } from '../reversedMasks';
import type { StackedCell } from './cells';
import { type Fail, readManifest, readShards, type WeightEntry } from './manifest';
import { matchOptimizer, optimizerOf } from './optimizer';
import { isHardSigmoid, topologyOf } from './topology';

/** See the format. */
export async function readTfjs(file: string, options: LoadOptions): Promise<Model> {
  const fail: Fail = (reason) => {
    throw new DeepRnnError('ERR_FILE', `'${file}' cannot be made into a model: ${reason}.`);
  };
  const o = readConfig(options, ['compile', 'device', 'threads'], 'loadModel');
  const compiles = flagOption(o.compile, true, 'loadModel: compile');
  const bytes = await readBytes(file);
  let json: Record<string, unknown> = {};
  try {
    json = Object(JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')));
  } catch {
    fail('it is not JSON');
  }
  if (json['format'] === 'graph-model')
    fail('it is a graph model, whose operations are not those of layers, expected a layers model');
  if (json['modelTopology'] === undefined) fail('it has no modelTopology');
  const { structure, stacked } = topologyOf(json['modelTopology'], fail);
  const groups = readManifest(json['weightsManifest'], fail);
  const [slots = [], entries = []] = [true, false].map((wanted) =>
    groups.flatMap(({ weights }) => weights.filter(({ isSlot }) => isSlot === wanted)),
  );
  const model = within(fail, () => structureToModel(structure as unknown as ModelStructure, false));
  within(fail, () => refuseReversedMasks(model));
  for (const layer of model.layers) refuseHardSigmoid(layer, fail);
  if (!model.built) fail('its first layer says no shape of its input');
  const matched = match(model, entries, stacked, fail);
  const setOptimizer = compiles ? compileAsIn(json, model, slots, matched, o, fail) : undefined;
  const tensors = await readShards(file, groups, fail);
  await model.setWeights(
    new Map(
      matched.map(({ layer, weight, shape, entry }) => [
        `${layer.name}/${weight}`,
        inOurOrder(layer, weight, new Tensor((tensors.get(entry.name) as Tensor).data, shape), 1),
      ]),
    ),
  );
  await setOptimizer?.(tensors);
  return model;
}

/** Compiles a model as its file says. @returns what gives its optimizer the state that the file has */
function compileAsIn(
  json: Record<string, unknown>,
  model: Model,
  slots: readonly WeightEntry[],
  matched: readonly Match[],
  { device, threads }: Partial<Record<'device' | 'threads', unknown>>,
  fail: Fail,
): ReturnType<typeof matchOptimizer> | undefined {
  const training = json['trainingConfig'];
  if (!training) return undefined;
  const failed: Fail = (reason) =>
    fail(`${reason}. loadModel(path, { compile: false }) leaves its training configuration out`);
  const { loss, metrics, optimizer_config: optimizer } = Object(training) as Record<string, unknown>;
  const compile = {
    // Without metrics it says {}.
    ...{ loss, optimizer: optimizerOf(optimizer, failed), metrics: Array.isArray(metrics) ? metrics : [] },
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
  };
  within(failed, () => model.compile(compile as unknown as CompileOptions));
  // The optimizer's lists have the weights in the order of the file.
  const trained = matched
    .filter(({ trainable }) => trainable)
    .sort((a, b) => a.place - b.place)
    .map(({ layer, weight, shape, entry }) => ({
      ...{ name: `${layer.name}/${weight}`, shape, entry },
      inOurOrder: ({ data }: Tensor, power: number) =>
        inOurOrder(layer, weight, new Tensor(data, shape), power),
    }));
  return matchOptimizer(model, slots, trained, failed);
}

function within<R>(fail: Fail, work: () => R): R {
  try {
    return work();
  } catch (error) {
    return fail(reasonOf(error).replace(/\.$/, ''));
  }
}

interface Match {
  /** In the file. */
  readonly place: number;
  readonly trainable: boolean;
  readonly layer: Layer;
  readonly weight: string;
  readonly shape: Shape;
  readonly entry: WeightEntry;
}

/**
 * Finds the array of every weight by its name: `<layer>/…/<weight>`, of bidirectional layers with `forward_…` or `backward_…` between, of stacked cells
 * with something that tells them apart.
 */
function match(
  model: Model,
  entries: readonly WeightEntry[],
  stacked: readonly StackedCell[],
  fail: Fail,
): Match[] {
  const key = (layer: string, direction: string, weight: string) =>
    JSON.stringify([layer, direction, weight]);
  const byKey = new Map<string, WeightEntry>();
  const names = new Set(model.layers.map(({ name }) => name));
  for (const entry of entries) {
    const parts = entry.name.replace(/:\d+$/, '').split('/');
    const weight = parts.at(-1) as string;
    const direction =
      parts
        .slice(1, -1)
        .map((part) => /^(forward|backward)_/.exec(part)?.[1])
        .find(Boolean) ?? '';
    // The converter may put the name of a model inside the model in front.
    const found = parts.find((part) => names.has(part)) ?? '';
    const cell = stacked.find(
      ({ rnn, marks }) => rnn === found && marks.some((mark) => parts.includes(mark)),
    );
    const layer = cell?.layer ?? found;
    byKey.set(key(layer, direction, toCamelCase(weight)), entry);
  }
  const left = new Set(entries);
  const matched = model.layers.flatMap((layer) =>
    layer.weights.map(({ name, shape, trainable }): Match => {
      const parts = name.split('/');
      const direction = parts.find((part) => part === 'forward' || part === 'backward') ?? '';
      const entry = byKey.get(key(layer.name, direction, parts.at(-1) as string));
      if (!entry) return fail(`it has no array for the weight '${name}' of ${layer.subject}`);
      left.delete(entry);
      if (!sameShape(entry.shape, shape))
        fail(
          `its array '${entry.name}' has shape [${entry.shape.join(', ')}], ${layer.subject} wants [${shape.join(', ')}]`,
        );
      const trains = layer.trainable && trainable !== false;
      return { place: entries.indexOf(entry), trainable: trains, layer, weight: name, shape, entry };
    }),
  );
  const [strange] = left;
  if (strange) fail(`it has an array '${strange.name.slice(0, 60)}' that no layer wants`);
  return matched;
}

/** Kind and configuration of a layer, or of the one inside it. */
function innermost(layer: Layer): { type: string; config: Record<string, unknown> } {
  const config = layer.getConfig();
  const isWrapper = layer.type === 'bidirectional' || layer.type === 'timeDistributed';
  return isWrapper ? (config['layer'] as ReturnType<typeof innermost>) : { type: layer.type, config };
}

/** Blocks of columns of a kernel, and which of them are made into gates. */
function gatesOf(type: string): { readonly blocks: number; readonly gated: readonly number[] } {
  if (type === 'lstm' || type.startsWith('convLSTM')) return { blocks: 4, gated: [0, 1, 3] };
  return type === 'gru' ? { blocks: 3, gated: [0, 1] } : { blocks: 1, gated: [] };
}

/** Keras 2's hard sigmoid is made by weights, so that one without weights before it is not to be had. */
function refuseHardSigmoid(layer: Layer, fail: Fail): void {
  const { type, config } = innermost(layer);
  const made = ['dense', 'conv1D', 'simpleRNN', 'gru'].includes(type);
  if (isHardSigmoid(config['activation']) && !made)
    fail(`${layer.subject} has the hard sigmoid of Keras 2 as its activation, which differs from today's`);
  if (!isHardSigmoid(config['activation']) && !isHardSigmoid(config['recurrentActivation'])) return;
  // They would see weights that are 1.2 times those of the file.
  const held = Object.keys(config).find((key) =>
    /^(kernel|recurrent|bias)(Regularizer|Constraint)$/.test(key),
  );
  if (held !== undefined)
    fail(
      `${layer.subject} has ${held} beside the hard sigmoid of Keras 2, which is made by scaling its weights`,
    );
}

/**
 * A weight as this library has it. Keras's GRU has its gates in the order z, r, h, this library r, z, n. Keras 2's hard sigmoid of x is
 * today's of 1.2·x: what it is applied to is multiplied by that.
 * @param power of that factor: 1 for the weight itself, less for what an optimizer keeps of it
 */
function inOurOrder(layer: Layer, weight: string, { data, shape }: Tensor, power: number): Tensor {
  const { type, config } = innermost(layer);
  const { blocks, gated } = gatesOf(type);
  const isMade = ['kernel', 'recurrentKernel', 'bias'].includes(weight.split('/').at(-1) as string);
  const columns = shape.at(-1) as number;
  const width = columns / blocks;
  const scales = Array.from({ length: blocks }, (_, block) =>
    isHardSigmoid(config[gated.includes(block) ? 'recurrentActivation' : 'activation']) ? 1.2 ** power : 1,
  );
  if (!isMade || (type !== 'gru' && scales.every((scale) => scale === 1))) return new Tensor(data, shape);
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) {
    const block = Math.floor((i % columns) / width);
    const swapped = type === 'gru' && block < 2;
    const from = swapped ? i + (block === 0 ? width : -width) : i;
    out[i] = (data[from] as number) * (scales[block] as number);
  }
  return new Tensor(out, shape);
}
