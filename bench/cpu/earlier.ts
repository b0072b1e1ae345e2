// Times this library against itself at an earlier commit: `npm run bench:earlier -- COMMIT` (docs/performance.md).
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Contender, ours, Seat } from './contenders';
import { machine, noteOnLoad } from './machine';
import { root } from './paths';
import { type Row, writeResults } from './results';
import { compete } from './rounds';
import { figures, ratioOf } from './table';
import { flopsOf, workloads } from './workloads';

const USAGE = `npm run bench:earlier -- COMMIT [--only PART] [--rounds N]
Builds COMMIT in a temporary folder and times its networks and ours in turns, 2 threads each.`;
const THREADS = 2;
const PACE = { rounds: 7, turn: 300, patience: 60_000 };
const EARLIER = 'earlier';

/** The library as it was at a commit, built. */
function built(commit: string, folder: string): Contender {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const shell = process.platform === 'win32';
  const inherit = ['ignore', 'ignore', 'inherit'] as const;
  execFileSync('git', ['clone', '--quiet', '--shared', root, folder], { stdio: [...inherit] });
  execFileSync('git', ['checkout', '--quiet', commit], { cwd: folder, stdio: [...inherit] });
  // Its `prepare` builds the library.
  execFileSync(npm, ['ci'], { cwd: folder, stdio: [...inherit], shell });
  execFileSync(npm, ['run', 'build:examples'], { cwd: folder, stdio: [...inherit], shell });
  const worker = path.join(folder, path.relative(root, ours.command[1] as string));
  return { name: EARLIER, title: commit, command: [process.execPath, worker], needs: [worker] };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string', default: '' },
      rounds: { type: 'string', default: `${PACE.rounds}` },
    },
  });
  const rounds = Number(values.rounds);
  const chosen = workloads.filter(({ name }) => name.includes(values.only));
  if (positionals.length !== 1 || !(Number.isInteger(rounds) && rounds >= 1) || chosen.length === 0)
    throw new RangeError(`expected one commit, at least one round and a part of a network's name.\n${USAGE}`);
  const about = machine();
  const date = new Date().toISOString();
  const git = ['rev-parse', '--short=10', '--verify', `${positionals[0]}^{commit}`];
  const commit = execFileSync('git', git, { cwd: root, encoding: 'utf8' }).trim();
  const temporary = mkdtempSync(path.join(os.tmpdir(), 'deeprnn-earlier-'));
  const seats: Seat[] = [];
  try {
    seats.push(new Seat(ours, THREADS), new Seat(built(commit, path.join(temporary, 'deeprnn')), THREADS));
    for (const seat of seats) await seat.open();
    const note = noteOnLoad(about);
    if (note) console.warn(note);
    console.log(`${about.cpu}, ${THREADS} threads, ${about.commit} against ${commit}\n`);
    console.log(
      `| network | | ${about.commit}, ms | ${commit}, ms | earlier / now |\n| --- | --- | ---: | ---: | ---: |`,
    );
    const rows: Row[] = [];
    for (const workload of chosen) {
      for (const mode of workload.modes) {
        const outcomes = await compete(seats, workload, mode, { ...PACE, rounds });
        const row: Row = { workload, mode, flops: flopsOf(workload, mode), outcomes };
        rows.push(row);
        const cells = [ours.name, EARLIER].map((name) => {
          const outcome = outcomes[name];
          if (!outcome || 'reason' in outcome) return outcome?.reason ?? '–';
          return `${figures(outcome.median)} [${figures(outcome.min)}–${figures(outcome.max)}]`;
        });
        console.log(
          `| ${[workload.name, mode, ...cells, ratioOf(row, EARLIER)?.toFixed(3) ?? '–'].join(' | ')} |`,
        );
      }
    }
    const ratios = rows.map((row) => ratioOf(row, EARLIER)).filter((ratio) => ratio !== undefined);
    const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
    console.log(`\nGeometric mean of earlier / now: ${mean.toFixed(3)}.`);
    const whole = values.only === '' && rounds >= PACE.rounds;
    const results = { date, machine: about, threads: THREADS, ...PACE, rounds, earlier: commit, rows, mean };
    console.log(writeResults('earlier', results, whole));
  } finally {
    for (const seat of seats) seat.close();
    rmSync(temporary, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(`bench:earlier: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
