import * as zlib from 'node:zlib';
import { optional } from './optional';

/** Unpacks bytes to no more than `most`. */
export type Unpack = (bytes: Uint8Array, most: number) => Uint8Array;

/** Since Node.js 22.15. */
const { zstdDecompressSync } = zlib as {
  zstdDecompressSync?: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
};

/** The largest window of back references that is given memory: what zstd itself allows without being asked. */
const MOST_WINDOW = 2 ** 27;

/** Node's own Zstandard, or of older ones that of fzstd. @throws ERR_STATE where neither is there */
export async function zstdUnpacker(caller: string): Promise<Unpack> {
  const own = zstdDecompressSync;
  if (own)
    return (bytes, most) => {
      const content = provenSizes(bytes, most);
      const unpacked = own(bytes, { maxOutputLength: Math.max(most, 1) });
      // A frame that is cut is no error there.
      if (unpacked.length < content) throw new Error('its Zstandard frame ends too early');
      return unpacked;
    };
  const { Decompress } = await optional('fzstd', () => import('fzstd'), `${caller}: Zstandard`);
  return (bytes, most) => {
    provenSizes(bytes, most);
    const pieces: Uint8Array[] = [];
    let length = 0;
    const stream = new Decompress((piece) => {
      length += piece.length;
      if (length > most) throw new Error(`it unpacks to more than ${most} bytes`);
      pieces.push(piece);
    });
    stream.push(bytes, true);
    return Buffer.concat(pieces, length);
  };
}

/**
 * Proves what a frame asks to be allocated for it (RFC 8878, 3.1.1.1): its content where that is one segment, else a window of it.
 * @returns the bytes that it says to unpack to, 0 where it does not
 */
function provenSizes(bytes: Uint8Array, most: number): number {
  const [descriptor = 0, window = 0] = bytes.subarray(4, 6);
  const isOneSegment = (descriptor & 0x20) !== 0;
  const begin = (isOneSegment ? 5 : 6) + ([0, 1, 2, 4][descriptor & 3] as number);
  const width = [isOneSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  const field = bytes.subarray(begin, begin + width).reduce((sum, byte, i) => sum + byte * 256 ** i, 0);
  const content = width === 2 ? field + 256 : field;
  if (content > most)
    throw new Error(`it says that it unpacks to ${content} bytes, expected ${most} at most`);
  if (!isOneSegment && 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8) > MOST_WINDOW)
    throw new Error('its Zstandard frame asks for more memory than is given');
  return content;
}
