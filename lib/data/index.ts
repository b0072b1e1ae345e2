export { toCategorical } from './categorical';
export { type CsvOptions, readCsv, type Table } from './csv';
export { type PadOptions, padSequences } from './pad';
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
