import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { DeepRnnError, reasonOf } from '../errors';

/**
 * Writes a file whole or not at all: to a temporary name beside it, flushed to the disk, then renamed over the old one. A crash at any time leaves
 * the old file or the new one, an error the old one and nothing else. A symbolic link stays, and the file that it stands for is written.
 * @throws ERR_FILE with the path and the system's reason
 */
export async function atomicWrite(file: string, pieces: readonly Uint8Array[]): Promise<void> {
  try {
    const target = await behindLinks(path.resolve(file));
    const known = await stat(target).catch(absent);
    if (known?.isDirectory()) throw new Error('there is a folder of that name');
    if (known && !known.isFile()) throw new Error('there is something else than a file of that name');
    const folder = path.dirname(target);
    const temporary = path.join(folder, temporaryName(path.basename(target)));
    try {
      await writeFile(temporary, pieces, known);
      await rename(temporary, target);
    } catch (error) {
      // What cannot be removed was not written either: its folder is none, or not for us.
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    await syncFolder(folder);
  } catch (error) {
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `'${file}' could not be written: ${reason}.`, { cause: error });
  }
}

/** Nothing where there is no such file. @throws what else is wrong with it */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

/** A name of a file may have 255 bytes, a character 3 of them. */
const NAME_KEPT = 40;

function temporaryName(name: string): string {
  return `.${name.slice(0, NAME_KEPT)}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
}

/** @param known the file that it is to take the place of: whom that was for, it is for */
async function writeFile(
  file: string,
  pieces: readonly Uint8Array[],
  known: Stats | undefined,
): Promise<void> {
  const handle = await open(file, 'wx', known && known.mode & 0o777);
  try {
    // Its owner where we may give it away, and what the process's mask took away of its mode.
    if (known && known.uid !== process.getuid?.())
      await handle.chown(known.uid, known.gid).catch(() => undefined);
    if (known) await handle.chmod(known.mode & 0o777);
    for (const piece of pieces) await writeWhole(handle, piece);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What Linux follows. */
const MOST_LINKS = 40;

/**
 * The file that a path stands for, also where that is not there yet.
 * @throws for a link that leads back to itself, and for what cannot be looked at
 */
async function behindLinks(file: string): Promise<string> {
  let at = file;
  for (let links = 0; links <= MOST_LINKS; links++) {
    // A link leads on from the folder that it lies in, which may be behind a link itself.
    const folder = await realpath(path.dirname(at)).catch(absent);
    if (folder === undefined) throw new Error(`ENOENT: there is no folder '${path.dirname(at)}'`);
    at = path.join(folder, path.basename(at));
    const linked = await readlink(at).catch((error: NodeJS.ErrnoException) => {
      // It is no link, or not there.
      if (error.code !== 'EINVAL' && error.code !== 'UNKNOWN') absent(error);
    });
    if (linked === undefined) return at;
    at = path.resolve(folder, linked);
  }
  throw new Error('it is a symbolic link that leads back to itself');
}

/** Systems take no more than 2 GiB at once. */
const MOST_AT_ONCE = 2 ** 26;

async function writeWhole(handle: Awaited<ReturnType<typeof open>>, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.byteLength; ) {
    const { bytesWritten } = await handle.write(piece, at, Math.min(MOST_AT_ONCE, piece.byteLength - at));
    if (bytesWritten === 0) throw new Error('the system takes no more of it');
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
