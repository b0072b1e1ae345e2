import type { Tensor } from '../tensors/tensor';
import type { Model } from './model';
import type { SaveOptions } from './modelFile';

/** Writes a model to a file in a format of its own, atomically. The path is not empty; options are as given. */
export type ModelWriter = (model: Model, path: string, options: SaveOptions) => Promise<void>;

const writers: { readonly ending: string; readonly write: ModelWriter }[] = [];

/** From now on `save` writes files of this ending (`.keras`) so: formats know models, models do not know formats. */
export function writeEndingWith(ending: string, write: ModelWriter): void {
  writers.push({ ending, write });
}

/** What writes a file of such a name; undefined: this library's own format. */
export function writerOf(path: string): ModelWriter | undefined {
  const name = path.toLowerCase();
  return writers.find(({ ending }) => name.endsWith(ending))?.write;
}

/** Reads weights into a model, from a file in a format of its own. */
export interface WeightsReader {
  /** @param head the first bytes of a file */
  readonly recognizes: (head: Uint8Array, path: string) => boolean;
  readonly read: (model: Model, path: string) => Promise<void>;
}

/** Writes the weights of a model alone, atomically. */
export type WeightsWriter = (model: Model, path: string) => Promise<void>;

const weightsReaders: WeightsReader[] = [];
const weightsWriters: { readonly ending: string; readonly write: WeightsWriter }[] = [];

/** From now on `loadWeights` reads files that are recognized so. */
export function readWeightsBy(reader: WeightsReader): void {
  weightsReaders.push(reader);
}

/** From now on `saveWeights` writes files of this ending so. */
export function writeWeightsEndingWith(ending: string, write: WeightsWriter): void {
  weightsWriters.push({ ending, write });
}

/** What reads weights from such a file; undefined: this library's own format. */
export function weightsReaderOf(head: Uint8Array, path: string): WeightsReader['read'] | undefined {
  return weightsReaders.find(({ recognizes }) => recognizes(head, path))?.read;
}

/** What writes weights to a file of such a name; undefined: this library's own format. */
export function weightsWriterOf(path: string): WeightsWriter | undefined {
  const name = path.toLowerCase();
  return weightsWriters.find(({ ending }) => name.endsWith(ending))?.write;
}

/** Other names of arrays in safetensors files than this library's, with the layouts that belong to them. */
export interface WeightsNaming {
  /** @throws ERR_VALUE, naming the layer, for weights that have no such name */
  readonly encode: (model: Model) => Promise<ReadonlyMap<string, Tensor>>;
  /**
   * Arrays of a file by the names here.
   * @param asked whether the names are known to be these; else undefined where they are not
   * @throws ERR_FILE where they are those of another model
   */
  readonly decode: (
    model: Model,
    tensors: ReadonlyMap<string, Tensor>,
    path: string,
    asked: boolean,
  ) => ReadonlyMap<string, Tensor> | undefined;
}

/** `names` of `saveWeights` and `loadWeights`, beside those of this library. */
export const weightsNamings = new Map<string, WeightsNaming>();

/** First bytes of a file, by which formats are told. */
export const HEAD_BYTES = 4096;
