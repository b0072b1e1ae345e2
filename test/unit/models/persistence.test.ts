import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Callback,
  callbacks,
  DeepRnnError,
  layers,
  loadModel,
  loadWeights,
  type Model,
  Philox,
  Sequential,
  sequential,
  standardScaler,
  type Tensor,
  wordVectorizer,
} from '../../../lib';
import { readSafetensors } from '../../../lib/io/modelFile';
import { randomSequences, smallModel, whichThird } from './data';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-models-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'model.safetensors');

const x = randomSequences(64, 6, 4, 1);
const y = whichThird(x);
const compile = {
  loss: 'sparseCategoricalCrossentropy',
  optimizer: { type: 'adam', learningRate: 0.01, clipNorm: 1 },
  metrics: ['accuracy'],
};
const bits = (t: Tensor) => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('hex');

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => new Error('nothing was refused'),
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(DeepRnnError);
  expect((error as DeepRnnError).code).toBe('ERR_FILE');
  return (error as Error).message;
}

test('a loaded model predicts the same bits and is compiled as it was', async () => {
  const model = smallModel(2).compile(compile);
  await model.fit(x, y, { epochs: 2 });
  await model.save(file);
  const again = await loadModel(file);
  expect(bits(await again.predict(x))).toBe(bits(await model.predict(x)));
  expect(await again.evaluate(x, y)).toEqual(await model.evaluate(x, y));
  expect(again.getConfig()).toEqual(model.getConfig());
  expect(again.optimizer.getConfig()).toEqual(model.optimizer.getConfig());
});

test('loading draws no weights, which the file replaces anyway', async () => {
  await smallModel(2).save(file);
  const drawn = jest.spyOn(Philox.prototype, 'nextUint32');
  const again = await loadModel(file);
  expect(drawn).not.toHaveBeenCalled();
  drawn.mockRestore();
  expect(bits(await again.predict(x))).toBe(bits(await smallModel(2).predict(x)));
  if (!(again instanceof Sequential)) throw new Error('not sequential');
  again.add(layers.dense({ units: 2, name: 'head' }));
  const head = (await again.getWeights()).get('head/kernel') as Tensor;
  expect(head.data.every((w) => w !== 0)).toBe(true);
});

test('weighted metrics are saved as such', async () => {
  const model = smallModel(2).compile({ ...compile, weightedMetrics: ['accuracy', 'topK'] });
  await model.save(file);
  const again = await loadModel(file);
  const about = (m: Model) => m.metrics.map(({ name, weighted }) => [name, weighted]);
  expect(about(again)).toEqual([
    ['accuracy', false],
    ['weighted_accuracy', true],
    ['topK', true],
  ]);
  expect(about(again)).toEqual(about(model));
});

test('with the optimizer, training goes on as if never saved', async () => {
  const model = smallModel(2, 0.2).compile(compile);
  await model.fit(x, y, { epochs: 2 });
  await model.save(file, { includeOptimizer: true });
  const again = await loadModel(file);
  expect(again.step).toBe(model.step);
  const [a, b] = [await model.fit(x, y, { epochs: 2 }), await again.fit(x, y, { epochs: 2 })];
  expect(b.toJSON()).toEqual(a.toJSON());
  expect(bits(await again.predict(x))).toBe(bits(await model.predict(x)));
});

test('without it, only weights are in the file', async () => {
  const model = smallModel(2).compile(compile);
  await model.fit(x, y);
  await model.save(file);
  const again = await loadModel(file);
  expect(again.step).toBe(0);
  expect(again.variables.names().filter((name) => name.includes(':'))).toEqual([]);
});

test('scalers and vectorizers come with the model', async () => {
  const model = smallModel(2);
  model.preprocessing['inputs'] = standardScaler().fit([
    [1, 10],
    [3, 30],
  ]);
  model.preprocessing['words'] = wordVectorizer().fit('to be or not to be');
  await model.save(file);
  const { preprocessing } = await loadModel(file);
  const scaler = preprocessing['inputs'] as ReturnType<typeof standardScaler>;
  expect(scaler.transform([[5, 20]]).toArray()).toEqual([[3, 0]]);
  expect((preprocessing['words'] as ReturnType<typeof wordVectorizer>).decode([2, 3, 1])).toBe(
    'be to \uFFFD',
  );
});

test('a model that is not compiled is saved and loaded too', async () => {
  const model = smallModel(2);
  await model.save(file);
  const again = await loadModel(file, { device: 'reference' });
  expect(again.compiled).toBeUndefined();
  expect((await again.predict(x)).shape).toEqual([64, 3]);
});

test('weights of another model are refused, and the model keeps its own', async () => {
  await smallModel(2).save(file);
  const other = sequential([layers.lstm({ units: 8, inputShape: [6, 4], name: 'lstm' })]);
  const before = await other.getWeights();
  expect(await refusal(loadWeights(other, file))).toBe(
    `'${file}' holds the weights of another model: expected lstm/kernel [4, 32], got [4, 36].`,
  );
  const smaller = sequential([layers.lstm({ units: 9, inputShape: [6, 4], name: 'lstm' })]);
  expect(await refusal(loadWeights(smaller, file))).toBe(
    `'${file}' holds the weights of another model: expected no array 'dense/bias', got one.`,
  );
  const renamed = sequential([layers.lstm({ units: 9, inputShape: [6, 4], name: 'encoder' })]);
  expect(await refusal(loadWeights(renamed, file))).toBe(
    `'${file}' holds the weights of another model: expected encoder/kernel [4, 36], got no such array.`,
  );
  const after = await other.getWeights();
  for (const [name, t] of before) expect(bits(after.get(name) as Tensor)).toBe(bits(t));
});

test('a truncated, an altered and a foreign file', async () => {
  await smallModel(2).save(file);
  const whole = readFileSync(file);
  writeFileSync(file, whole.subarray(0, whole.length / 2));
  expect(await refusal(loadModel(file))).toContain("lies outside the file's data");
  whole[whole.length - 9] = (whole[whole.length - 9] as number) ^ 4;
  writeFileSync(file, whole);
  expect(await refusal(loadModel(file))).toBe(
    `'${file}' was altered after it was saved: its checksum does not fit.`,
  );
  writeFileSync(file, '{"class_name": "Sequential"}');
  expect(await refusal(loadModel(file))).toContain('is not a usable safetensors file: its header says it is');
});

test('a saved model is no checkpoint', async () => {
  const model = smallModel(2).compile(compile);
  await model.save(file);
  expect(await refusal(model.fit(x, y, { resumeFrom: file }))).toBe(
    `fit: resumeFrom: '${file}' is a saved model, not a checkpoint. Save with { checkpoint: true } during fit, or use callbacks.modelCheckpoint.`,
  );
});

test('outside fit there is no checkpoint to be saved', async () => {
  const model = smallModel(2).compile(compile);
  await model.fit(x, y);
  const none = path.join(folder, 'none');
  await expect(model.save(none, { checkpoint: true })).rejects.toMatchObject({
    code: 'ERR_STATE',
    message:
      'save: checkpoint: expected a fit under way, got none. Call it in a callback; a model that fit has left goes on from a file with includeOptimizer: true.',
  });
  expect(existsSync(none)).toBe(false);
});

test('what could not be loaded again is not saved', async () => {
  const model = smallModel(3);
  for (const [bad, shown] of [
    [{ a: 1 }, 'an object'],
    [{ toJSON: () => ({ type: 'own' }) }, 'an object'],
    [5, '5'],
  ] as const) {
    model.preprocessing['s'] = bad as never;
    await expect(model.save(file)).rejects.toThrow(
      `save: preprocessing['s']: expected a scaler or vectorizer, got ${shown}.`,
    );
  }
});

test('best weights lie in a checkpoint as arrays, beside those of the model', async () => {
  const options = { epochs: 5, validationSplit: 0.25, verbose: 0 } as const;
  // Worse in every epoch: the best weights are those of the first.
  const rising = (): Callback => ({
    onEpochEnd: (epoch, logs) => {
      logs['watched'] = epoch;
    },
  });
  const stopping = () =>
    callbacks.earlyStopping({ monitor: 'watched', mode: 'min', patience: 4, restoreBestWeights: true });
  const whole = smallModel(2).compile(compile);
  await whole.fit(x, y, { ...options, callbacks: [rising(), stopping()] });

  const first = smallModel(2).compile(compile);
  const saving = callbacks.modelCheckpoint({ path: file });
  const cut: Callback = {
    onEpochBegin: (epoch) => {
      if (epoch === 3) throw new Error('power cut');
    },
  };
  await expect(
    first.fit(x, y, { ...options, callbacks: [rising(), stopping(), saving, cut] }),
  ).rejects.toThrow('power cut');
  const { tensors, metadata } = await readSafetensors(file);
  const saved = tensors.get('callback earlyStopping%20watched/lstm/kernel') as Tensor;
  expect(saved.shape).toEqual([4, 36]);
  expect(bits(saved)).not.toBe(bits(tensors.get('lstm/kernel') as Tensor));
  expect(JSON.parse(metadata['config'] as string).training.callbacks['earlyStopping watched']).toEqual({
    wait: 2,
    best: 0,
    stopped: false,
  });

  const second = smallModel(9).compile(compile);
  await second.fit(x, y, { ...options, resumeFrom: file, callbacks: [rising(), stopping()] });
  expect(bits(await second.predict(x))).toBe(bits(await whole.predict(x)));
  // A checkpoint is a model too; what belongs to callbacks is no weight of it.
  const loaded = await loadModel(file);
  expect(loaded.variables.names().filter((name) => name.startsWith('callback'))).toEqual([]);
  await loadWeights(loaded, file);
});

test('a failed save leaves the old file whole', async () => {
  await smallModel(2).save(file);
  const before = readFileSync(file);
  const model = smallModel(3);
  model.preprocessing['broken'] = {
    toJSON: () => {
      throw new Error('no');
    },
  } as never;
  await expect(model.save(file)).rejects.toThrow('no');
  expect(readFileSync(file).equals(before)).toBe(true);
});
