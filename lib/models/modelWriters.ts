import type { Model } from './model';
import type { SaveOptions } from './modelFile';

/** Writes a model to a file in a format of its own, atomically. The path is not empty; options are as given. */
export type ModelWriter = (model: Model, path: string, options: SaveOptions) => Promise<void>;

const writers: { readonly ending: string; readonly write: ModelWriter }[] = [];

/** From now on `save` writes files of this ending (`.keras`) so: formats know models, models do not know formats. */
export function writeEndingWith(ending: string, write: ModelWriter): void {
  writers.push({ ending, write });
}

/** What writes a file of such a name; undefined: this library's own format. */
export function writerOf(path: string): ModelWriter | undefined {
  const name = path.toLowerCase();
  return writers.find(({ ending }) => name.endsWith(ending))?.write;
}
