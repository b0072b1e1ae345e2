import { slotName } from '../../models/lower';
import type { Model } from '../../models/model';
import { type Shape, sameShape, type Tensor } from '../../tensors/tensor';
import type { Fail, WeightEntry } from './manifest';

type Config = Readonly<Record<string, unknown>>;

/**
 * An optimizer as TensorFlow.js writes it, in the terms of `compile`; one that the converter took over from Keras, whose options are in snake_case,
 * is itself.
 */
export function optimizerOf(given: unknown, fail: Fail): unknown {
  const { class_name, config } = Object(given) as { class_name?: unknown; config?: Config };
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null) return given;
  if (!('learningRate' in config)) return given;
  const { learningRate } = config;
  switch (class_name) {
    case 'Momentum':
      return { type: 'sgd', learningRate, momentum: config['momentum'], nesterov: config['useNesterov'] };
    case 'RMSProp': {
      const { decay: rho, momentum, epsilon, centered } = config;
      if (centered === true)
        fail(
          'its optimizer is a centered RMSProp, whose epsilon TensorFlow.js takes away from the variance that it is added to here',
        );
      return { type: 'rmsprop', learningRate, rho, momentum, epsilon };
    }
    case 'Adamax': {
      const { decay, ...rest } = config;
      if (decay !== undefined && decay !== 0)
        fail(`its optimizer is an Adamax with a decay of ${String(decay)}, which a schedule is here`);
      return { class_name, config: rest };
    }
    case 'Adadelta':
      return fail(
        'its optimizer is Adadelta, of which TensorFlow.js divides by the gradients of the steps before, and this library by those of the step too',
      );
    default:
      return { class_name, config };
  }
}

/** An array of a rule: its name in a file, here, and what becomes of it where a weight is made that many times as large. */
interface Slot {
  readonly file: string;
  /** Undefined for what the file has all the same. */
  readonly name: string | undefined;
  /** −1 for what is a gradient, −2 for its square, 0 for a step. */
  readonly power: number;
  /** What it is multiplied by. */
  readonly factor?: number;
}

function slotsOf(model: Model): readonly Slot[] | undefined {
  const { type, learningRate, slots } = model.optimizer;
  const isKept = (name: string) => (slots.some((slot) => slot?.name === name) ? name : undefined);
  const known: Readonly<Partial<Record<string, readonly Slot[]>>> = {
    // There gradients add up, here the steps that they make.
    sgd: [{ file: 'momentum', name: isKept('momentum'), power: -1, factor: -(learningRate as number) }],
    rmsprop: [
      { file: 'rms', name: 'velocity', power: -2 },
      { file: 'momentum', name: isKept('momentum'), power: 0 },
    ],
    adam: [
      { file: 'm', name: 'm', power: -1 },
      { file: 'v', name: 'v', power: -2 },
    ],
    adagrad: [{ file: 'accumulator', name: 'accumulator', power: -2 }],
  };
  return known[type];
}

/** A weight that is trained, and its array in the file. */
export interface Trained {
  /** With its layer: `layer/weight`. */
  readonly name: string;
  readonly shape: Shape;
  readonly entry: WeightEntry;
  /** An array like the weight, in the order that this library has. */
  readonly inOurOrder: (values: Tensor, power: number) => Tensor;
}

/**
 * The state of the optimizer: how many steps it has taken, and its arrays, list by list in the order of the weights.
 * @param entries those of the optimizer
 */
export function matchOptimizer(
  model: Model,
  entries: readonly WeightEntry[],
  trained: readonly Trained[],
  fail: Fail,
): (tensors: ReadonlyMap<string, Tensor>) => Promise<void> {
  const [iteration, ...arrays] = entries;
  if (!iteration) return async () => {};
  const slots = slotsOf(model);
  if (!slots) return fail(`it holds the state of another optimizer than ${model.optimizer.type}`);
  if (iteration.name !== 'iter' || iteration.shape.length > 0)
    fail(
      `the state of its optimizer begins with '${iteration.name.slice(0, 60)}', expected the count 'iter'`,
    );
  // Arrays come to be at the first step.
  const lists = arrays.length === 0 ? [] : slots;
  if (arrays.length !== lists.length * trained.length)
    fail(
      `its optimizer has ${arrays.length} arrays, expected ${slots.length} of each of ${trained.length} weights`,
    );
  const matched = lists.flatMap((slot, list) =>
    trained.map((weight, i) => {
      const entry = arrays[list * trained.length + i] as WeightEntry;
      if (!entry.name.endsWith(`/${slot.file}`) || !sameShape(entry.shape, weight.entry.shape))
        fail(
          `its optimizer has an array '${entry.name.slice(0, 60)}' [${entry.shape.join(', ')}], expected '…/${slot.file}' [${weight.entry.shape.join(', ')}]`,
        );
      return { slot, weight, entry };
    }),
  );
  return async (tensors) => {
    const [step] = tensors.get(iteration.name)?.data ?? [];
    if (!Number.isSafeInteger(step) || (step as number) < 0) fail(`its optimizer has taken ${step} steps`);
    await model.exclusive('changes', async () => {
      for (const { slot, weight, entry } of matched) {
        if (slot.name === undefined) continue;
        const { data } = weight.inOurOrder(tensors.get(entry.name) as Tensor, slot.power);
        const { factor = 1 } = slot;
        const values = factor === 1 ? data : Float32Array.from(data, (v) => v * factor);
        await model.variables.take(slotName(weight.name, slot.name), weight.shape, values);
      }
      model.step = step as number;
    });
  };
}
