import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type LoadOptions, loadModel, type Model } from '../../lib';

/** The model that comes back from a file of this one; nothing is left of the file. */
export async function savedAndLoaded(model: Pick<Model, 'save'>, options?: LoadOptions): Promise<Model> {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-saved-'));
  try {
    const file = path.join(folder, 'm.safetensors');
    await model.save(file);
    return await loadModel(file, options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
