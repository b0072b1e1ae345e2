import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import crc32 from 'buffer-crc32';
import { type Entry, fromBuffer, type ZipFile as Reader } from 'yauzl';
import { ZipFile as Writer } from 'yazl';

/** Members of an archive. Keras writes three, and assets of layers that are not known here. */
const MOST_MEMBERS = 10_000;
/** Of a member's entry before its name. */
const LOCAL_HEADER = 30;
/** Deflate makes at most 258 bytes of 2 bits: what says that it grows more would be given memory for nothing. */
const MOST_DEFLATED = 1032;
/** Beyond what is small in any case. */
const SMALL_BYTES = 2 ** 26;

export interface ReadZipOptions {
  /** Whether to unpack a member; may throw for one that has no place in such a file. */
  readonly wanted: (name: string) => boolean;
  /** How many times as large as in the archive a member of more than 64 MiB may be. */
  readonly mostGrowth?: number;
  /** The most bytes that all wanted members together may unpack to. */
  readonly mostBytes?: number;
}

/** Bytes that are worked on before the event loop runs: a few milliseconds. */
const AT_ONCE = 2 ** 21;

/** The time that members say, which archives have without a zone: the same bytes for the same model everywhere. */
const TIME = { mtime: new Date(1980, 0, 1), forceDosTimestamp: true };

/**
 * Members of an archive by name, of those that are wanted.
 * @throws for what is no archive, is truncated or altered, has names twice or outside of it, members that overlap, or would unpack to far more than it
 *   holds
 */
export function readZip(bytes: Uint8Array, options: ReadZipOptions): Promise<ReadonlyMap<string, Buffer>> {
  const { wanted, mostGrowth = MOST_DEFLATED, mostBytes = Number.POSITIVE_INFINITY } = options;
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new Promise((resolve, reject) => {
    fromBuffer(whole, { lazyEntries: true, strictFileNames: true }, (error, archive) => {
      if (error) return reject(error);
      const names = new Set<string>();
      const chosen: Entry[] = [];
      const places: Place[] = [];
      let left = mostBytes;
      const visit = (entry: Entry) => {
        const { fileName: name, uncompressedSize } = entry;
        if (names.has(name)) throw new Error(`it has two members ${shown(name)}`);
        names.add(name);
        if (names.size > MOST_MEMBERS) throw new Error(`it has more than ${MOST_MEMBERS} members`);
        places.push(placeOf(entry));
        if (!wanted(name)) return;
        left -= uncompressedSize;
        if (left < 0) throw new Error(`its members unpack to more than ${mostBytes} bytes`);
        proveGrowth(entry, mostGrowth);
        chosen.push(entry);
      };
      const unpack = async () => {
        proveApart(places);
        const members = new Map<string, Buffer>();
        for (const entry of chosen) members.set(entry.fileName, await unpackMember(archive, entry));
        return members;
      };
      archive.on('entry', (entry: Entry) => {
        try {
          visit(entry);
          archive.readEntry();
        } catch (problem) {
          reject(problem as Error);
        }
      });
      archive.on('error', reject);
      archive.on('end', () => void unpack().then(resolve, reject));
      archive.readEntry();
    });
  });
}

const shown = (name: string) => `'${name.slice(0, 80)}'`;

/** Where a member lies in the archive, in bytes; `end` is the least that it can be, because its own header may be longer. */
interface Place {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
}

function placeOf({
  fileName,
  fileNameLength,
  relativeOffsetOfLocalHeader: begin,
  compressedSize,
}: Entry): Place {
  return { name: fileName, begin, end: begin + LOCAL_HEADER + fileNameLength + compressedSize };
}

/** Members that share their bytes are how a small archive unpacks to a large one. */
function proveApart(places: Place[]): void {
  places.sort((a, b) => a.begin - b.begin);
  for (const [i, { name, begin }] of places.entries()) {
    const before = places[i - 1];
    if (before && before.end > begin)
      throw new Error(`its members ${shown(before.name)} and ${shown(name)} overlap`);
  }
}

function proveGrowth({ fileName, uncompressedSize, compressedSize }: Entry, mostGrowth: number): void {
  const most = Math.max(mostGrowth * compressedSize, Math.min(SMALL_BYTES, MOST_DEFLATED * compressedSize));
  if (uncompressedSize > most)
    throw new Error(
      `its member ${shown(fileName)} says that it unpacks to ${uncompressedSize} bytes from ${compressedSize}`,
    );
}

async function unpackMember(archive: Reader, entry: Entry): Promise<Buffer> {
  const { fileName, uncompressedSize, crc32: wanted } = entry;
  const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
    archive.openReadStream(entry, (error, opened) => (error ? reject(error) : resolve(opened)));
  });
  const bytes = Buffer.allocUnsafe(uncompressedSize);
  let at = 0;
  let checksum = crc32(Buffer.alloc(0));
  let since = 0;
  // The reader ends a stream that gives more or less than what the member says.
  for await (const part of stream) {
    const piece = part as Buffer;
    piece.copy(bytes, at);
    at += piece.length;
    checksum = crc32(piece, checksum);
    since += piece.length;
    if (since < AT_ONCE) continue;
    since = 0;
    await setImmediate();
  }
  if (checksum.readUInt32BE() !== wanted)
    throw new Error(`the checksum of its member ${shown(fileName)} does not fit`);
  return bytes;
}

/** Pieces of an array, between which the event loop runs. */
async function* inPieces(bytes: Uint8Array): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += AT_ONCE) {
    yield Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(AT_ONCE, bytes.length - at));
    await setImmediate();
  }
}

/** An archive of members in their order; as they are unless told to compress, because weights hardly get smaller. */
export async function writeZip(
  members: ReadonlyMap<string, Uint8Array>,
  compress = false,
): Promise<Uint8Array[]> {
  const archive = new Writer();
  for (const [name, bytes] of members)
    archive.addReadStream(Readable.from(inPieces(bytes)), name, { compress, ...TIME });
  archive.end();
  const pieces: Uint8Array[] = [];
  for await (const piece of archive.outputStream) pieces.push(piece as unknown as Uint8Array);
  return pieces;
}
