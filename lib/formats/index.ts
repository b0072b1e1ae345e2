import { writeEndingWith } from '../models/modelWriters';
import { formats } from './formats';

for (const { endings, save } of formats)
  if (save) for (const ending of endings) writeEndingWith(ending, save);

export { type LoadOptions, loadModel } from './loadModel';
export { exportOnnx, type OnnxExportOptions } from './onnx';
