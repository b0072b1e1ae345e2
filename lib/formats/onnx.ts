import { readConfig, requirePath } from '../config';
import type { Model } from '../models/model';
import type { ModelFormat } from './formats';

export interface OnnxExportOptions {
  /**
   * Also give the states of recurrent layers: graph inputs `<layer>/<state>` `[N, size]`, which may be left out (zeros, or what was learned),
   * and outputs `<layer>/<state>/next`. Default false.
   */
  readonly states?: boolean;
  /** Also an input `lengths` int32 `[N]`, which may be left out: how many steps of each sequence count. Default false. */
  readonly lengths?: boolean;
}

/**
 * Writes a model as an ONNX graph of operator set 17, atomically; batch and open lengths vary. `model.save('m.onnx')` does the same without
 * options.
 * @throws ERR_VALUE, naming the layer, for what ONNX has no operators for, before anything is written
 */
export async function exportOnnx(model: Model, path: string, options: OnnxExportOptions = {}): Promise<void> {
  requirePath(path, 'exportOnnx: path');
  const { exportModel } = await import('./onnx/exportModel.js');
  return exportModel(model, path, options);
}

/** Fields of an ONNX model, which may come in any order, and how they are written: varints (0) or messages and strings (2). */
const wireOf: Readonly<Record<number, number>> = { 1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2 };

/**
 * Whether bytes begin as an ONNX model does: with the version of the format, field 1, and then another field of a model. A file of
 * safetensors, whose first eight bytes are a length, has zeros where that field would be.
 */
function beginsAsModel(head: Uint8Array): boolean {
  const [tag, version, next] = head as unknown as [number?, number?, number?];
  if (tag !== 0x08 || version === undefined || version === 0 || version > 0x40 || next === undefined)
    return false;
  // A long header of safetensors may look so, but goes on with zeros, and then begins.
  const isLength = head[8] === 0x7b && head.subarray(3, 8).every((byte) => byte === 0);
  return !isLength && next >> 3 !== 1 && wireOf[next >> 3] === (next & 7);
}

export const onnx: ModelFormat = {
  name: 'ONNX',
  endings: ['.onnx'],
  recognizes: (head, path) => beginsAsModel(head) || path.toLowerCase().endsWith('.onnx'),
  load: async (path, options) => (await import('./onnx/loadOnnx.js')).loadOnnx(path, options),
  save: async (model, path, options) => {
    readConfig(options, [], 'save to ONNX');
    return exportOnnx(model, path);
  },
};
