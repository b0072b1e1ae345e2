import { arrowValues, isTextType } from './arrowColumns';
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
  const { tableFromIPC, compressionRegistry, CompressionType } = await optional(
    'apache-arrow',
    () => import('apache-arrow'),
    caller,
  );
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
      return tableFromIPC(bytes);
    } catch (error) {
      if (!wantsZstd || zstd) throw error;
      zstd = await zstdUnpacker(caller);
      return tableFromIPC(bytes);
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
