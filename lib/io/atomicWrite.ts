import { randomBytes } from 'node:crypto';
import { open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { DeepRnnError, reasonOf } from '../errors';

/**
 * Writes a file whole or not at all: to a temporary name beside it, flushed to the disk, then renamed over the old one. A crash at any time leaves
 * the old file or the new one.
 * @throws ERR_FILE with the path and the system's reason
 */
export async function atomicWrite(file: string, pieces: readonly Uint8Array[]): Promise<void> {
  const target = await behindLinks(file);
  const folder = path.dirname(target);
  const temporary = path.join(
    folder,
    `.${path.basename(target)}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`,
  );
  try {
    const known = await stat(target).catch(() => undefined);
    if (known && !known.isFile()) throw new Error('there is something else than a file of that name');
    // Whom the old file was for, the new one is for.
    const handle = await open(temporary, 'wx', known && known.mode & 0o777);
    try {
      // What the process's mask took away of it.
      if (known) await handle.chmod(known.mode & 0o777);
      for (const piece of pieces) await writeWhole(handle, piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `'${file}' could not be written: ${reason}.`, { cause: error });
  }
  await syncFolder(folder);
}

/** The file that a symbolic link stands for, also where it is not there yet: the link itself is to stay. */
async function behindLinks(file: string): Promise<string> {
  const whole = path.resolve(file);
  try {
    return await realpath(whole);
  } catch {
    const linked = await readlink(whole).catch(() => undefined);
    return linked === undefined ? whole : path.resolve(path.dirname(whole), linked);
  }
}

/** Systems take no more than 2 GiB at once. */
const MOST_AT_ONCE = 2 ** 26;

async function writeWhole(handle: Awaited<ReturnType<typeof open>>, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.byteLength; ) {
    const { bytesWritten } = await handle.write(piece, at, Math.min(MOST_AT_ONCE, piece.byteLength - at));
    at += bytesWritten;
  }
}

/** Makes the rename itself last. Windows has no such thing for folders. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // The file is written; only its durability through a power cut is up to the system.
  }
}
