import { readConfig } from '../../config';
import { DeepRnnError, refuse, show } from '../../errors';
import { readHead, readSafetensors } from '../../io/modelFile';
import { layerFromConfig } from '../../layers';
import { checkInputShape, type Layer, type SymbolicShape } from '../../layers/layer';
import { inputOf } from '../../models/graph';
import { Sequential } from '../../models/sequential';
import { sameShape, type Tensor } from '../../tensors/tensor';
import { type Entry, prefixOf, readEntries, type TorchDescription } from './description';
import type { ModulePlan } from './modulePlan';
import { planModule } from './modules';

export interface FromTorchOptions {
  /** Batch-free shape of the input, where the first modules do not say: `[null, 8]` for sequences that a Linear reads first. */
  readonly inputShape?: readonly (number | null)[];
  /** The model's name. */
  readonly name?: string;
}

interface Module {
  readonly entry: Entry;
  readonly plan: ModulePlan;
}

/** See `fromTorch`. */
export async function readTorch(
  path: string,
  description: TorchDescription,
  options: FromTorchOptions,
): Promise<Sequential> {
  const o = readConfig(options, ['inputShape', 'name'], 'fromTorch');
  if (o.inputShape !== undefined) checkInputShape('fromTorch: inputShape', o.inputShape);
  const entries = readEntries(description, 'fromTorch');
  await refusePickle(path);
  const { tensors } = await readSafetensors(path);
  const modules = entries.map((entry): Module => {
    const prefix = prefixOf(entry);
    return { entry, plan: planModule(entry, (key) => tensors.get(`${prefix}${key}`)?.shape) };
  });
  proveArrays(path, modules, tensors);
  proveWidths(modules);
  const shape =
    (o.inputShape as readonly (number | null)[] | undefined) ?? inputShapeOf(modules.map(({ plan }) => plan));
  const weights: Record<string, Tensor>[] = [];
  const made = modules.map(({ entry, plan }) =>
    plan.layers.map(({ type, config, weights: of }) => {
      weights.push(of((key) => tensors.get(`${prefixOf(entry)}${key}`) as Tensor));
      return layerFromConfig(type, config);
    }),
  );
  const layers = made.flat();
  const model = new Sequential(layers, o.name === undefined ? {} : { name: o.name as string }, false);
  model.build(shape);
  proveAxes(modules, made, inputOf(model.recipe().graph));
  model.draw = true;
  await model.setWeights(
    new Map(
      layers.flatMap(({ name }, i) =>
        Object.entries(weights[i] as Record<string, Tensor>).map(([own, array]) => [`${name}/${own}`, array]),
      ),
    ),
  );
  return model;
}

/** What `torch.save` writes is a program, which nobody should run who does not know the sender. */
async function refusePickle(path: string): Promise<void> {
  const head = await readHead(path, 8);
  // Of a safetensors file, the upper half of the header's length.
  if (head.subarray(4).every((byte) => byte === 0)) return;
  const isZip = head[0] === 0x50 && head[1] === 0x4b;
  const isPickle = head[0] === 0x80 && head[1] !== undefined && head[1] <= 5;
  if (isZip || isPickle)
    throw new DeepRnnError(
      'ERR_FILE',
      `'${path}' is a pickle of torch.save, expected safetensors. Write it in Python by safetensors.torch.save_file(model.state_dict(), 'state.safetensors').`,
    );
}

const SHOWN = 8;

function list(keys: readonly string[]): string {
  const shown = keys.slice(0, SHOWN).map((key) => `'${key.slice(0, 100)}'`);
  return `${shown.join(', ')}${keys.length > SHOWN ? ` and ${keys.length - SHOWN} more` : ''}`;
}

/** @throws ERR_FILE that names missing and unexpected arrays, or the first of another shape or kind */
function proveArrays(path: string, modules: readonly Module[], tensors: ReadonlyMap<string, Tensor>): void {
  const wanted = new Map<string, { entry: Entry; shape: readonly number[] }>();
  const known = new Set<string>();
  for (const { entry, plan } of modules) {
    const prefix = prefixOf(entry);
    for (const key of plan.ignored ?? []) known.add(`${prefix}${key}`);
    for (const [key, shape] of plan.arrays) {
      const owner = wanted.get(`${prefix}${key}`);
      if (owner)
        refuse(
          'ERR_VALUE',
          entry.subject,
          `arrays of its own, with a name of its own`,
          `'${prefix}${key}' twice`,
        );
      wanted.set(`${prefix}${key}`, { entry, shape });
      known.add(`${prefix}${key}`);
    }
  }
  const missing = [...wanted.keys()].filter((key) => !tensors.has(key));
  const unexpected = [...tensors.keys()].filter((key) => !known.has(key));
  const fail = (reason: string): never => {
    throw new DeepRnnError('ERR_FILE', `'${path}' does not hold the modules that are described: ${reason}.`);
  };
  const parts = [
    ...(missing.length > 0 ? [`missing ${list(missing)}`] : []),
    ...(unexpected.length > 0 ? [`unexpected ${list(unexpected)}`] : []),
  ];
  if (parts.length > 0) fail(parts.join('; '));
  for (const [key, { entry, shape }] of wanted) {
    const found = tensors.get(key) as Tensor;
    if (!sameShape(found.shape, shape))
      fail(`'${key}' of ${entry.module} has shape ${show([...found.shape])}, expected ${show([...shape])}`);
    if (found.dtype === 'int32') fail(`'${key}' of ${entry.module} holds whole numbers, expected floats`);
  }
}

/** @throws ERR_VALUE where a module gives other features than the next one reads */
function proveWidths(modules: readonly Module[]): void {
  let width: number | undefined;
  for (const [i, { entry, plan }] of modules.entries()) {
    if (plan.reads === 'ids' && i > 0)
      refuse(
        'ERR_VALUE',
        entry.subject,
        'ids, as the first module',
        `what ${modules[i - 1]?.entry.module} gives`,
      );
    if (width !== undefined && plan.inputWidth !== undefined && width !== plan.inputWidth)
      refuse(
        'ERR_VALUE',
        entry.subject,
        `an input of ${width} features, as the module before it gives`,
        plan.inputWidth,
      );
    width = plan.widthAfter(plan.inputWidth ?? width);
  }
}

/** @throws ERR_VALUE where a module works over another axis than the last one */
function proveAxes(
  modules: readonly Module[],
  layers: readonly (readonly Layer[])[],
  input: SymbolicShape,
): void {
  let read = input;
  for (const [i, { entry, plan }] of modules.entries()) {
    const last = read.shape.length;
    const axis = plan.axis === 'unsaid' && last === 1 ? 1 : plan.axis;
    if (axis !== undefined && axis !== last) {
      const shape = read.shape.map((n) => n ?? 'T').join(', ');
      refuse(
        'ERR_VALUE',
        `${entry.subject}: dim`,
        `${last} or -1, the last axis of [N, ${shape}]`,
        axis === 'unsaid' ? undefined : axis,
      );
    }
    for (const layer of layers[i] as readonly Layer[]) read = layer.outputShape(read);
  }
}

/** From the first module that says what it reads; those before it change no shape. */
function inputShapeOf(plans: readonly ModulePlan[]): readonly (number | null)[] {
  for (const plan of plans) {
    if (plan.reads === 'ids') return [null];
    if (plan.inputWidth !== undefined)
      return plan.reads === 'sequence' ? [null, plan.inputWidth] : [plan.inputWidth];
    if (plan.widthAfter(2) !== 2) break;
  }
  return refuse(
    'ERR_VALUE',
    'fromTorch: inputShape',
    'a shape, since the first modules do not say one',
    'nothing',
  );
}
