import type { Callback, WeightValues } from '../callbacks/callback';
import { flagOption, readConfig, requirePath } from '../config';
import { type Preprocessor, preprocessorFromJSON } from '../data/preprocessor';
import { DeepRnnError, quoted, refuse, show } from '../errors';
import { readArrays, readHead, readModelFile, writeModelFile, writeSafetensors } from '../io/modelFile';
import { sameShape, Tensor } from '../tensors/tensor';
import type { Compiled, CompileOptions } from './compiled';
import { slotName, stateName } from './lower';
import type { Model } from './model';
import type { ModelStructure } from './modelStructure';
import { HEAD_BYTES, weightsNamings, weightsReaderOf, weightsWriterOf, writerOf } from './modelWriters';
import { isWeightValues } from './weights';

export interface SaveOptions {
  /** Also keep the optimizer's state and the step count, so that training can go on. Default false; of a compiled model that goes to a `.keras` file true, as in Keras. */
  readonly includeOptimizer?: boolean;
  /** Keep all that a running `fit` needs to be resumed bit for bit; only during one. Implies `includeOptimizer`. Default false. */
  readonly checkpoint?: boolean;
}

/** What a file says of a model, as JSON. */
export interface ModelConfig {
  readonly model: ModelStructure;
  readonly compile?: Pick<
    CompileOptions,
    'loss' | 'lossWeights' | 'optimizer' | 'metrics' | 'weightedMetrics'
  >;
  readonly step?: number;
  readonly training?: unknown;
  readonly preprocessing: Record<string, unknown>;
}

/** What a checkpoint holds of a running fit. */
export interface TrainingState {
  /** JSON values. */
  readonly state: unknown;
  /** Arrays of callbacks, by {@link callbackArray}. */
  readonly arrays: ReadonlyMap<string, Tensor>;
}

/** In the name of no weight: layers have no spaces in theirs. */
const CALLBACK = 'callback ';

/** A file's name of an array that belongs to the state of a callback. */
function callbackArray(stateKey: string, name: string): string {
  return `${CALLBACK}${encodeURIComponent(stateKey)}/${name}`;
}

/** The arrays of a callback by their names in a file. @throws ERR_VALUE for what is no Map of arrays */
export function arraysForFile(callback: Callback, stateKey: string): (readonly [name: string, Tensor])[] {
  const arrays: unknown = callback.getArrays?.() ?? new Map();
  const subject = `fit: callbacks: getArrays of '${stateKey}'`;
  if (!(arrays instanceof Map))
    refuse('ERR_VALUE', subject, 'a Map of { data, shape } by name', quoted(arrays));
  return [...(arrays as ReadonlyMap<string, WeightValues>)].map(([name, values]) => {
    if (!isWeightValues(values) || !ArrayBuffer.isView(values.data) || !Array.isArray(values.shape))
      refuse('ERR_VALUE', `${subject}: '${name}'`, '{ data, shape }', quoted(values));
    return [callbackArray(stateKey, name), new Tensor(values.data, values.shape)] as const;
  });
}

/** The arrays of one callback, by its own names. */
export function arraysOfCallback(arrays: ReadonlyMap<string, Tensor>, stateKey: string): Map<string, Tensor> {
  const prefix = callbackArray(stateKey, '');
  return new Map(
    [...arrays]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, array]) => [name.slice(prefix.length), array]),
  );
}

export async function saveModel(model: Model, path: string, given: SaveOptions): Promise<void> {
  const o = readConfig(given, ['includeOptimizer', 'checkpoint'], 'save');
  const checkpoint = flagOption(o.checkpoint, false, 'save: checkpoint');
  const withOptimizer = flagOption(o.includeOptimizer, checkpoint, 'save: includeOptimizer');
  if (checkpoint && !withOptimizer)
    refuse('ERR_VALUE', 'save: includeOptimizer', 'true beside checkpoint: true', 'false');
  const training = checkpoint ? model.trainingState : undefined;
  if (checkpoint && !training) {
    const wayOut =
      'Call it in a callback; a model that fit has left goes on from a file with includeOptimizer: true.';
    refuse('ERR_STATE', 'save: checkpoint', 'a fit under way', 'none', wayOut);
  }
  // Everything that asks the model comes before the wait: a model may be disposed while its save is under way.
  const weights = model.weightSpecs('save').map(([name]) => name);
  const structure = model.getConfig();
  const { config, tensors } = await model.exclusive('reads', async () => {
    const isSlot = (name: string) => withOptimizer && name.includes(slotName('', ''));
    const isState = (name: string) => checkpoint && name.includes(stateName('', ''));
    const others = model.variables.names().filter((name) => isSlot(name) || isState(name));
    const stands = training?.();
    const config = configOf(model, structure, withOptimizer, stands?.state);
    const arrays = await model.variables.readLater([...weights, ...others]);
    return { config, tensors: new Map([...arrays, ...(stands?.arrays ?? [])]) };
  });
  await writeModelFile(path, { config, tensors });
}

function configOf(
  model: Model,
  structure: ModelStructure,
  withOptimizer: boolean,
  training: unknown,
): ModelConfig {
  const { compiled } = model;
  return {
    model: structure,
    ...(compiled
      ? {
          compile: {
            ...lossConfigs(compiled),
            optimizer: compiled.optimizer.getConfig() as unknown as NonNullable<CompileOptions['optimizer']>,
            metrics: metricConfigs(model, false),
            weightedMetrics: metricConfigs(model, true),
          },
        }
      : {}),
    ...(withOptimizer ? { step: model.step } : {}),
    ...(training === undefined ? {} : { training }),
    preprocessing: Object.fromEntries(
      Object.entries(model.preprocessing).map(([name, p]) => [name, preprocessorConfig(name, p)]),
    ),
  };
}

/** The loss, or those of several outputs in their order, as `compile` takes them. */
function lossConfigs({ losses, lossWeights }: Compiled): Pick<CompileOptions, 'loss' | 'lossWeights'> {
  const configs = losses.map((loss) => loss.getConfig());
  return {
    loss: (configs.length > 1 ? configs : configs[0]) as unknown as CompileOptions['loss'],
    ...(lossWeights.every((weight) => weight === 1) ? {} : { lossWeights: [...lossWeights] }),
  };
}

/** Metrics as `compile` takes them: a list, or one for each of several outputs. */
function metricConfigs(model: Model, weighted: boolean): NonNullable<CompileOptions['metrics']> {
  const of = (output: number) =>
    model.metrics.filter((m) => m.weighted === weighted && m.output === output).map((m) => m.getConfig());
  const { length } = model.compiled?.losses ?? [];
  const configs: unknown = length > 1 ? Array.from({ length }, (_, output) => of(output)) : of(0);
  return configs as NonNullable<CompileOptions['metrics']>;
}

/** What files keep of a scaler or vectorizer. @throws ERR_VALUE for anything that could not be loaded again */
export function preprocessorConfig(name: string, preprocessor: Preprocessor): Record<string, unknown> {
  const json: unknown = preprocessor?.toJSON?.();
  try {
    preprocessorFromJSON(json);
  } catch (error) {
    const subject = `save: preprocessing['${name}']`;
    throw new DeepRnnError(
      'ERR_VALUE',
      `${subject}: expected a scaler or vectorizer, got ${show(quoted(preprocessor))}.`,
      { cause: error },
    );
  }
  return json as Record<string, unknown>;
}

export interface WeightsOptions {
  /**
   * Whose names the arrays of a safetensors file have, with the layouts and the order of gates that belong to them: `'deeprnn'`, `layer/weight`
   * and i, f, g, o; r, z, n; or `'keras'`, the `path` of the variables of a model that is made in Keras with the same names of layers. Default: on
   * the way out `'deeprnn'`, on the way in those that the names in the file are.
   */
  readonly names?: 'deeprnn' | 'keras';
}

function readNames(given: WeightsOptions, subject: string): string | undefined {
  const { names } = readConfig(given, ['names'], subject);
  const known = ['deeprnn', ...weightsNamings.keys()];
  if (names !== undefined && !known.includes(names as string))
    refuse('ERR_VALUE', `${subject}: names`, known.map((name) => `'${name}'`).join(' or '), quoted(names));
  return names as string | undefined;
}

/**
 * Writes the weights alone, atomically, in the format that the ending of the name says; or else to a plain safetensors file by `layer/weight`, with
 * nothing of the model's structure, for other programs. `loadWeights` reads either. Gates are in this library's order (i, f, g, o; r, z, n), with
 * `names: 'keras'` in Keras's.
 */
export async function saveWeights(model: Model, path: string, options: WeightsOptions = {}): Promise<void> {
  requirePath(path, 'saveWeights: path');
  const names = readNames(options, 'saveWeights');
  const write = weightsWriterOf(path);
  if (write) {
    if (names !== undefined) refuseNames('saveWeights', path);
    return write(model, path);
  }
  const ending = /\.[a-z0-9]+$/i.exec(path)?.[0] ?? '';
  if (writerOf(path) || /^\.(h5|hdf5|npz|npy|pt|pth|json|bin)$/i.test(ending))
    refuse(
      'ERR_VALUE',
      'saveWeights: path',
      "a name in '.weights.h5' for Keras, in '.safetensors' or with an ending that is no other format's",
      quoted(path),
    );
  const naming = weightsNamings.get(names ?? '');
  const tensors = naming ? await naming.encode(model) : await model.getWeights();
  await writeSafetensors(path, { tensors, metadata: {} });
}

function refuseNames(subject: string, path: string): never {
  return refuse(
    'ERR_VALUE',
    `${subject}: names`,
    'a safetensors file beside it; in other formats names are as they are',
    quoted(path),
  );
}

/**
 * Weights from a file into a model of the same structure, in any format that is known, or from any safetensors file with their names.
 * @throws ERR_FILE when a name or a shape differs
 */
export async function loadWeights(model: Model, path: string, options: WeightsOptions = {}): Promise<void> {
  const names = readNames(options, 'loadWeights');
  const read = weightsReaderOf(await readHead(path, HEAD_BYTES), path);
  if (read) {
    if (names !== undefined) refuseNames('loadWeights', path);
    return read(model, path);
  }
  const specs = model.weightSpecs('loadWeights');
  const tensors = byOwnNames(model, await readArrays(path), path, names);
  matchWeights(
    specs.map(([name, { shape }]) => [name, shape]),
    path,
    tensors,
  );
  await model.exclusive('changes', async () => {
    for (const [name, { shape }] of specs)
      await model.variables.take(name, shape, (tensors.get(name) as Tensor).data);
  });
}

/** Arrays of a file by the names here. All of these tell whose they are: only layers whose arrays are the same have the same names elsewhere. */
function byOwnNames(
  model: Model,
  tensors: ReadonlyMap<string, Tensor>,
  path: string,
  names: string | undefined,
): ReadonlyMap<string, Tensor> {
  const asked = weightsNamings.get(names ?? '');
  if (asked) return asked.decode(model, tensors, path, true) as ReadonlyMap<string, Tensor>;
  if (names !== undefined || model.weightSpecs('loadWeights').every(([name]) => tensors.has(name)))
    return tensors;
  for (const naming of weightsNamings.values()) {
    const found = naming.decode(model, tensors, path, false);
    if (found) return found;
  }
  return tensors;
}

/**
 * Everything of a checkpoint into a compiled model of the same structure. Gives the state of the fit, if the file has one.
 * @param check refuses, by throwing, what the fit cannot go on with; a model whose checkpoint is refused stays as it is
 */
export async function restoreCheckpoint(
  model: Model,
  path: string,
  check: (config: ModelConfig) => void,
): Promise<TrainingState> {
  const { config, tensors } = await readModel(path);
  const own = model.compiled ? lossConfigs(model.compiled) : undefined;
  for (const part of ['loss', 'lossWeights'] as const)
    requireSame(part, withoutRate(config.compile?.[part]), withoutRate(own?.[part]));
  const optimizer = model.compiled?.optimizer.getConfig();
  requireSame('optimizer', withoutRate(config.compile?.optimizer), withoutRate(optimizer));
  const rate = rateOf(config.compile?.optimizer);
  // A number may replace anything: a callback may have set it since compile. A schedule can only have come from compile.
  if (typeof rate === 'object')
    requireSame(
      'learningRate',
      JSON.stringify(rate),
      JSON.stringify(rateOf(model.compiled?.optimizer.getConfig())),
    );
  check(config);
  await model.exclusive('changes', async () => {
    await restoreArrays(model, path, config, tensors);
    model.adoptSeed(config.model.seed);
  });
  if (typeof rate === 'number') model.learningRate = rate;
  return { state: config.training, arrays: tensors };
}

/** @throws ERR_VALUE where the model is compiled with other metrics than those of a checkpoint */
export function requireSameMetrics(model: Model, { compile }: ModelConfig): void {
  for (const [part, weighted] of [
    ['metrics', false],
    ['weightedMetrics', true],
  ] as const)
    requireSame(part, JSON.stringify(compile?.[part]), JSON.stringify(metricConfigs(model, weighted)));
}

/** Of two configurations as texts, refuses the model's where it is not the checkpoint's. */
function requireSame(part: string, saved: string, own: string): void {
  if (saved !== own) refuse('ERR_VALUE', `fit: resumeFrom: ${part}`, `that of the checkpoint, ${saved}`, own);
}

/** The learning rate in an optimizer's configuration: a number, or the configuration of a schedule. */
function rateOf(optimizer: unknown): unknown {
  return (optimizer as { readonly learningRate?: unknown } | undefined)?.learningRate;
}

/** A configuration as text. The rate is left out: it has rules of its own. */
function withoutRate(config: unknown): string {
  return JSON.stringify(config, (key, value) => (key === 'learningRate' ? undefined : value)) ?? 'none';
}

/** Weights, and whatever else the file has of optimizer and states, into a model of the same structure. */
export async function restoreArrays(
  model: Model,
  path: string,
  config: ModelConfig,
  tensors: ReadonlyMap<string, Tensor>,
): Promise<void> {
  const specs = model.weightSpecs('load');
  matchWeights(
    specs.map(([name, { shape }]) => [name, shape]),
    path,
    tensors,
  );
  for (const [name, { shape, data }] of tensors) {
    if (name.startsWith(CALLBACK)) continue;
    await model.variables.take(name, shape, data);
  }
  if (config.step !== undefined) model.step = config.step;
}

function matchWeights(
  wanted: readonly (readonly [name: string, shape: readonly number[]])[],
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
): void {
  for (const [name, shape] of wanted) {
    const found = tensors.get(name);
    if (found && sameShape(found.shape, shape)) continue;
    throw new DeepRnnError(
      'ERR_FILE',
      `'${path}' holds the weights of another model: expected ${name} [${shape.join(', ')}], got ${found ? `[${found.shape.join(', ')}]` : 'no such array'}.`,
    );
  }
  const known = new Set(wanted.map(([name]) => name));
  const stranger = [...tensors.keys()].find(
    (name) =>
      name.includes('/') &&
      !name.includes(slotName('', '')) &&
      !name.startsWith(CALLBACK) &&
      !known.has(name),
  );
  if (stranger) {
    throw new DeepRnnError(
      'ERR_FILE',
      `'${path}' holds the weights of another model: expected no array '${stranger}', got one.`,
    );
  }
}

export async function readModel(
  path: string,
): Promise<{ config: ModelConfig; tensors: ReadonlyMap<string, Tensor> }> {
  const { config, tensors } = await readModelFile(path);
  return { config: config as unknown as ModelConfig, tensors };
}
