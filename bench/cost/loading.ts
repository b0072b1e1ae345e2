import { spawnSync } from 'node:child_process';
import { root } from '../cpu/paths';
import { type Summary, summarize } from '../cpu/statistics';

/** From the start of a process to its end, ms. */
export interface Loading {
  readonly bare: Summary;
  readonly library: Summary;
  /** What loading the library adds, of the medians. */
  readonly added: number;
}

function processTime(program: string): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`node -e ${program}: ${stderr.trim()}`);
  return performance.now() - start;
}

/** Times a Node process that loads the library against one that loads nothing, in turns. */
export function measureLoading(repeats: number): Loading {
  const programs = { bare: '0', library: `require(${JSON.stringify(root)})` };
  const times = { bare: [] as number[], library: [] as number[] };
  for (let i = 0; i < repeats; i++) {
    times.bare.push(processTime(programs.bare));
    times.library.push(processTime(programs.library));
  }
  const [bare, library] = [summarize(times.bare), summarize(times.library)];
  return { bare, library, added: library.median - bare.median };
}
