import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { oneOf } from '../errors';
import { unpackLz4Block, unpackParquetLz4 } from './lz4';
import { optional } from './optional';
import type { ThreadStart } from './tableThread';
import type { OpenTable } from './tableWorker';
import { type Unpack, zstdUnpacker } from './zstd';

/** A page has no more bytes. */
const MOST_PAGE = 2 ** 30;

const bounded =
  (work: Unpack): Unpack =>
  (bytes, length) => {
    if (length > MOST_PAGE) throw new Error(`a page says it unpacks to ${length} bytes`);
    // Pages of nothing but missing values are empty, and some writers do not pack them either.
    return length === 0 ? new Uint8Array(0) : work(bytes, length);
  };

/** Text that is none, which would become other text, is refused. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const text = (bytes: Uint8Array | undefined) => bytes && utf8.decode(bytes);
/** Milliseconds since 1970 in `each` parts, the nearest number to them. */
const timeIn = (each: number) => (time: bigint | number) => Number(time) / each;

/** How values are given that are neither numbers nor booleans. */
const parsers = {
  timestampFromMilliseconds: timeIn(1),
  timestampFromMicroseconds: timeIn(1e3),
  timestampFromNanoseconds: timeIn(1e6),
  dateFromDays: (days: number) => days * 86_400_000,
  stringFromBytes: text,
  jsonFromBytes: text,
} as object;

/** A Parquet file through hyparquet, which reads the columns and rows that are asked for only. */
export async function openParquet({ file, caller }: ThreadStart): Promise<OpenTable> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetRead, parquetSchema } = await optional(
    'hyparquet',
    () => import('hyparquet'),
    caller,
  );
  const buffer = await asyncBufferFromFile(file);
  const metadata = await parquetMetadataAsync(buffer);
  const rows = Number(metadata.num_rows);
  const inGroups = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
  if (rows !== inGroups) throw new Error('its row groups have other rows than it says');
  const codecs = new Set(
    metadata.row_groups.flatMap(({ columns }) => columns.map(({ meta_data: about }) => about?.codec)),
  );
  const known = ['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'BROTLI', 'LZ4', 'LZ4_RAW', 'ZSTD'];
  const strange = [...codecs].find((codec) => codec !== undefined && !known.includes(codec));
  if (strange !== undefined) throw new Error(`it is compressed by ${strange}, expected ${oneOf(known)}`);
  // Snappy comes with it.
  const compressors = {
    GZIP: bounded((bytes, most) => gunzipSync(bytes, { maxOutputLength: most })),
    BROTLI: bounded((bytes, most) => brotliDecompressSync(bytes, { maxOutputLength: most })),
    LZ4: bounded(unpackParquetLz4),
    LZ4_RAW: bounded(unpackLz4Block),
    ...(codecs.has('ZSTD') ? { ZSTD: bounded(await zstdUnpacker(caller)) } : {}),
  };
  const columns = parquetSchema(metadata).children.map(({ element, children }) => ({
    ...element,
    isPlain: children.length === 0 && element.repetition_type !== 'REPEATED',
  }));
  return {
    rows,
    columns: columns.map(({ name, type, converted_type, logical_type, isPlain }) => ({
      name,
      isText:
        isPlain && ((type === 'BYTE_ARRAY' && converted_type !== 'DECIMAL') || logical_type?.type === 'UUID'),
    })),
    values: async (place, begin, end) => {
      const { name, converted_type, scale = 0, isPlain } = columns[place] as (typeof columns)[number];
      const values: unknown[] = new Array(end - begin);
      let first = 0;
      // One column of one row group a call: of several that are damaged only the first failure would be waited for.
      for (const group of metadata.row_groups) {
        const rowStart = Math.max(begin, first);
        first += Number(group.num_rows);
        const rowEnd = Math.min(end, first);
        if (rowStart >= rowEnd) continue;
        const options = { file: buffer, metadata, columns: [name], rowStart, rowEnd, compressors, parsers };
        // Whole pages, which may begin before the rows that are asked for, and end after them.
        const onChunk = ({
          columnData,
          rowStart: at,
        }: {
          columnData: ArrayLike<unknown>;
          rowStart: number;
        }) => {
          const last = Math.min(rowEnd, at + columnData.length);
          for (let row = Math.max(rowStart, at); row < last; row++) {
            const value = columnData[row - at];
            values[row - begin] = converted_type === 'DECIMAL' ? provenDecimal(value, scale) : value;
          }
        };
        await parquetRead({ ...options, onChunk });
      }
      // Null is what is missing; missing lists are left out.
      if (isPlain && values.includes(undefined)) throw new Error(`column '${name}' ends before its last row`);
      return values;
    },
  };
}

/** Decimals come as numbers, of more digits than which can tell them apart too: these are given as the bigints that they are not. */
function provenDecimal(value: unknown, scale: number): unknown {
  if (typeof value !== 'number') return value;
  const digits = Math.abs(value) * 10 ** scale;
  return digits <= Number.MAX_SAFE_INTEGER ? value : BigInt(Math.round(digits));
}
