import { DeepRnnError, reasonOf } from '../../errors';
import { readBytes } from '../../io/modelFile';
import type { Model } from '../../models/model';
import type { LoadOptions } from '../loadModel';
import { readExternal } from './constants';
import { readGraph } from './graphFile';
import { OnnxModel } from './onnxModel';
import { operators } from './operators';

/** A model of an ONNX file. @throws ERR_FILE, naming node, operator and reason, for what cannot be run here, before weights are read */
export async function loadOnnx(path: string, options: LoadOptions): Promise<Model> {
  const graph = readGraph(await readBytes(path), path, (op) =>
    Object.hasOwn(operators, op) ? operators[op] : undefined,
  );
  await readExternal(path, [...graph.initializers.values()]);
  const { device, threads } = options;
  try {
    return new OnnxModel(graph, device, threads === undefined ? {} : { threads });
  } catch (error) {
    throw new DeepRnnError('ERR_FILE', `'${path}': ${reasonOf(error)}`, { cause: error });
  }
}
