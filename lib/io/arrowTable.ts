import { type ArrowColumn, type ArrowType, arrowValues, isTextType } from './arrowColumns';
import { unpackLz4Frame } from './lz4';
import { readBytes } from './modelFile';
import { optional } from './optional';
import type { ThreadStart } from './tableThread';
import type { OpenTable } from './tableWorker';
import { zstdUnpacker } from './zstd';

/** One buffer has no more bytes. */
const MOST_BUFFER = 2 ** 30;

/** An Arrow file, or a stream in a file, through apache-arrow. */
export async function openArrow({ file, caller }: ThreadStart): Promise<OpenTable> {
  const arrow = await optional('apache-arrow', () => import('apache-arrow'), caller);
  const { compressionRegistry, CompressionType } = arrow;
  compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: (b) => unpackLz4Frame(b, MOST_BUFFER) });
  // Asked for only where a file is packed so: the package may not be there.
  let zstd: Awaited<ReturnType<typeof zstdUnpacker>> | undefined;
  let wantsZstd = false;
  compressionRegistry.set(CompressionType.ZSTD, {
    decode: (bytes) => {
      wantsZstd = true;
      if (!zstd) throw new Error('Zstandard is not loaded yet');
      return zstd(bytes, MOST_BUFFER);
    },
  });
  const bytes = await readBytes(file);
  const read = async () => {
    try {
      return tableOf(arrow, bytes);
    } catch (error) {
      if (!wantsZstd || zstd) throw error;
      zstd = await zstdUnpacker(caller);
      return tableOf(arrow, bytes);
    }
  };
  const table = await read();
  return {
    rows: table.numRows,
    columns: table.schema.fields.map(({ name, type }) => ({ name: String(name), isText: isTextType(type) })),
    values: async (place, begin, end) => {
      const values = arrowValues(table.getChildAt(place), table.schema.fields[place]?.type, begin, end);
      // What is missing is null: these are beyond the bytes of a column that says it has more.
      if (values.includes(undefined)) throw new Error('a column is shorter than it says');
      return values;
    },
  };
}

/** A record batch and what says where it is have no fewer bytes. */
const LEAST_BATCH = 8;

/**
 * The table of a file or stream. Batches of a file by their number: read one after another, one that is not where the file says would be the last, or
 * be looked for without end.
 */
function tableOf(
  { RecordBatchReader, Table }: typeof import('apache-arrow'),
  bytes: Uint8Array,
): ArrowFileTable {
  const reader = RecordBatchReader.from(bytes).open({ autoDestroy: false });
  if (!reader.isFile()) return new Table(reader) as ArrowFileTable;
  const { numRecordBatches: count, schema } = reader;
  if (count * LEAST_BATCH > bytes.length) throw new Error(`it says that it has ${count} record batches`);
  const batches = Array.from({ length: count }, (_, i) => {
    const batch = reader.readRecordBatch(i);
    if (!batch) throw new Error(`its record batch ${i} is not where it says`);
    return batch;
  });
  return new Table(schema, batches) as ArrowFileTable;
}

/** Of a table that was read what is read here. */
interface ArrowFileTable {
  readonly numRows: number;
  readonly schema: { readonly fields: readonly { readonly name: string; readonly type: ArrowType }[] };
  getChildAt(place: number): ArrowColumn | null;
}
