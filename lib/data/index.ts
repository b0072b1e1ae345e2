export { toCategorical } from './categorical';
export { type CsvOptions, readCsv } from './csv';
export { type PadOptions, padSequences } from './pad';
export { type PaddedBatch, type PaddedBatches, paddedBatches } from './paddedBatches';
export type { PaddedBatchesOptions } from './paddedBatchesOptions';
export { type Preprocessor, preprocessorFromJSON } from './preprocessor';
export { type ArrowTable, readTable, type TableOptions } from './readTable';
export { minMaxScaler, type ScaleOptions, type Scaler, standardScaler } from './scalers';
export { type SplitOptions, trainTestSplit } from './split';
export type { Table } from './table';
export {
  type ColumnSpec,
  type TableBatchesOptions,
  type TableColumns,
  tableBatches,
  tableTensors,
  vocabularyOf,
} from './tableBatches';
export {
  type CharVectorizerOptions,
  charVectorizer,
  type Vectorizer,
  type WordVectorizerOptions,
  wordVectorizer,
} from './vectorizers';
export { nextTokenWindows, slidingWindows, type WindowOptions } from './windows';
