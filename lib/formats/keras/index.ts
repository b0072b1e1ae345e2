import { refuse } from '../../errors';
import type { WeightsNaming } from '../../models/modelWriters';
import type { ModelFormat } from '../formats';

const ZIP = [0x50, 0x4b, 3, 4];
const HDF5 = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

const begins = (head: Uint8Array, mark: readonly number[]) => mark.every((byte, i) => head[i] === byte);

/** The first member of an archive, whose name stands 30 bytes in. */
function firstMember(head: Uint8Array): string {
  const length = (head[26] ?? 0) + 256 * (head[27] ?? 0);
  return Buffer.from(head.subarray(30, 30 + length)).toString('latin1');
}

// Loaded when a file needs them, with the libraries that they need.
const loader = () => require('./load') as typeof import('./load');
const namer = () => require('./names') as typeof import('./names');
const saver = () => require('./save') as typeof import('./save');

/** Keras 3's own format: an archive of `config.json`, `metadata.json` and `model.weights.h5`. */
export const kerasFormat: ModelFormat = {
  name: 'Keras',
  endings: ['.keras'],
  recognizes: (head, path) =>
    begins(head, ZIP) &&
    (/\.keras$/i.test(path) || /^(metadata\.json|config\.json|model\.weights\.h5)$/.test(firstMember(head))),
  load: async (path, options) => loader().loadKeras(path, options),
  save: async (model, path, options) => saver().saveKeras(model, path, options),
  loadWeights: async (model, path) => loader().loadArchivedWeights(model, path),
};

/** HDF5: whole models as Keras 2 saved them, and weights of Keras 3 and 2. */
export const hdf5Format: ModelFormat = {
  name: 'HDF5',
  endings: ['.h5', '.hdf5'],
  recognizes: (head) => begins(head, HDF5),
  load: async (path, options) => loader().loadHdf5(path, options),
  save: (_model, path) =>
    refuse(
      'ERR_VALUE',
      'save: path',
      "a name that ends in '.keras', or in none that is another format's",
      `'${path}'`,
      "Weights alone go to a name that ends in '.weights.h5': model.saveWeights.",
    ),
  loadWeights: async (model, path) => loader().loadHdf5Weights(model, path),
  weightsEndings: ['.weights.h5'],
  saveWeights: async (model, path) => saver().saveKerasWeights(model, path),
};

/** Keras's names in safetensors files. */
export const kerasNaming: WeightsNaming = {
  encode: async (model) => namer().toKerasNames(model),
  decode: (model, tensors, path, asked) => namer().fromKerasNames(model, tensors, path, asked),
};
