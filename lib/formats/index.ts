import {
  readWeightsBy,
  weightsNamings,
  writeEndingWith,
  writeWeightsEndingWith,
} from '../models/modelWriters';
import { formats } from './formats';
import { kerasNaming } from './keras';

for (const { endings, save, recognizes, loadWeights, weightsEndings = [], saveWeights } of formats) {
  if (save) for (const ending of endings) writeEndingWith(ending, save);
  if (loadWeights) readWeightsBy({ recognizes, read: loadWeights });
  if (saveWeights) for (const ending of weightsEndings) writeWeightsEndingWith(ending, saveWeights);
}
weightsNamings.set('keras', kerasNaming);

export { type LoadedModel, type LoadOptions, loadModel } from './loadModel';
export { exportOnnx, type OnnxExportOptions } from './onnx';
