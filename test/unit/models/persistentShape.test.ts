import { readFileSync } from 'node:fs';
import path from 'node:path';
import { figures, h100 } from '../../../lib/models/estimate/figures';
import { shareOut } from '../../../lib/models/estimate/persistentShape';

const source = (name: string) => readFileSync(path.join(__dirname, '../../../native/cuda', name), 'utf8');

/** A constant of the C++ sources. */
function constant(text: string, name: string): number {
  const found = new RegExp(`\\b${name} = ([\\d.]+)`).exec(text);
  if (!found) throw new Error(`no constant ${name}`);
  return Number(found[1]);
}

describe('the search agrees with native/cuda/persistent_shape.cpp', () => {
  test('in its figures', () => {
    const text = source('persistent_shape.cpp');
    const pairs = [
      ['kL2BytesOne', 'l2BytesPerClockEach'],
      ['kL2BytesAll', 'l2BytesPerClock'],
      ['kSharedBytes', 'sharedBytesPerClock'],
      ['kTileProducts', 'tileProductsPerClock'],
      ['kExchangeClocks', 'exchangeClocks'],
      ['kPerWriter', 'writerClocks'],
      ['kUnitClocks', 'unitClocks'],
    ] as const;
    for (const [native, own] of pairs)
      expect([native, constant(text, native)]).toEqual([native, figures[own].value]);
  });

  // These rows hold what the C++ search gives.
  test.each([
    {
      what: 'the forward pass of SimpleRNN 64→32, N 64, bf16',
      layers: [
        { units: 64, perUnit: 1, chunks: 2, carried: 0, staged: 1 },
        { units: 32, perUnit: 1, chunks: 3, carried: 0, staged: 0 },
      ],
      precision: 'bf16' as const,
      batch: 64,
      expected: { groups: 4, rows: 16, rowTiles: 1, storedRows: 16, blocks: 12, sharedBytes: 7200 },
      blocks: [8, 4],
      clocks: 2786.84,
    },
    {
      what: 'that of LSTM 256, N 32, bf16',
      layers: [{ units: 256, perUnit: 4, chunks: 8, carried: 1, staged: 4 }],
      precision: 'bf16' as const,
      batch: 32,
      expected: { groups: 2, rows: 16, rowTiles: 1, storedRows: 16, blocks: 43, sharedBytes: 28128 },
      blocks: [43],
      clocks: 3632.41,
    },
    {
      what: 'that of LSTM 1024, N 64, fp32',
      layers: [{ units: 1024, perUnit: 4, chunks: 64, carried: 1, staged: 4 }],
      precision: 'fp32' as const,
      batch: 64,
      expected: { groups: 1, rows: 64, rowTiles: 4, storedRows: 64, blocks: 128, sharedBytes: 224896 },
      blocks: [128],
      clocks: 32741.76,
    },
    {
      what: 'that of LSTM 256→128→64, N 64, fp32, which takes every multiprocessor',
      layers: [
        { units: 256, perUnit: 4, chunks: 16, carried: 1, staged: 4 },
        { units: 128, perUnit: 4, chunks: 24, carried: 1, staged: 0 },
        { units: 64, perUnit: 4, chunks: 12, carried: 1, staged: 0 },
      ],
      precision: 'fp32' as const,
      batch: 64,
      expected: { groups: 4, rows: 16, rowTiles: 1, storedRows: 16, blocks: 33, sharedBytes: 90880 },
      blocks: [16, 13, 4],
      clocks: 6382.48,
    },
  ])('in $what', ({ layers, precision, batch, expected, blocks, clocks }) => {
    const shape = shareOut(layers, batch, precision, h100);
    if (!('groups' in shape)) throw new Error('it should fit');
    expect(shape).toMatchObject(expected);
    expect(shape.layers.map((layer) => layer.blocks)).toEqual(blocks);
    expect(shape.clocks).toBeCloseTo(clocks, 6);
  });
});

test('a small layer, by hand', () => {
  // 64 units of a SimpleRNN in bf16: rows of 2 chunks of 64 bytes. One tile of 8 columns a block, 8 blocks, 16 rows.
  const shape = shareOut([{ units: 64, perUnit: 1, chunks: 2, carried: 0, staged: 1 }], 16, 'bf16', h100);
  expect(shape).toMatchObject({
    layers: [{ tiles: 1, units: 8, blocks: 8 }],
    // Head; partial sums of 8 warps, 16 rows, 8 columns; weights of 2 chunks; bias; one staged array of 16 rows, 8 units.
    sharedBytes: 1536 + 8 * 16 * 8 * 4 + 2 * 512 + 8 * 4 + 16 * 8 * 4,
    step: {
      // 16 rows of 128 bytes to one multiprocessor, and to all 8.
      l2: (16 * 128) / 64 + (8 * 16 * 128) / 3200,
      // Weights read; partial sums written and read.
      shared: (2 * 512) / 128 + (2 * 8 * 16 * 8 * 4) / 128,
      // Two instructions a chunk, one every two clocks.
      tensor: 2 * 2 * 2,
      cell: ((16 * 8) / 256) * 150,
      exchange: 2500 + 8 * 8,
    },
  });
});

test('says how many blocks would be needed', () => {
  // 128 chunks of 512 bytes a tile: three tiles, or 6 units, a block.
  const work = { units: 2048, perUnit: 4, chunks: 128, carried: 1, staged: 4 };
  expect(shareOut([work], 64, 'fp32', h100)).toEqual({ blocks: Math.ceil(2048 / 6) });
});
