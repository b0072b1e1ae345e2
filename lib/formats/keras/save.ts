import { flagOption, readConfig } from '../../config';
import { refuse } from '../../errors';
import { atomicWrite } from '../../io/atomicWrite';
import { writeZip } from '../../io/zip';
import { ignoringMasks } from '../../models/kerasMasks';
import type { Model } from '../../models/model';
import { preprocessorConfig, type SaveOptions } from '../../models/modelFile';
import type { Tensor } from '../../tensors/tensor';
import { sizeOf } from '../../tensors/tensor';
import { refuseReversedMasks } from '../reversedMasks';
import { Hdf5, type Hdf5Attributes, type Hdf5Entry } from './hdf5';
import { members, type Own } from './members';
import { momentumProduct, type OptimizerVariable, optimizerVariables } from './optimizerVariables';
import { kerasJson, toKerasCompile } from './toKerasCompile';
import { toKerasModel } from './toKerasModel';
import { type KerasPlace, placesOf, withGates } from './variables';

/** The release of Keras whose form is written. */
const KERAS_VERSION = '3.15.1';

/**
 * Writes a model as Keras 3 does, with what Keras has no place for in a member of its own, which Keras passes over.
 * @throws ERR_VALUE, naming layer and option, for what Keras has no word for
 */
export async function saveKeras(model: Model, path: string, given: SaveOptions): Promise<void> {
  const o = readConfig(given, ['includeOptimizer', 'checkpoint'], 'save');
  if (flagOption(o.checkpoint, false, 'save: checkpoint'))
    refuse(
      'ERR_VALUE',
      'save: checkpoint',
      "false for a '.keras' file, which has no place for a fit under way",
      'true',
      "Give the file another ending, e.g. '.safetensors'.",
    );
  const { compiled } = model;
  const withOptimizer = flagOption(o.includeOptimizer, compiled !== undefined, 'save: includeOptimizer');
  // Everything that may be refused comes before anything is read or written.
  refuseReversedMasks(model);
  const structure = toKerasModel(model);
  const places = placesOf(model);
  const training =
    compiled && withOptimizer
      ? {
          compile_config: toKerasCompile(model, compiled),
          variables: optimizerVariables(compiled.optimizer, trainedBy(places)),
        }
      : undefined;
  const own: Own = {
    version: 1,
    seed: model.seed,
    namesOutputs: model.namesOutputs,
    withoutMask: ignoringMasks(model.layers).map(({ name }) => name),
    preprocessing: Object.fromEntries(
      Object.entries(model.preprocessing).map(([name, p]) => [name, preprocessorConfig(name, p)]),
    ),
  };
  const stands = await model.exclusive('reads', async () => ({
    step: model.step,
    arrays: await readArrays(model, places, training?.variables ?? []),
  }));
  const optimizer = training
    ? optimizerEntries(model, training.variables, stands.step, stands.arrays)
    : undefined;
  const weights = await writeWeights(`'${path}'`, model.name, places, stands.arrays, optimizer);
  const { compile_config } = training ?? {};
  const config = kerasJson({ ...structure, ...(compile_config ? { compile_config } : {}) });
  const metadata = JSON.stringify({ keras_version: KERAS_VERSION, date_saved: dateSaved(new Date()) });
  await atomicWrite(
    path,
    await writeZip(
      new Map([
        [members.metadata, Buffer.from(metadata)],
        [members.config, Buffer.from(config)],
        [members.weights, weights],
        [members.own, Buffer.from(JSON.stringify(own))],
      ]),
    ),
  );
}

/** Writes the weights alone, in the layout of Keras 3's `.weights.h5`. */
export async function saveKerasWeights(model: Model, path: string): Promise<void> {
  model.requireBuilt('saveWeights');
  const places = placesOf(model);
  const arrays = await model.exclusive('reads', () => readArrays(model, places, []));
  const weights = await writeWeights(`'${path}'`, model.name, places, arrays, undefined);
  await atomicWrite(path, [weights]);
}

/** Weights that are trained, in Keras's order. */
export function trainedBy(places: readonly KerasPlace[]) {
  return places.flatMap(({ variables }) => variables.filter(({ trainable }) => trainable));
}

/** `2026-11-27@19:30:00`, as Keras has it, in universal time. */
function dateSaved(now: Date): string {
  return now.toISOString().slice(0, 19).replace('T', '@');
}

function readArrays(
  model: Model,
  places: readonly KerasPlace[],
  optimizer: readonly OptimizerVariable[],
): Promise<ReadonlyMap<string, Tensor>> {
  const weights = places.flatMap(({ variables }) => variables.map(({ name }) => name));
  const slots = optimizer.flatMap((variable) =>
    variable.is === 'slot' && model.variables.has(variable.name) ? [variable.name] : [],
  );
  return model.variables.readLater([...weights, ...slots]);
}

function float32(data: Tensor['data'], swapped: number | undefined): Float32Array {
  return withGates(data instanceof Float32Array ? data : Float32Array.from(data), swapped);
}

function optimizerEntries(
  model: Model,
  variables: readonly OptimizerVariable[],
  step: number,
  arrays: ReadonlyMap<string, Tensor>,
): Hdf5Entry[] {
  const { optimizer } = model;
  const scalar = (value: number) => ({ shape: [], kind: 'real', data: Float32Array.of(value) }) as const;
  const updates = Math.floor(step / optimizer.gradientAccumulationSteps);
  const entryOf = (variable: OptimizerVariable): Omit<Hdf5Entry, 'path'> => {
    switch (variable.is) {
      case 'iteration':
        return { shape: [], kind: 'integer64', data: BigInt64Array.of(BigInt(step)) };
      case 'learningRate':
        return scalar(optimizer.learningRate as number);
      case 'momentumProduct':
        return scalar(momentumProduct(optimizer.getConfig()['beta1'] as number, updates));
      case 'nothing': {
        const { shape, kind } = variable;
        return { shape, kind, data: new (kind === 'real' ? Float32Array : Int32Array)(sizeOf(shape)) };
      }
      case 'slot': {
        const { name, shape, fileShape, swapped, initial } = variable;
        const weight = arrays.get(name.slice(0, name.lastIndexOf(':')));
        const array = arrays.get(name) ?? (initial === 'weight' ? weight : undefined);
        const data = array
          ? float32(array.data, swapped)
          : new Float32Array(sizeOf(shape)).fill(initial as number);
        return { shape: fileShape, kind: 'real', data };
      }
    }
  };
  return variables.map((variable, i) => ({ path: `optimizer/vars/${i}`, ...entryOf(variable) }));
}

/** The bytes of a file of weights. */
async function writeWeights(
  subject: string,
  modelName: string,
  places: readonly KerasPlace[],
  arrays: ReadonlyMap<string, Tensor>,
  optimizer: readonly Hdf5Entry[] | undefined,
): Promise<Uint8Array> {
  const groups: [string, Hdf5Attributes][] = [
    ['layers', {}],
    ['vars', { name: modelName }],
  ];
  for (const place of places)
    for (const [path, name] of place.groups) {
      groups.push([path, {}]);
      if (name !== '') groups.push([`${path}/vars`, { name }]);
    }
  if (optimizer) groups.push(['optimizer', {}], ['optimizer/vars', {}]);
  const weights = places.flatMap(({ variables }) =>
    variables.map(({ name, path, fileShape, swapped }): Hdf5Entry => {
      const { data } = arrays.get(name) as Tensor;
      return { path, shape: fileShape, kind: 'real', data: float32(data, swapped) };
    }),
  );
  const file = new Hdf5(subject);
  try {
    return await file.write(groups, [...weights, ...(optimizer ?? [])]);
  } finally {
    await file.close();
  }
}
