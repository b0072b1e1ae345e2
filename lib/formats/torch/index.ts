import { requirePath } from '../../config';
import { quoted, refuse } from '../../errors';
import type { Model } from '../../models/model';
import type { Sequential } from '../../models/sequential';
import type { TorchDescription } from './description';
import type { FromTorchOptions } from './read';
import type { ToTorchOptions } from './write';

export type { TorchDescription, TorchModule } from './description';
export type { FromTorchOptions } from './read';
export type { ToTorchOptions } from './write';

// Loaded when a state dict is read or written.
const reader = () => require('./read') as typeof import('./read');
const writer = () => require('./write') as typeof import('./write');

/**
 * A model from the state dict of PyTorch modules in a safetensors file (float32, float64, float16, bfloat16), predicting what those modules
 * in a row give in `eval` mode (docs/pytorch.md). Names and shapes are proven before anything is built.
 * @param description the modules in their order: `[{ name: 'encoder', module: 'LSTM' }, { name: 'head', module: 'Linear' }]`; sizes come
 *   from the arrays where it does not say them
 * @throws ERR_FILE that names missing and unexpected arrays, or an array of another shape; ERR_VALUE for modules that do not fit together
 */
export async function fromTorch(
  path: string,
  description: TorchDescription,
  options: FromTorchOptions = {},
): Promise<Sequential> {
  requirePath(path, 'fromTorch: path');
  return reader().readTorch(path, description, options);
}

/**
 * Writes the weights of a model as the state dict of PyTorch modules, to a safetensors file, atomically.
 * @returns the modules, for `fromTorch` and for making them in Python
 * @throws ERR_VALUE, naming the layer, for one that PyTorch has no module for, before anything is read or written
 */
export async function toTorch(
  model: Model,
  path: string,
  options: ToTorchOptions = {},
): Promise<TorchDescription> {
  requirePath(path, 'toTorch: path');
  if (typeof model?.requireBuilt !== 'function')
    refuse('ERR_VALUE', 'toTorch: model', 'a model', quoted(model));
  return writer().writeTorch(model, path, options);
}
