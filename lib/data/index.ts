export { toCategorical } from './categorical';
export { type CsvOptions, readCsv, type Table } from './csv';
export { type PadOptions, padSequences } from './pad';
export { type PaddedBatch, type PaddedBatches, paddedBatches } from './paddedBatches';
export type { PaddedBatchesOptions } from './paddedBatchesOptions';
export { type Preprocessor, preprocessorFromJSON } from './preprocessor';
export { minMaxScaler, type ScaleOptions, type Scaler, standardScaler } from './scalers';
export { type SplitOptions, trainTestSplit } from './split';
export {
  type CharVectorizerOptions,
  charVectorizer,
  type Vectorizer,
  type WordVectorizerOptions,
  wordVectorizer,
} from './vectorizers';
export { nextTokenWindows, slidingWindows, type WindowOptions } from './windows';
