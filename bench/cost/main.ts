// Measures what the library itself costs: `npm run bench:cost` (docs/performance.md). A few minutes.
import { parseArgs } from 'node:util';
import { machine, noteOnLoad } from '../cpu/machine';
import { updateDocuments } from '../cpu/report';
import { writeResults } from '../cpu/results';
import { measureGrowth, measureScaling } from './growth';
import { measureLoading } from './loading';
import { measureMemory } from './memory';
import { measureOverhead } from './overhead';
import { type CostResults, costSection } from './report';
import { measureSize } from './size';

const THREADS = 2;

async function main(): Promise<void> {
  const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values;
  const rounds = quick ? 2 : 7;
  const pace = { rounds, turn: quick ? 30 : 200, patience: 60_000 };
  const head = { date: new Date().toISOString(), machine: machine(), threads: THREADS };
  const note = noteOnLoad(head.machine);
  if (note) console.warn(note);
  const said = <T>(what: string, found: T): T => {
    console.log(what);
    return found;
  };
  const results: CostResults = {
    ...head,
    loading: said('loading', measureLoading(quick ? 5 : 41)),
    size: said('size', measureSize()),
    memory: said('memory', await measureMemory(THREADS)),
    overhead: said('overhead', await measureOverhead(THREADS, quick ? 5 : 30)),
    scaling: said('threads', await measureScaling(THREADS, pace)),
    growth: said('growth', await measureGrowth(THREADS, { ...pace, rounds: Math.min(rounds, 3) })),
  };
  console.log(`\n${costSection(results)}\n\n${writeResults('cost', results, !quick)}`);
  if (!quick) await updateDocuments();
}

main().catch((error: unknown) => {
  console.error(`bench:cost: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
