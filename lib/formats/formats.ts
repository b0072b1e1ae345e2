import type { Model } from '../models/model';
import type { ModelWriter, WeightsReader, WeightsWriter } from '../models/modelWriters';
import { hdf5Format, kerasFormat } from './keras';
import type { LoadOptions } from './loadModel';
import { onnx } from './onnx';
import { tfjs } from './tfjs';

/** A format of models other than this library's own. Its code is loaded when a file needs it. */
export interface ModelFormat {
  /** For messages. */
  readonly name: string;
  /** Endings of file names that `save` writes in it, in lower case, with the dot. */
  readonly endings: readonly string[];
  /**
   * Whether a file is in it, by its first bytes; where a format has no mark of its own, also by its name.
   * @param head its first {@link HEAD_BYTES} bytes, or all of a shorter file
   */
  readonly recognizes: (head: Uint8Array, path: string) => boolean;
  /** @throws ERR_FILE */
  readonly load: (path: string, options: LoadOptions) => Promise<Model>;
  readonly save?: ModelWriter;
  /** Weights alone, into a model that there is. */
  readonly loadWeights?: WeightsReader['read'];
  /** Endings of names to which `saveWeights` writes in it. */
  readonly weightsEndings?: readonly string[];
  readonly saveWeights?: WeightsWriter;
}

export const formats: readonly ModelFormat[] = [kerasFormat, hdf5Format, onnx, tfjs];
