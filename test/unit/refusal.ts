import { DeepRnnError } from '../../lib';

/** What a call that must be refused says, as `CODE message`. */
export async function refusal(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    expect(error).toBeInstanceOf(DeepRnnError);
    return `${(error as DeepRnnError).code} ${(error as Error).message}`;
  }
  throw new Error('nothing was refused');
}
