import { flagOption, readConfig } from '../../config';
import { type Preprocessor, preprocessorFromJSON } from '../../data/preprocessor';
import { DeepRnnError, quoted, reasonOf, refuse } from '../../errors';
import { readBytes } from '../../io/modelFile';
import type { CompileOptions } from '../../models/compiled';
import { structureToModel } from '../../models/fromConfig';
import { ignoreMasksOf } from '../../models/kerasMasks';
import { flattened, type KerasListed } from '../../models/kerasNested';
import type { Model } from '../../models/model';
import { type Shape, sameShape, sizeOf } from '../../tensors/tensor';
import type { LoadOptions } from '../loadModel';
import { refuseReversedMasks } from '../reversedMasks';
import { readArchive } from './archive';
import { fromKerasCompile } from './fromKerasCompile';
import { Hdf5, type Hdf5Array, type Hdf5Contents } from './hdf5';
import { members, type Own } from './members';
import { optimizerVariables } from './optimizerVariables';
import { type KerasPlace, type KerasVariable, placesAsListed, placesOf, withGates } from './variables';

type Config = Readonly<Record<string, unknown>>;

/** An array of a file that goes into the model. */
interface Wanted {
  readonly path: string;
  /** Of the variable here. */
  readonly name: string;
  readonly shape: Shape;
  readonly swapped: number | undefined;
}

/** A model from a `.keras` archive. @throws ERR_FILE */
export async function loadKeras(path: string, given: LoadOptions): Promise<Model> {
  const { compiles, more } = readLoadOptions(given);
  const subject = `'${path}'`;
  const found = await readArchive(await readBytes(path), subject, Object.values(members));
  const config = parsed(
    required(found.get(members.config), subject, members.config),
    subject,
    members.config,
  );
  const weights = required(found.get(members.weights), subject, members.weights);
  const ownBytes = found.get(members.own);
  const own = ownBytes ? readOwn(parsed(ownBytes, subject, members.own), subject) : undefined;
  const { model, listed } = structured(own?.namesOutputs ? withNames(config) : config, subject);
  if (own) adopt(model, own, subject);
  if (compiles) compileAs(model, config['compile_config'], more, subject);
  await reading(model, async () => {
    const file = new Hdf5(subject);
    try {
      const contents = await file.open(weights);
      const places = inFile(subject, () => placesAsListed(model, listed));
      const wanted = weightsIn(contents, places, subject);
      const state = model.compiled
        ? optimizerIn(contents, 'optimizer/vars', model, places, subject)
        : undefined;
      await fill(model, file, [...wanted, ...(state?.wanted ?? [])], state?.scalars);
    } finally {
      await file.close();
    }
  });
  return model;
}

/** A whole model from an HDF5 file, as Keras 2 saved it, and Keras 3 does under such a name. @throws ERR_FILE */
export async function loadHdf5(path: string, given: LoadOptions): Promise<Model> {
  const { compiles, more } = readLoadOptions(given);
  const subject = `'${path}'`;
  const bytes = await readBytes(path);
  const file = new Hdf5(subject);
  try {
    const contents = await file.open(bytes);
    const { model_config, training_config } = contents.groups[''] ?? {};
    if (typeof model_config !== 'string')
      throw new DeepRnnError(
        'ERR_FILE',
        `${subject} holds weights alone. Make the model and call loadWeights(model, path).`,
      );
    const config = parsed(Buffer.from(model_config), subject, 'model_config');
    const { model, listed } = structured(config, subject);
    if (compiles && typeof training_config === 'string')
      compileAs(model, parsed(Buffer.from(training_config), subject, 'training_config'), more, subject);
    await reading(model, async () => {
      const places = inFile(subject, () => placesAsListed(model, listed));
      const wanted = namedWeightsIn(contents, 'model_weights', places, subject);
      const group = contents.groups['optimizer_weights'];
      const names = group ? listOf(group, 'weight_names') : [];
      const state =
        model.compiled && names.length > 0
          ? optimizerIn(
              contents,
              names.map((name) => `optimizer_weights/${name}`),
              model,
              places,
              subject,
            )
          : undefined;
      await fill(model, file, [...wanted, ...(state?.wanted ?? [])], state?.scalars);
    });
    return model;
  } finally {
    await file.close();
  }
}

/** Weights of a `.keras` archive into a model that there is. @throws ERR_FILE where they are those of another */
export async function loadArchivedWeights(model: Model, path: string): Promise<void> {
  const subject = `'${path}'`;
  model.requireBuilt('loadWeights');
  const found = await readArchive(await readBytes(path), subject, [members.weights]);
  await loadWeightsFrom(model, required(found.get(members.weights), subject, members.weights), subject);
}

/** Weights of an HDF5 file into a model that there is: Keras 3's `.weights.h5`, or those that Keras 2 writes. @throws ERR_FILE */
export async function loadHdf5Weights(model: Model, path: string): Promise<void> {
  model.requireBuilt('loadWeights');
  await loadWeightsFrom(model, await readBytes(path), `'${path}'`);
}

async function loadWeightsFrom(model: Model, bytes: Uint8Array, subject: string): Promise<void> {
  const file = new Hdf5(subject);
  try {
    const contents = await file.open(bytes);
    const group = ['', 'model_weights'].find(
      (path) => listOf(contents.groups[path] ?? {}, 'layer_names').length > 0,
    );
    const listed = listedParts.get(model);
    const isOfParts = listed?.some((part) => 'parts' in part);
    // What is there by name, or lies in the groups of models, is where it was in the file that the model is from.
    const isListed = isOfParts ? hasParts(contents, listed ?? []) : group !== undefined;
    const places = listed && isListed ? placesAsListed(model, listed) : placesOf(model);
    const wanted =
      group === undefined
        ? weightsIn(contents, places, subject)
        : namedWeightsIn(contents, group, places, subject);
    await fill(model, file, wanted, undefined);
  } finally {
    await file.close();
  }
}

/** Whether a file of weights is that of a model with models among its layers. */
function hasParts({ arrays, groups }: Hdf5Contents, listed: readonly KerasListed[]): boolean {
  const names = ['', 'model_weights'].flatMap((group) => listOf(groups[group] ?? {}, 'layer_names'));
  return (
    Object.keys(arrays).some((path) =>
      /^(layers|_layer_checkpoint_dependencies)\/[^/]+\/layers\//.test(path),
    ) || listed.some((part) => 'parts' in part && names.includes(part.name))
  );
}

function readLoadOptions(given: LoadOptions): { compiles: boolean; more: Partial<CompileOptions> } {
  const { compile, device, threads } = readConfig(given, ['compile', 'device', 'threads'], 'loadModel');
  return {
    compiles: flagOption(compile, true, 'loadModel: compile'),
    more: {
      ...(device === undefined ? {} : { device: device as string }),
      ...(threads === undefined ? {} : { threads: threads as number }),
    },
  };
}

function required(bytes: Buffer | undefined, subject: string, name: string): Buffer {
  if (bytes) return bytes;
  throw new DeepRnnError('ERR_FILE', `${subject} is no model of Keras 3: it has no member '${name}'.`);
}

/** JSON that is an object. */
function parsed(bytes: Buffer, subject: string, name: string): Config {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new DeepRnnError('ERR_FILE', `${subject}: its ${name} is no JSON: ${reasonOf(error)}.`, {
      cause: error,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DeepRnnError('ERR_FILE', `${subject}: its ${name} is no object.`);
  return value as Config;
}

/** Refusals of what is in a file name the file. */
function inFile<R>(subject: string, work: () => R): R {
  try {
    return work();
  } catch (error) {
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `${subject} cannot be made into a model: ${reason}`, { cause: error });
  }
}

/** Of models from files of models: how the layers lie in those. */
const listedParts = new WeakMap<Model, readonly KerasListed[]>();

/** The model that a configuration says, its weights zeros, and how the layers lie in its file. */
function structured(
  config: Config,
  subject: string,
): { readonly model: Model; readonly listed: readonly KerasListed[] } {
  return inFile(subject, () => {
    const { class_name, config: inner } = config;
    if (typeof class_name !== 'string' || typeof inner !== 'object' || inner === null)
      refuse('ERR_VALUE', 'config', '{ class_name, config }', quoted(config));
    const known = ['Sequential', 'Functional', 'Model'];
    if (!known.includes(class_name as string))
      refuse('ERR_VALUE', 'config: class_name', "'Sequential' or 'Functional'", quoted(class_name));
    const whole = { class_name: class_name as string, config: inner as object };
    const { spec, listed } = flattened(whole, 'config');
    const model = structureToModel(spec.class_name === 'Sequential' ? withoutInput(spec) : spec, false);
    refuseReversedMasks(model);
    if (!model.built) model.build();
    listedParts.set(model, listed);
    return { model, listed };
  });
}

/** Of a sequential model what it reads is said by its first layer, and the input layer is none of its own. */
function withoutInput(spec: { class_name: string; config: object }): { class_name: string; config: object } {
  const { layers } = spec.config as { layers?: unknown };
  if (!Array.isArray(layers) || layers.length < 2) return spec;
  const [input, first, ...rest] = layers as { class_name?: unknown; config?: Config }[];
  const { batch_shape, batch_input_shape = batch_shape } = Object(input?.config) as Config;
  if (input?.class_name !== 'InputLayer' || !Array.isArray(batch_input_shape) || !first?.config) return spec;
  const shaped = 'batch_input_shape' in first.config || 'input_shape' in first.config;
  const config = shaped ? first.config : { ...first.config, ...shapeOptions(batch_input_shape) };
  return { ...spec, config: { ...spec.config, layers: [{ ...first, config }, ...rest] } };
}

function shapeOptions([batch, ...shape]: readonly unknown[]): object {
  return batch === null || batch === undefined
    ? { input_shape: shape }
    : { batch_input_shape: [batch, ...shape] };
}

/** A configuration whose one output has a name. */
function withNames(config: Config): Config {
  const inner = Object(config['config']) as Config;
  const { output_layers } = inner;
  if (!Array.isArray(output_layers) || output_layers.length !== 1) return config;
  return { ...config, config: { ...inner, output_layers: { only: output_layers[0] as unknown } } };
}

/** What this library has written beside what Keras reads. */
function readOwn(own: Config, subject: string): Own {
  return inFile(subject, () => {
    const { version, seed, namesOutputs, preprocessing, withoutMask = [] } = own;
    const at = (what: string) => `${members.own}: ${what}`;
    if (version !== 1)
      refuse('ERR_VALUE', at('version'), '1; a newer version of deeprnn may read others', quoted(version));
    if (!Number.isSafeInteger(seed) || (seed as number) < 0)
      refuse('ERR_VALUE', at('seed'), 'a whole number, 0 or more', quoted(seed));
    if (!Array.isArray(withoutMask))
      refuse('ERR_VALUE', at('withoutMask'), 'names of layers', quoted(withoutMask));
    return {
      version: 1,
      withoutMask: withoutMask as readonly string[],
      seed: seed as number,
      namesOutputs: flagOption(namesOutputs, false, at('namesOutputs')),
      preprocessing: Object(preprocessing) as Own['preprocessing'],
    };
  });
}

function adopt(model: Model, { seed, preprocessing, withoutMask }: Own, subject: string): void {
  inFile(subject, () => {
    model.adoptSeed(seed);
    ignoreMasksOf(model.layers.filter(({ name }) => withoutMask.includes(name)));
    for (const [name, json] of Object.entries(preprocessing))
      model.preprocessing[name] = preprocessorFromJSON(json) as Preprocessor;
  });
}

function compileAs(model: Model, given: unknown, more: Partial<CompileOptions>, subject: string): void {
  if (typeof given !== 'object' || given === null) return;
  try {
    const options = fromKerasCompile(given as Config, model);
    if (options) model.compile({ ...options, ...more });
  } catch (error) {
    const wayOut = 'loadModel(path, { compile: false }) leaves it out.';
    throw new DeepRnnError(
      'ERR_FILE',
      `${subject} cannot be compiled as it says: ${reasonOf(error)} ${wayOut}`,
      {
        cause: error,
      },
    );
  }
}

/** A model whose file turns out to be broken is nobody's. */
async function reading(model: Model, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function foreign(subject: string, wanted: string, got: string): never {
  throw new DeepRnnError(
    'ERR_FILE',
    `${subject} holds the weights of another model: expected ${wanted}, got ${got}.`,
  );
}

const shownShape = (shape: Shape) => `[${shape.join(', ')}]`;

function proveArray(array: Hdf5Array | undefined, wanted: string, shape: Shape, subject: string): void {
  const what = `${wanted} ${shownShape(shape)}`;
  if (!array) foreign(subject, what, 'no such array');
  else if (!sameShape(array.shape, shape)) foreign(subject, what, shownShape(array.shape));
  else if (array.kind !== 'real' || (array.size !== 4 && array.size !== 8))
    foreign(subject, `${what} of float32`, `${array.kind} numbers of ${array.size} bytes`);
}

/** Releases before Keras 3 have another name for the layers of a model. */
const oldLayers = '_layer_checkpoint_dependencies/';

/** Weights of Keras 3, by their places. */
function weightsIn(contents: Hdf5Contents, places: readonly KerasPlace[], subject: string): Wanted[] {
  const paths = Object.keys(contents.arrays);
  const old =
    paths.some((path) => path.startsWith(oldLayers)) && !paths.some((path) => path.startsWith('layers/'));
  const inFileAs = (path: string) => (old ? path.replace(/^layers\//, oldLayers) : path);
  const wanted = places.flatMap(({ variables }) =>
    variables.map(({ name, path, shape, fileShape, swapped }) => {
      const own = inFileAs(path);
      proveArray(contents.arrays[own], `${name} at '${own}'`, fileShape, subject);
      return { path: own, name, shape, swapped };
    }),
  );
  const known = new Set(wanted.map(({ path }) => path));
  const isWeight = /^(layers|_layer_checkpoint_dependencies)\/.*\/vars\/\d+$/;
  const stranger = paths.find(
    (path) => isWeight.test(path) && !/seed_generator/.test(path) && !known.has(path),
  );
  if (stranger !== undefined) foreign(subject, `no array '${stranger}'`, 'one');
  return wanted;
}

/** A list of names, which long ones are cut for. */
function listOf(attributes: Hdf5Contents['groups'][string], name: string): readonly string[] {
  const whole = attributes[name];
  if (whole !== undefined) return typeof whole === 'string' ? [whole] : whole;
  const parts: string[] = [];
  for (let i = 0; attributes[`${name}${i}`] !== undefined; i++)
    parts.push(...[attributes[`${name}${i}`] as string | readonly string[]].flat());
  return parts;
}

/** Weights as Keras 2 has them: by the names of layers where these are the model's, or else in their order. */
function namedWeightsIn(
  contents: Hdf5Contents,
  group: string,
  places: readonly KerasPlace[],
  subject: string,
): Wanted[] {
  const at = (path: string) => (group === '' ? path : `${group}/${path}`);
  const namesOf = (layer: string) => listOf(contents.groups[at(layer)] ?? {}, 'weight_names');
  const layers = listOf(contents.groups[group] ?? {}, 'layer_names').filter(
    (name) => namesOf(name).length > 0,
  );
  const own = new Map<string, KerasVariable[]>();
  for (const { listed, variables } of places)
    if (variables.length > 0) own.set(listed, [...(own.get(listed) ?? []), ...variables]);
  if (layers.length !== own.size) foreign(subject, `${own.size} layers with weights`, `${layers.length}`);
  const byName = [...own.keys()].every((name) => layers.includes(name));
  return [...own].flatMap(([listed, variables], i) => {
    const name = byName ? listed : (layers[i] as string);
    const arrays = namesOf(name);
    if (arrays.length !== variables.length)
      foreign(subject, `${variables.length} arrays of layer '${listed}'`, `${arrays.length} of '${name}'`);
    return inOldOrder(variables).map((variable, k) => {
      const path = at(`${name}/${arrays[k]}`);
      proveArray(contents.arrays[path], `${variable.name} at '${path}'`, variable.fileShape, subject);
      return { path, name: variable.name, shape: variable.shape, swapped: variable.swapped };
    });
  });
}

/** Keras 2 has what is trained first. */
function inOldOrder(variables: readonly KerasVariable[]): KerasVariable[] {
  return [...variables].sort((a, b) => Number(b.trainable) - Number(a.trainable));
}

interface OptimizerState {
  readonly wanted: Wanted[];
  readonly scalars: { readonly iteration: string; readonly learningRate: string | undefined };
}

/** What an optimizer has in a file; undefined where it has nothing there, and begins anew. */
function optimizerIn(
  contents: Hdf5Contents,
  where: string | readonly string[],
  model: Model,
  places: readonly KerasPlace[],
  subject: string,
): OptimizerState | undefined {
  const trained = places.flatMap(({ variables }) => variables.filter(({ trainable }) => trainable));
  const pathOf = (i: number) => (typeof where === 'string' ? `${where}/${i}` : (where[i] as string));
  let count = typeof where === 'string' ? 0 : where.length;
  if (typeof where === 'string') while (contents.arrays[pathOf(count)]) count++;
  if (count === 0) return undefined;
  const grouped = typeof where !== 'string' && /\/iter:0$/.test(where[0] ?? '');
  const variables = inFile(subject, () => optimizerVariables(model.optimizer, trained, grouped));
  const first = variables.findIndex(({ is }) => is !== 'iteration' && is !== 'learningRate');
  // An optimizer that has not taken a step has no more than these.
  const built = first >= 0 && count > first;
  if (built && count !== variables.length) {
    const wayOut = 'loadModel(path, { compile: false }) leaves the optimizer out.';
    throw new DeepRnnError(
      'ERR_FILE',
      `${subject} holds the state of another optimizer: expected ${variables.length} variables of ${model.optimizer.type}, got ${count}. ${wayOut}`,
    );
  }
  const wanted: Wanted[] = [];
  let learningRate: string | undefined;
  for (const [i, variable] of variables.slice(0, built ? variables.length : count).entries()) {
    const path = pathOf(i);
    if (variable.is === 'slot') {
      proveArray(contents.arrays[path], `${variable.name} at '${path}'`, variable.fileShape, subject);
      wanted.push({ path, name: variable.name, shape: variable.shape, swapped: variable.swapped });
    } else if (variable.is !== 'nothing') {
      if (contents.arrays[path]?.shape.length !== 0) foreign(subject, `a number at '${path}'`, 'none');
      if (variable.is === 'learningRate') learningRate = path;
    }
  }
  return { wanted, scalars: { iteration: pathOf(0), learningRate } };
}

async function fill(
  model: Model,
  file: Hdf5,
  wanted: readonly Wanted[],
  scalars: OptimizerState['scalars'] | undefined,
): Promise<void> {
  const numbers = scalars
    ? [scalars.iteration, ...(scalars.learningRate === undefined ? [] : [scalars.learningRate])]
    : [];
  const elements = wanted.reduce((sum, { shape }) => sum + sizeOf(shape), numbers.length);
  const values = await file.read([...wanted.map(({ path }) => path), ...numbers], elements);
  await model.exclusive('changes', async () => {
    for (const { path, name, shape, swapped } of wanted)
      await model.variables.take(name, shape, withGates(values[path] as Float32Array, swapped));
    if (!scalars) return;
    const [step] = values[scalars.iteration] as Float32Array;
    model.step = step as number;
    const [rate] = scalars.learningRate === undefined ? [] : (values[scalars.learningRate] as Float32Array);
    const { learningRate } = model.optimizer;
    // What a callback has made of it; the configuration may have more digits of the same number.
    if (rate !== undefined && typeof learningRate === 'number' && Math.fround(learningRate) !== rate)
      model.learningRate = rate;
  });
}
