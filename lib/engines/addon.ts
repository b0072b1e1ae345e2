import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { show } from '../errors';
import { libraryFolder } from '../place';

/** The native addons: `deeprnn-cpu.node` and `deeprnn-cuda.node`. */
export type AddonKind = 'cpu' | 'cuda';

/** What an addon exports, not yet narrowed, and the file it came from; or why there is none and the way out. */
export type AddonResult = { readonly addon: unknown; readonly path: string } | { readonly reason: string };

const remedies: Record<AddonKind, string> = {
  cpu:
    "Build it with 'npx deeprnn-build' (needs a C++17 compiler and CMake 3.20 or later, or Python 3 and make). " +
    "Without it, device 'reference' still works.",
  cuda:
    "Build it with 'npx deeprnn-build --cuda' (needs a CUDA toolkit 12 or later, a C++17 compiler and CMake 3.20 or later). " +
    "Device 'reference' still works, and 'cpu' where its own addon can be loaded.",
};

/**
 * Loads a native addon from the first of: the prebuilt platform package, `@deeprnn/<platform>-<arch>` (`…-cuda`), then
 * `build/Release` and `build/Debug` (`build/cuda/Release`) of this package. Where the environment variable DEEPRNN_ADDON_DIR names a folder, only that folder
 * counts, so that a test of one build never silently runs another.
 *
 * @param root the folder of this package, which holds `build/`
 */
export function loadAddon(kind: AddonKind, root = dirname(libraryFolder)): AddonResult {
  const file = `deeprnn-${kind}.node`;
  const platform = `${process.platform}-${process.arch}`;
  const tried: string[] = [];
  for (const place of placesToLook(kind, platform, root)) {
    if ('missing' in place) {
      tried.push(place.missing);
      continue;
    }
    const path = join(place.folder, file);
    if (!existsSync(path)) {
      tried.push(`${path}: no such file`);
      continue;
    }
    try {
      return { addon: require(path), path };
    } catch (error) {
      // The dynamic loader repeats the path and may go on for several lines; the first one says what is wrong.
      const message = error instanceof Error ? error.message.split('\n')[0] : show(error);
      tried.push(`${path}: ${message?.replace(`${path}: `, '')}`);
    }
  }
  const list = tried.map((line) => `\n  ${line}`).join('');
  return {
    reason: `native addon ${file} for ${platform} could not be loaded. Tried:${list}\n${remedies[kind]}`,
  };
}

type Place = { readonly folder: string } | { readonly missing: string };

function placesToLook(kind: AddonKind, platform: string, root: string): Place[] {
  const chosen = process.env['DEEPRNN_ADDON_DIR'];
  if (chosen) return [{ folder: resolve(chosen) }];
  if (kind === 'cuda')
    return [platformPackage(`@deeprnn/${platform}-cuda`), { folder: join(root, 'build', 'cuda', 'Release') }];
  return [
    platformPackage(`@deeprnn/${platform}`),
    { folder: join(root, 'build', 'Release') },
    { folder: join(root, 'build', 'Debug') },
  ];
}

function platformPackage(name: string): Place {
  try {
    return { folder: dirname(require.resolve(`${name}/package.json`)) };
  } catch {
    return { missing: `package ${name}: not installed` };
  }
}
