import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import crc32 from 'buffer-crc32';
import { type Entry, fromBuffer, type ZipFile as Reader } from 'yauzl';
import { ZipFile as Writer } from 'yazl';
import { DeepRnnError, reasonOf } from '../../errors';

/** Members of an archive. Keras writes three, and assets of layers that are not known here. */
const MOST_MEMBERS = 10_000;
/** How many times as large as in the archive a member may be, beyond what is small in any case. */
const MOST_GROWTH = 100;
const SMALL_BYTES = 2 ** 26;

/** Bytes that are worked on before the event loop runs: a few milliseconds. */
const AT_ONCE = 2 ** 21;

/** The time that members say: the same bytes for the same model. */
const TIME = new Date(Date.UTC(1980, 0, 1));

/**
 * Members of an archive by name, of those that are wanted.
 * @throws ERR_FILE for what is no archive, is truncated or altered, has names twice or outside of it, or would unpack to far more than it holds
 */
export async function readZip(
  bytes: Uint8Array,
  subject: string,
  wanted: readonly string[],
): Promise<ReadonlyMap<string, Buffer>> {
  try {
    return await unpack(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), wanted);
  } catch (error) {
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `${subject} could not be read as a zip archive: ${reason}.`, {
      cause: error,
    });
  }
}

function unpack(bytes: Buffer, wanted: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
  return new Promise((resolve, reject) => {
    fromBuffer(bytes, { lazyEntries: true, strictFileNames: true }, (error, archive) => {
      if (error) return reject(error);
      const names = new Set<string>();
      const members = new Map<string, Buffer>();
      const visit = async (entry: Entry) => {
        const name = entry.fileName;
        if (names.has(name)) throw new Error(`it has two members '${name.slice(0, 80)}'`);
        names.add(name);
        if (names.size > MOST_MEMBERS) throw new Error(`it has more than ${MOST_MEMBERS} members`);
        if (wanted.includes(name)) members.set(name, await unpackMember(archive, entry));
        archive.readEntry();
      };
      archive.on('entry', (entry: Entry) => void visit(entry).catch(reject));
      archive.on('error', reject);
      archive.on('end', () => resolve(members));
      archive.readEntry();
    });
  });
}

async function unpackMember(archive: Reader, entry: Entry): Promise<Buffer> {
  const { fileName, uncompressedSize, compressedSize, crc32: wanted } = entry;
  const name = `'${fileName}'`;
  if (uncompressedSize > SMALL_BYTES && uncompressedSize > MOST_GROWTH * compressedSize)
    throw new Error(
      `its member ${name} says that it unpacks to ${uncompressedSize} bytes from ${compressedSize}`,
    );
  const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
    archive.openReadStream(entry, (error, opened) => (error ? reject(error) : resolve(opened)));
  });
  // The reader ends a stream that gives more or less than what the member says.
  const pieces: Buffer[] = [];
  let checksum = crc32(Buffer.alloc(0));
  let since = 0;
  for await (const part of stream) {
    const piece = part as Buffer;
    pieces.push(piece);
    checksum = crc32(piece, checksum);
    since += piece.length;
    if (since < AT_ONCE) continue;
    since = 0;
    await setImmediate();
  }
  if (checksum.readUInt32BE() !== wanted) throw new Error(`the checksum of its member ${name} does not fit`);
  return Buffer.concat(pieces);
}

/** Pieces of an array, between which the event loop runs. */
async function* inPieces(bytes: Uint8Array): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += AT_ONCE) {
    yield Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(AT_ONCE, bytes.length - at));
    await setImmediate();
  }
}

/** An archive of members in their order, as they are: weights hardly get smaller. */
export async function writeZip(members: ReadonlyMap<string, Uint8Array>): Promise<Uint8Array[]> {
  const archive = new Writer();
  for (const [name, bytes] of members)
    archive.addReadStream(Readable.from(inPieces(bytes)), name, { compress: false, mtime: TIME });
  archive.end();
  const pieces: Uint8Array[] = [];
  for await (const piece of archive.outputStream) pieces.push(piece as unknown as Uint8Array);
  return pieces;
}
