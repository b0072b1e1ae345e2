import { DeepRnnError, reasonOf } from '../../errors';
import { readZip } from '../../io/zip';

/** How many times as large as in the archive a member of 64 MiB or more may be: weights hardly get smaller. */
const MOST_GROWTH = 100;

/**
 * Members of an archive of Keras by name, of those that are wanted.
 * @throws ERR_FILE for what is no archive, is truncated or altered, has names twice or outside of it, or would unpack to far more than it holds
 */
export async function readArchive(
  bytes: Uint8Array,
  subject: string,
  wanted: readonly string[],
): Promise<ReadonlyMap<string, Buffer>> {
  try {
    return await readZip(bytes, { wanted: (name) => wanted.includes(name), mostGrowth: MOST_GROWTH });
  } catch (error) {
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `${subject} could not be read as a zip archive: ${reason}.`, {
      cause: error,
    });
  }
}
