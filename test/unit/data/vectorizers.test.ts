import fc from 'fast-check';
import { charVectorizer, preprocessorFromJSON, type Vectorizer, wordVectorizer } from '../../../lib';

const again = <T>(p: { toJSON(): unknown }): T =>
  preprocessorFromJSON(JSON.parse(JSON.stringify(p.toJSON()))) as T;

describe('vectorizers', () => {
  test('words: most frequent first, ties by code point, 0 padding, 1 unknown', () => {
    const v = wordVectorizer().fit(['The cat, the dog!', 'a cat']);
    expect(v.vocabulary).toEqual(['', '[UNK]', 'cat', 'the', 'a', 'dog']);
    expect(Array.from(v.encode('A bird; the CAT'))).toEqual([4, 1, 3, 2]);
    expect(v.decode(v.encode('the cat'))).toBe('the cat');
    expect(v.encodeAll(['the', 'a cat dog']).toArray()).toEqual([
      [3, 0, 0],
      [4, 2, 5],
    ]);
  });

  test('characters: code points, nothing standardised', () => {
    const v = charVectorizer().fit('héé🙂');
    expect(v.vocabulary).toEqual(['', '[UNK]', 'é', 'h', '🙂']);
    expect(Array.from(v.encode('🙂h?'))).toEqual([4, 3, 1]);
    expect(v.decode([4, 0, 2, 1])).toBe('🙂é\uFFFD');
  });

  test('graphemes, words of languages without spaces, and no padding id', () => {
    expect(charVectorizer({ unit: 'grapheme' }).fit('👩‍👧a').vocabularySize).toBe(4);
    expect(wordVectorizer({ split: 'word' }).fit('東京は大きい').vocabularySize).toBeGreaterThan(3);
    const v = charVectorizer({ padding: false }).fit('ab');
    expect([v.vocabulary, v.decode([0, 1])]).toEqual([['[UNK]', 'a', 'b'], '\uFFFDa']);
  });

  test('maxTokens counts the reserved ids', () => {
    expect(wordVectorizer({ maxTokens: 3 }).fit('b b a').vocabulary).toEqual(['', '[UNK]', 'b']);
    expect(() => wordVectorizer({ maxTokens: 2 })).toThrow(
      'wordVectorizer: maxTokens: expected an integer above 2, got 2.',
    );
  });

  test('property: decode undoes encode, also after JSON', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (text) => {
        const v = charVectorizer().fit(text);
        expect(again<Vectorizer>(v).decode(v.encode(text))).toBe(text);
      }),
    );
  });

  test('refusals', () => {
    expect(() => wordVectorizer().encode('a')).toThrow(
      'wordVectorizer.encode: expected a fitted vectorizer. Call fit with training text first.',
    );
    expect(() => wordVectorizer().fit(3 as never)).toThrow(
      'wordVectorizer.fit: expected an array of texts, got 3.',
    );
    const v = wordVectorizer().fit('I love it');
    expect(() => v.encodeAll('I love it')).toThrow(
      "wordVectorizer.encodeAll: expected an array of texts, got 'I love it'.",
    );
    expect(() => v.encodeAll([''])).toThrow(
      'padSequences: expected a maxLen, or a sequence with at least one step, got empty sequences only.',
    );
    const ids = v.encodeAll(['love it']);
    expect(v.decode(ids.reshape([2]))).toBe('love it');
    expect(() => v.decode(ids)).toThrow(
      'wordVectorizer.decode: expected the ids of one text, [T], got shape [1, 2].',
    );
    expect(() => wordVectorizer().fit('!?')).toThrow(
      'wordVectorizer.fit: expected text with at least one token, got none.',
    );
    expect(() => charVectorizer().fit('a').decode([9])).toThrow(
      'charVectorizer.decode: expected ids from 0 to 2, got 9 at [0].',
    );
    expect(() => preprocessorFromJSON({ type: 'standardScalar' })).toThrow("Did you mean 'standardScaler'?");
  });
});
