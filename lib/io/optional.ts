import { DeepRnnError } from '../errors';

/**
 * What an optional package gives. Plots and tables need packages that most services have no use for, so that those who do install them.
 * @throws ERR_STATE that says what to install
 */
export async function optional<P>(names: string, load: () => Promise<P>, subject: string): Promise<P> {
  try {
    return await load();
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new DeepRnnError(
      'ERR_STATE',
      `${subject}: expected ${names} to be installed: npm install ${names}.`,
      {
        cause: error,
      },
    );
  }
}
