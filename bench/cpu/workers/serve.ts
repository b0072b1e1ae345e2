// The side of a worker written in JavaScript: answers the questions of ../worker.ts.
import { createInterface } from 'node:readline';
import type { Protocol } from '../worker';
import type { Mode, Workload } from '../workloads';

/** A network with its data. */
export interface Work {
  run(): Promise<unknown>;
  dispose(): Promise<void> | void;
  readonly note?: string;
}

export interface Library {
  start(threads: number): Promise<string> | string;
  make(workload: Workload, mode: Mode): Promise<Work> | Work;
  check?(ask: Protocol['check']['ask']): Promise<Protocol['check']['answer']>;
}

/** How long warming up goes on, ms; a run that takes longer is the only one. */
const WARM_UP = 300;

async function timed(work: Work): Promise<number> {
  const start = performance.now();
  await work.run();
  return performance.now() - start;
}

/** Runs until so many milliseconds are over, once at least. */
async function timesOf(work: Work, milliseconds: number): Promise<number[]> {
  const end = performance.now() + milliseconds;
  const times: number[] = [];
  do {
    times.push(await timed(work));
  } while (performance.now() < end);
  return times;
}

export function serve(library: Library): void {
  let work: Work | undefined;
  const answers: {
    [C in keyof Protocol]: (ask: Protocol[C]['ask']) => Promise<Protocol[C]['answer']>;
  } = {
    async start({ threads }) {
      return { version: await library.start(threads) };
    },
    async prepare({ workload, mode }) {
      await work?.dispose();
      work = undefined;
      work = await library.make(workload, mode);
      const milliseconds = (await timesOf(work, WARM_UP)).at(-1) as number;
      return { milliseconds, ...(work.note === undefined ? {} : { note: work.note }) };
    },
    async run({ milliseconds }) {
      if (!work) throw new Error('nothing is prepared');
      return { times: await timesOf(work, milliseconds) };
    },
    async check(ask) {
      if (!library.check) throw new Error('this worker compares no numbers');
      return library.check(ask);
    },
    async memory() {
      return { peak: 1024 * process.resourceUsage().maxRSS };
    },
  };
  createInterface({ input: process.stdin }).on('line', async (line) => {
    let answer: object;
    try {
      const { do: command, ...ask } = JSON.parse(line);
      answer = await answers[command as keyof Protocol](ask);
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  });
}
