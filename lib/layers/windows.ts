import { quoted, refuse } from '../errors';
import { type SymbolicShape, shownInput } from './layer';
import { countOption, MOST } from './options';

export type Padding = 'valid' | 'same' | 'causal';

/** Windows over the steps of a sequence: window t begins at step t·stride − before; its steps lie `dilation` apart. */
export interface WindowOptions {
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  readonly padding: Padding;
}

/** Reads a length along time, a number or, as Keras writes it, an array of one. @throws ERR_VALUE unless it is an integer in 1 … 2^31−1 */
export function lengthOption(value: unknown, subject: string): number {
  const length = countOption(Array.isArray(value) && value.length === 1 ? value[0] : value, subject);
  if (length > MOST) refuse('ERR_VALUE', subject, `at most ${MOST}`, length);
  return length;
}

/** @throws ERR_VALUE unless it is one of `known` */
export function paddingOption(value: unknown, known: readonly Padding[], subject: string): Padding {
  const padding = value ?? 'valid';
  if (!known.includes(padding as Padding))
    refuse('ERR_VALUE', subject, `one of ${known.map((p) => `'${p}'`).join(', ')}`, quoted(padding));
  return padding as Padding;
}

/** Steps from a window's first to its last. */
export function reachOf({ size, dilation }: WindowOptions): number {
  return (size - 1) * dilation + 1;
}

/**
 * How many windows there are over so many steps, and how many steps of padding come before the first. `valid` windows lie in the
 * sequence; `same` gives one for every stride, the padding on both sides, the odd one behind; `causal` ones end with a step of the
 * sequence.
 */
export function windowsOver(steps: number, o: WindowOptions): { windows: number; before: number } {
  const reach = reachOf(o);
  if (o.padding === 'valid')
    return { windows: Math.max(0, Math.floor((steps - reach) / o.stride) + 1), before: 0 };
  const windows = Math.ceil(steps / o.stride);
  const missing = Math.max(0, (windows - 1) * o.stride + reach - steps);
  return { windows, before: o.padding === 'causal' ? reach - 1 : Math.floor(missing / 2) };
}

/** The sequence of windows, or of what is made of each. @throws ERR_SHAPE unless the input is a sequence with room for one */
export function windowedShape(
  input: SymbolicShape,
  o: WindowOptions,
  features: number | undefined,
  subject: string,
) {
  const [steps, width] = input.shape;
  if (input.dtype !== 'real' || input.shape.length !== 2)
    refuse('ERR_SHAPE', subject, 'a sequence [N, T, D]', shownInput(input));
  const count = typeof steps === 'number' ? windowsOver(steps, o).windows : null;
  if (count === 0)
    refuse('ERR_SHAPE', subject, `a sequence of at least ${reachOf(o)} steps`, shownInput(input));
  return { ...input, shape: [count, features ?? width] } as SymbolicShape;
}
