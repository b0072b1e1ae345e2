import { readConfig } from '../config';
import { DeepRnnError, quoted, refuse, show } from '../errors';
import { resolveName } from '../names';
import { Tensor } from '../tensors/tensor';
import { type PadOptions, padSequences } from './pad';

export interface VectorizerOptions {
  /** Size of the vocabulary, padding and out-of-vocabulary included. Default: as large as the text needs. */
  maxTokens?: number;
  /** Ids 0 for padding and 1 for what is not in the vocabulary, as in Keras. `false`: only the latter, as id 0. Default true. */
  padding?: boolean;
  /** What is done to the text first. Default `'none'` for characters, `'lowerAndStripPunctuation'` for words. */
  standardize?: 'none' | 'lower' | 'lowerAndStripPunctuation';
}

export interface CharVectorizerOptions extends VectorizerOptions {
  /** What counts as a character: a code point, or what a reader sees as one (grapheme). Default `'codePoint'`. */
  unit?: 'codePoint' | 'grapheme';
}

export interface WordVectorizerOptions extends VectorizerOptions {
  /** At white space, or by the rules of Unicode (for languages without spaces too). Default `'whitespace'`. */
  split?: 'whitespace' | 'word';
}

/** Turns text into ids and back. The vocabulary is learned from text and saved with the model. */
export interface Vectorizer {
  readonly type: VectorizerType;
  /** Learns the vocabulary: the most frequent tokens first, ties in code point order. */
  fit(texts: string | Iterable<string>): this;
  /** Number of ids. */
  readonly vocabularySize: number;
  /** Tokens by id; '' for padding, '[UNK]' for what is not in the vocabulary. */
  readonly vocabulary: readonly string[];
  /** Ids of one text. */
  encode(text: string): Int32Array;
  /** Ids of several texts, padded to one length: `[N, T]`. Filled and cut behind (`'post'`) where the options do not say otherwise. */
  encodeAll(texts: Iterable<string>, options?: Omit<PadOptions, 'dtype'>): Tensor;
  /** Text from ids `[T]`; padding disappears, unknown tokens show as `\uFFFD`. */
  decode(ids: ArrayLike<number> | Tensor): string;
  toJSON(): Record<string, unknown>;
}

export type VectorizerType = 'charVectorizer' | 'wordVectorizer';

const standardizations = ['none', 'lower', 'lowerAndStripPunctuation'] as const;
const UNKNOWN = '[UNK]';

class TokenVectorizer implements Vectorizer {
  private ids: Map<string, number> | undefined;
  vocabulary: readonly string[] = [];
  private readonly standardize: (typeof standardizations)[number];
  private readonly padding: boolean;
  private readonly maxTokens: number | undefined;
  private readonly tokens: (text: string) => Iterable<string>;
  private readonly joiner: string;

  constructor(
    readonly type: VectorizerType,
    private readonly options: Partial<Record<string, unknown>>,
  ) {
    const isChar = type === 'charVectorizer';
    const { maxTokens, padding = true } = options;
    this.standardize = resolveName(
      options['standardize'] ?? (isChar ? 'none' : 'lowerAndStripPunctuation'),
      standardizations,
      `${type}: standardize`,
    );
    if (typeof padding !== 'boolean') refuse('ERR_VALUE', `${type}: padding`, 'true or false', padding);
    this.padding = padding as boolean;
    if (
      maxTokens !== undefined &&
      !(Number.isSafeInteger(maxTokens) && (maxTokens as number) > this.reserved)
    ) {
      refuse('ERR_VALUE', `${type}: maxTokens`, `an integer above ${this.reserved}`, maxTokens);
    }
    this.maxTokens = maxTokens as number | undefined;
    this.tokens = isChar
      ? charSplitter(
          resolveName(options['unit'] ?? 'codePoint', ['codePoint', 'grapheme'] as const, `${type}: unit`),
        )
      : wordSplitter(
          resolveName(options['split'] ?? 'whitespace', ['whitespace', 'word'] as const, `${type}: split`),
        );
    this.joiner = isChar ? '' : ' ';
  }

  /** Ids that are no tokens: padding (where there is one) and unknown. */
  private get reserved(): number {
    return this.padding ? 2 : 1;
  }

  get vocabularySize(): number {
    return this.vocabulary.length;
  }

  fit(texts: string | Iterable<string>): this {
    const counts = new Map<string, number>();
    for (const text of typeof texts === 'string' ? [texts] : textsOf(texts, `${this.type}.fit`)) {
      for (const token of this.split(text)) counts.set(token, (counts.get(token) ?? 0) + 1);
    }
    if (counts.size === 0) refuse('ERR_VALUE', `${this.type}.fit`, 'text with at least one token', 'none');
    const byCodePoint = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
    const sorted = [...counts].sort((a, b) => b[1] - a[1] || byCodePoint(a[0], b[0])).map(([token]) => token);
    this.learn(sorted.slice(0, this.maxTokens === undefined ? undefined : this.maxTokens - this.reserved));
    return this;
  }

  private learn(tokens: readonly string[]): void {
    this.vocabulary = [...(this.padding ? [''] : []), UNKNOWN, ...tokens];
    this.ids = new Map(tokens.map((token, i) => [token, i + this.reserved]));
  }

  private split(text: unknown): Iterable<string> {
    if (typeof text !== 'string') refuse('ERR_VALUE', this.type, 'text', quoted(text));
    let t = text as string;
    if (this.standardize !== 'none') t = t.toLowerCase();
    if (this.standardize === 'lowerAndStripPunctuation') t = t.replace(/\p{P}|\p{S}/gu, '');
    return this.tokens(t);
  }

  private known(call: string): Map<string, number> {
    if (!this.ids)
      throw new DeepRnnError(
        'ERR_STATE',
        `${this.type}.${call}: expected a fitted vectorizer. Call fit with training text first.`,
      );
    return this.ids;
  }

  encode(text: string): Int32Array {
    const ids = this.known('encode');
    const unknown = this.reserved - 1;
    return Int32Array.from(Array.from(this.split(text), (token) => ids.get(token) ?? unknown));
  }

  encodeAll(texts: Iterable<string>, options: Omit<PadOptions, 'dtype'> = {}): Tensor {
    return padSequences(
      Array.from(textsOf(texts, `${this.type}.encodeAll`), (text) => this.encode(text)),
      { padding: 'post', truncating: 'post', ...options, dtype: 'int32' },
    );
  }

  decode(given: ArrayLike<number> | Tensor): string {
    this.known('decode');
    const isTensor = given instanceof Tensor;
    if (isTensor ? given.rank !== 1 : !(Array.isArray(given) || ArrayBuffer.isView(given))) {
      const got = isTensor ? `shape [${given.shape.join(', ')}]` : quoted(given);
      refuse('ERR_VALUE', `${this.type}.decode`, 'the ids of one text, [T]', got);
    }
    const ids = isTensor ? given.data : given;
    const tokens: string[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      if (!Number.isInteger(id) || id < 0 || id >= this.vocabulary.length) {
        refuse(
          'ERR_VALUE',
          `${this.type}.decode`,
          `ids from 0 to ${this.vocabulary.length - 1}`,
          `${show(quoted(id))} at [${i}]`,
        );
      }
      if (this.padding && id === 0) continue;
      tokens.push(id === this.reserved - 1 ? '\uFFFD' : (this.vocabulary[id] as string));
    }
    return tokens.join(this.joiner);
  }

  toJSON(): Record<string, unknown> {
    return { type: this.type, options: { ...this.options }, tokens: this.ids ? [...this.ids.keys()] : null };
  }

  static fromJSON(type: VectorizerType, json: Record<string, unknown>): TokenVectorizer {
    const vectorizer = make(type, json['options'] as object);
    const { tokens } = json;
    if (tokens === null) return vectorizer;
    if (!Array.isArray(tokens) || !tokens.every((t) => typeof t === 'string'))
      refuse('ERR_VALUE', `a saved ${type}`, 'tokens', tokens);
    vectorizer.learn(tokens as string[]);
    return vectorizer;
  }
}

/** @throws ERR_VALUE for one text where several are meant: its characters would each count as a text */
function textsOf(texts: unknown, subject: string): Iterable<string> {
  const given = Object(texts) as Partial<Iterable<string>>;
  if (typeof texts === 'string' || typeof given[Symbol.iterator] !== 'function')
    refuse('ERR_VALUE', subject, 'an array of texts', quoted(texts));
  return texts as Iterable<string>;
}

function charSplitter(unit: 'codePoint' | 'grapheme'): (text: string) => Iterable<string> {
  if (unit === 'codePoint') return (text) => text;
  const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  return (text) => Array.from(segmenter.segment(text), ({ segment }) => segment);
}

function wordSplitter(split: 'whitespace' | 'word'): (text: string) => Iterable<string> {
  if (split === 'whitespace') return (text) => text.split(/\s+/u).filter((word) => word.length > 0);
  const segmenter = new Intl.Segmenter(undefined, { granularity: 'word' });
  return (text) =>
    Array.from(segmenter.segment(text))
      .filter(({ isWordLike }) => isWordLike)
      .map(({ segment }) => segment);
}

const ownOption = { charVectorizer: 'unit', wordVectorizer: 'split' } as const;

function make(type: VectorizerType, options: unknown): TokenVectorizer {
  return new TokenVectorizer(
    type,
    readConfig<string>(options, ['maxTokens', 'padding', 'standardize', ownOption[type]], type),
  );
}

/** A vectorizer over characters. */
export function charVectorizer(options: CharVectorizerOptions = {}): Vectorizer {
  return make('charVectorizer', options);
}

/** A vectorizer over words. */
export function wordVectorizer(options: WordVectorizerOptions = {}): Vectorizer {
  return make('wordVectorizer', options);
}

export const vectorizerReaders = {
  charVectorizer: (json: Record<string, unknown>): Vectorizer =>
    TokenVectorizer.fromJSON('charVectorizer', json),
  wordVectorizer: (json: Record<string, unknown>): Vectorizer =>
    TokenVectorizer.fromJSON('wordVectorizer', json),
};
