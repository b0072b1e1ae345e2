import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { callbacks, layers, sequential } from 'deeprnn';
import { crc32c } from '../../../lib/io/crc32c';
import { histogramOf } from '../../../lib/io/eventFile';
import { refusal } from '../refusal';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'deeprnn-tensorboard-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Fields of a message by number, each with all its values; submessages and strings as bytes. */
function fields(bytes: Uint8Array): Map<number, unknown[]> {
  const reader = new BinaryReader(bytes);
  const found = new Map<number, unknown[]>();
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    const value = [
      () => reader.uint64(),
      () => reader.double(),
      () => reader.bytes(),
      undefined,
      undefined,
      () => reader.float(),
    ][wire]?.();
    found.set(field, [...(found.get(field) ?? []), value]);
  }
  return found;
}
const only = (bytes: unknown, ...path: number[]): unknown =>
  path.reduce((at, field) => fields(at as Uint8Array).get(field)?.[0], bytes);
const text = (bytes: unknown) => Buffer.from(bytes as Uint8Array).toString();

/** The records of a file, lengths and checksums proven. */
function recordsOf(part: string): Uint8Array[] {
  const [name] = readdirSync(join(folder, part));
  const file = readFileSync(join(folder, part, name as string));
  const masked = (bytes: Uint8Array) => {
    const crc = crc32c(bytes);
    return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  };
  const records: Uint8Array[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    expect(file.readUInt32LE(at + 8)).toBe(masked(file.subarray(at, at + 8)));
    const bytes = file.subarray(at + 12, at + 12 + length);
    expect(file.readUInt32LE(at + 12 + length)).toBe(masked(bytes));
    records.push(bytes);
    at += 16 + length;
  }
  return records;
}

/** Step and value of every event under a tag. */
function under(part: string, tag: string): { step: number; value: Uint8Array }[] {
  return recordsOf(part)
    .slice(1)
    .map((bytes) => ({ step: Number(only(bytes, 2) ?? 0), value: only(bytes, 5, 1) as Uint8Array }))
    .filter(({ value }) => text(only(value, 1)) === tag);
}

const x = [
  [0.1, 0.2],
  [0.3, -0.4],
  [0.5, 0.6],
  [-0.7, 0.8],
];
const y = [[1], [0], [1], [0]];
function make() {
  const model = sequential([layers.dense({ units: 1, inputShape: [2], name: 'd' })], { seed: 3 });
  model.compile({ loss: 'mse', optimizer: { type: 'sgd', learningRate: 0.1 } });
  return model;
}

test('CRC-32C of the check string', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
});

test('the numbers of a history come back as scalars, those of validation in a folder of their own', async () => {
  const { history } = await make().fit(x, y, {
    ...{ epochs: 3, batchSize: 2, validationData: [x, y] },
    callbacks: [callbacks.tensorBoard({ logDir: folder, updateFreq: 2 })],
  });
  expect(text(only(recordsOf('train')[0], 3))).toBe('brain.Event:2');
  const scalars = (part: string, tag: string) =>
    under(part, tag).map(({ step, value }) => [step, only(value, 2)]);
  expect(scalars('train', 'epoch_loss')).toEqual(history['loss']?.map((v, i) => [i, Math.fround(v)]));
  expect(scalars('validation', 'epoch_loss')).toEqual(
    history['val_loss']?.map((v, i) => [i, Math.fround(v)]),
  );
  expect(scalars('train', 'epoch_learningRate').map(([, v]) => v)).toEqual([0.1, 0.1, 0.1].map(Math.fround));
  expect(scalars('train', 'batch_loss').map(([step]) => step)).toEqual([2, 4, 6]);
});

test('histograms of weights and gradients, gradient norms, texts and hparams', async () => {
  const model = make();
  await model.fit(x, y, {
    ...{ epochs: 2, batchSize: 4 },
    callbacks: [
      callbacks.tensorBoard({
        ...{ logDir: folder, histograms: 2, gradientBatch: { x, y }, gradientNorms: 1 },
        ...{ text: { note: '**why**' }, hparams: { rate: 0.1, kind: 'sgd', nesterov: false } },
      }),
    ],
  });
  const [weights, ...others] = under('train', 'weights/d/kernel');
  expect(others).toHaveLength(0);
  const { data } = (await model.getWeights()).get('d/kernel') as { data: Float32Array };
  expect([1, 2, 3].map((field) => only(weights?.value, 5, field))).toEqual([
    Math.min(...data),
    Math.max(...data),
    2,
  ]);
  const { gradients } = await model.computeGradients(x, y);
  const slope = gradients.get('d/bias')?.data[0] as number;
  expect(only(under('train', 'gradients/d/bias')[0]?.value, 5, 4)).toBeCloseTo(slope, 6);
  expect(under('train', 'gradient_norm/d/kernel').map(({ step }) => step)).toEqual([1, 2]);
  expect(text(only(under('train', 'note')[0]?.value, 8, 8))).toBe('**why**');
  expect(text(only(under('train', 'summary')[0]?.value, 8, 8))).toContain('    ');
  const start = only(under('train', '_hparams_/session_start_info')[0]?.value, 9, 1, 2, 3) as Uint8Array;
  const hparams = (fields(start).get(1) as Uint8Array[]).map((entry) => [
    text(only(entry, 1)),
    only(entry, 2),
  ]);
  expect(hparams.map(([name]) => name)).toEqual(['rate', 'kind', 'nesterov']);
  expect(only(hparams[0]?.[1], 2)).toBe(0.1);
  expect(text(only(hparams[1]?.[1], 3))).toBe('sgd');
  expect(Number(only(under('train', '_hparams_/session_end_info')[0]?.value, 9, 1, 2, 4, 1))).toBe(1);
});

test('a histogram counts every finite number once, between its borders', () => {
  const h = histogramOf([0, 1, 2, 3, Number.NaN, 3, Number.POSITIVE_INFINITY]);
  expect(h).toMatchObject({ min: 0, max: 3, count: 5, sum: 9, sumOfSquares: 23 });
  expect(h?.counts.reduce((a, b) => a + b)).toBe(5);
  expect(h?.limits).toHaveLength(h?.counts.length as number);
  expect(h?.limits.at(-1)).toBeCloseTo(3);
  expect(histogramOf([Number.NaN])).toBeUndefined();
  expect(histogramOf([2, 2])?.counts.reduce((a, b) => a + b)).toBe(2);
});

test.each<[object, RegExp]>([
  [{}, /callbacks\.tensorBoard: logDir: expected a folder, got undefined/],
  [
    { logDir: 'a', updateFreq: 'step' },
    /updateFreq: expected 'epoch' or 'batch', or a positive integer, got 'step'/,
  ],
  [{ logDir: 'a', histograms: -1 }, /histograms: expected an integer, 0 or more, got -1/],
  [{ logDir: 'a', gradientBatch: { x, y } }, /gradientBatch: expected \{ x, y \} beside histograms/],
  [{ logDir: 'a', hparams: { rate: [1] } }, /hparams\.rate: expected a string or number or boolean/],
  [{ logDir: 'a', text: 'note' }, /text: expected an object, got 'note'/],
  [{ logDir: 'a', histogramFreq: 1 }, /unknown option 'histogramFreq'/],
])('refuses %j', async (options, message) => {
  expect(await refusal(() => callbacks.tensorBoard(options as { logDir: string }))).toMatch(message);
});

test('a folder that cannot be made ends the fit with its name', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  const fit = () => make().fit(x, y, { callbacks: [callbacks.tensorBoard({ logDir: file })] });
  expect(await refusal(fit)).toMatch(/^ERR_FILE '.*events\.out\.tfevents.*' could not be written: /);
});
