// Times this library against its peers on the CPU: `npm run bench` (docs/performance.md).
import { parseArgs } from 'node:util';
import { crossCheck } from './check';
import { ours, peers, Seat } from './contenders';
import { fmaPeak, machine, noteOnLoad } from './machine';
import { updateDocuments } from './report';
import { type CpuResults, type Row, writeResults } from './results';
import { compete, type Pace } from './rounds';
import { cpuHead, cpuRow, figures } from './table';
import { flopsOf, type Workload, workloads } from './workloads';

const USAGE = `npm run bench [-- options]
  --only PART     networks whose names contain it
  --peers A,B     peers to compare with: ${peers.map(({ name }) => name).join(', ')}
  --rounds N      rounds (default 7; 3 with --quick)
  --threads N     threads of every library (default 2)
  --quick         shorter turns, seven networks: under three minutes
Only a run without options is kept under its date and goes into docs/performance.md.`;

interface Options {
  readonly pace: Pace;
  readonly threads: number;
  readonly peers: readonly string[];
  readonly workloads: readonly Workload[];
  readonly whole: boolean;
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!(Number.isInteger(value) && value >= 1 && value <= 1000))
    throw new RangeError(`--${name}: expected an integer from 1 to 1000, got '${text}'.`);
  return value;
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      peers: { type: 'string' },
      rounds: { type: 'string' },
      threads: { type: 'string', default: '2' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const { only, quick } = values;
  const known = peers.map(({ name }) => name);
  const asked = values.peers?.split(',') ?? known;
  const stranger = asked.find((name) => !known.includes(name));
  if (stranger !== undefined)
    throw new RangeError(`--peers: expected names of ${known.join(', ')}, got '${stranger}'.`);
  // The first ones, but for that which takes a library ten seconds to prepare.
  const offered = quick ? workloads.slice(0, 8).filter(({ H }) => H.length < 4) : workloads;
  const chosen = offered.filter(({ name }) => name.includes(only));
  if (chosen.length === 0)
    throw new RangeError(`--only: expected a part of a network's name, got '${only}'. There are:
${offered.map(({ name }) => `  ${name}`).join('\n')}`);
  return {
    pace: {
      rounds: count('rounds', values.rounds ?? (quick ? '3' : '7')),
      turn: quick ? 60 : 300,
      patience: quick ? 8_000 : 40_000,
    },
    threads: count('threads', values.threads),
    peers: asked,
    workloads: chosen,
    whole:
      !quick &&
      only === '' &&
      asked.length === known.length &&
      values.rounds === undefined &&
      values.threads === '2',
  };
}

const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Starts each contender; those that start, and why the others do not. */
async function seatAll(names: readonly string[], threads: number) {
  const seats: Seat[] = [];
  const contenders: Record<string, { version: string } | { reason: string }> = {};
  for (const contender of [ours, ...peers.filter(({ name }) => names.includes(name))]) {
    const seat = new Seat(contender, threads);
    try {
      await seat.open();
      seats.push(seat);
      contenders[contender.name] = { version: seat.version };
      console.log(`${contender.title} ${seat.version}`);
    } catch (error) {
      if (contender === ours) throw error;
      contenders[contender.name] = { reason: reasonOf(error) };
      console.log(
        `${contender.title} is not compared with: ${reasonOf(error)}. npm run bench:peers installs it.`,
      );
    }
  }
  return { seats, contenders };
}

async function differenceFrom(seats: readonly Seat[]): Promise<CpuResults['difference']> {
  const [own, pytorch] = [ours.name, 'pytorch'].map((name) => seats.find((s) => s.contender.name === name));
  if (!own || !pytorch) return { reason: 'it was not measured' };
  const difference = await crossCheck(own, pytorch);
  console.log(`Outputs and losses are PyTorch's, to ${difference.toExponential(1)}.`);
  return difference;
}

async function measure(options: Options, seats: readonly Seat[], peak: number | undefined): Promise<Row[]> {
  const rows: Row[] = [];
  const shown = peers.filter(({ name }) => seats.some(({ contender }) => contender.name === name));
  console.log(`\n${cpuHead(shown).join(' | ')}`);
  for (const workload of options.workloads) {
    for (const mode of workload.modes) {
      const outcomes = await compete(seats, workload, mode, options.pace);
      const row: Row = { workload, mode, flops: flopsOf(workload, mode), outcomes };
      rows.push(row);
      console.log(cpuRow(row, shown, peak).join(' | '));
      for (const [name, outcome] of Object.entries(outcomes))
        if ('reason' in outcome) console.log(`    ${name}: ${outcome.reason}`);
    }
  }
  return rows;
}

async function main(): Promise<void> {
  const options = readOptions();
  if (!options) {
    console.log(USAGE);
    return;
  }
  const date = new Date().toISOString();
  const about = machine();
  const note = noteOnLoad(about);
  if (note) console.warn(note);
  const found = fmaPeak(options.threads);
  const peak = typeof found === 'number' ? found : undefined;
  console.log(
    `${about.cpu}, ${options.threads} threads, peak ${peak ? `${figures(peak)} GFLOP/s` : 'not known'}`,
  );
  const { seats, contenders } = await seatAll(options.peers, options.threads);
  try {
    const difference = await differenceFrom(seats);
    const rows = await measure(options, seats, peak);
    const results: CpuResults = {
      date,
      machine: about,
      threads: options.threads,
      rounds: options.pace.rounds,
      turn: options.pace.turn,
      fmaPeak: found,
      contenders,
      difference,
      rows,
    };
    console.log(`\n${writeResults('cpu', results, options.whole)}`);
    if (options.whole) await updateDocuments();
  } finally {
    for (const seat of seats) seat.close();
  }
}

main().catch((error: unknown) => {
  console.error(`bench: ${reasonOf(error)}`);
  process.exitCode = 1;
});
