import { flagOption, readConfig, requirePath } from '../config';
import { type Preprocessor, preprocessorFromJSON } from '../data/preprocessor';
import { DeepRnnError, reasonOf } from '../errors';
import { readHead } from '../io/modelFile';
import type { CompileOptions } from '../models/compiled';
import { structureToModel } from '../models/fromConfig';
import type { Model } from '../models/model';
import { readModel, restoreArrays } from '../models/modelFile';
import { HEAD_BYTES } from '../models/modelWriters';
import type { Tensor } from '../tensors/tensor';
import { formats } from './formats';
import type { OnnxModel } from './onnx/onnxModel';

export interface LoadOptions {
  /** Compile as the file says. Default true. */
  readonly compile?: boolean;
  /** As in `compile`. */
  readonly device?: string;
  readonly threads?: number;
}

/**
 * A model whose file is not known when the program is written: those of ONNX graphs have `run` and the names of what it takes and gives, all
 * others have not.
 */
export type LoadedModel<Y = Tensor> = Model<Y> & Partial<Pick<OnnxModel<Y>, 'run' | 'inputs' | 'outputs'>>;

/** A model of an ONNX graph, which `run` works out for inputs by name. @throws ERR_FILE, naming the node, for what cannot be run */
export function loadModel<Y = Tensor>(path: `${string}.onnx`, options?: LoadOptions): Promise<OnnxModel<Y>>;
/**
 * A model from a file that `save` wrote, or of another format (`Y`: what it predicts, a record where its outputs have names): built, with its weights and preprocessing, and compiled where the file says how.
 * @throws ERR_FILE for a missing, truncated, altered or foreign file
 */
export function loadModel<Y = Tensor>(path: string, options?: LoadOptions): Promise<LoadedModel<Y>>;
export async function loadModel<Y = Tensor>(
  path: string,
  options: LoadOptions = {},
): Promise<LoadedModel<Y>> {
  requirePath(path, 'loadModel: path');
  const o = readConfig(options, ['compile', 'device', 'threads'], 'loadModel');
  const compiles = flagOption(o.compile, true, 'loadModel: compile');
  const head = await readHead(path, HEAD_BYTES);
  const format = formats.find(({ recognizes }) => recognizes(head, path));
  // What Y is, the file says.
  if (format) return (await format.load(path, options)) as Model<Y>;
  const { config, tensors } = await readModel(path);
  const model = inFile(path, () => structureToModel(config.model, false));
  inFile(path, () => {
    for (const [name, json] of Object.entries(config.preprocessing))
      model.preprocessing[name] = preprocessorFromJSON(json) as Preprocessor;
  });
  if (config.compile && compiles) {
    const { device, threads } = o;
    const compile = {
      ...config.compile,
      ...(device === undefined ? {} : { device }),
      ...(threads === undefined ? {} : { threads }),
    };
    inFile(path, () => model.compile(compile as CompileOptions));
  }
  await restoreArrays(model, path, config, tensors);
  // What Y is, the file says.
  return model as Model<Y>;
}

/** Refusals of a file's configuration name the file. */
function inFile<R>(path: string, work: () => R): R {
  try {
    return work();
  } catch (error) {
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `'${path}' cannot be made into a model: ${reason}`, { cause: error });
  }
}
