// Fails when a kernel object compiled for AVX2 or AVX-512 defines a weak symbol outside the namespace of its instruction
// set: the linker keeps one copy of such a shared inline function, possibly this one, and older CPUs would crash in it.
// Reads the objects of the CMake build; needs `nm`.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

const build = path.resolve(process.argv[2] ?? 'build');
if (!existsSync(path.join(build, 'CMakeCache.txt'))) {
  console.error(`${build}: no CMake build here; run 'npm run build:native -- --tool cmake-js' first`);
  process.exit(1);
}

const objects = readdirSync(build, { recursive: true, encoding: 'utf8' }).filter((name) =>
  /_avx\w+\.cpp\.o$/.test(name),
);
const leaks = objects.flatMap((name) => {
  const isa = /_(avx\w+)\.cpp\.o$/.exec(name)[1];
  const symbols = execFileSync('nm', ['--demangle', '--defined-only', path.join(build, name)], {
    encoding: 'utf8',
  });
  return symbols
    .split('\n')
    .filter((line) => /^\S+ [Ww] /.test(line) && !line.includes(`::${isa}::`))
    .map((line) => `${path.basename(name)}: ${line.slice(line.indexOf(' ') + 3)}`);
});
for (const leak of leaks) console.error(leak);
if (leaks.length > 0) {
  console.error(
    `${leaks.length} inline functions could carry AVX instructions into code that every machine runs`,
  );
  process.exit(1);
}
console.log(`instruction sets: ${objects.length} kernel objects, no shared inline function in any`);
