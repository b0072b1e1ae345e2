import { quoted, refuse } from '../errors';
import { resolveName } from '../names';
import { type Scaler, scalerReaders } from './scalers';
import { type Vectorizer, vectorizerReaders } from './vectorizers';

/** What is fitted on training data and belongs to a model. */
export type Preprocessor = Scaler | Vectorizer;

const readers = { ...scalerReaders, ...vectorizerReaders };

/** A scaler or vectorizer from what its `toJSON` gave. */
export function preprocessorFromJSON(json: unknown): Preprocessor {
  if (typeof json !== 'object' || json === null)
    refuse('ERR_VALUE', 'a saved preprocessor', 'an object', quoted(json));
  const record = json as Record<string, unknown>;
  return readers[
    resolveName(record['type'], Object.keys(readers) as (keyof typeof readers)[], 'a saved preprocessor')
  ](record);
}
