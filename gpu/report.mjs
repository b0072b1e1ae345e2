// Gathers what the stages of run.sh have left in the folder $LOGS into results.json (docs/gpu-testing.md says what it holds), and with
// --table prints the timings. Run by run.sh, in the bundle.
//
//   node report.mjs --out FOLDER [--rehearsal] [--table]

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    out: { type: 'string' },
    rehearsal: { type: 'boolean', default: false },
    table: { type: 'boolean', default: false },
  },
});
const logs = process.env.LOGS;
const log = (name) => {
  const file = path.join(logs, name);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
};
const lines = (text) => text.split('\n').filter((line) => line !== '');
const logsNamed = (pattern) => readdirSync(logs).filter((name) => pattern.test(name));

/** Lines of JSON; the last one may have been cut off. */
function records(name) {
  return lines(log(name)).flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}

const bundle = JSON.parse(readFileSync('bundle.json', 'utf8'));
const ours = records('deeprnn.jsonl');
const theirs = [...records('pytorch.jsonl'), ...records('pytorch-graph.jsonl')];
const about = (rows) => rows.find((row) => row.about)?.about;

function machine() {
  const [name, computeCapability, driver, memory, computeMode] = (lines(log('card.csv'))[0] ?? '').split(
    ', ',
  );
  return {
    device: name || null,
    computeCapability,
    driver,
    memory,
    computeMode,
    tools: lines(log('tools.log')),
    processors: availableParallelism(),
    pytorch: about(theirs) ?? null,
    deeprnn: about(ours) ?? null,
  };
}

function stages() {
  return lines(log('stages.tsv')).map((line) => {
    const [stage, outcome, seconds, note] = line.split('\t');
    return { stage, outcome, seconds: Number(seconds), note };
  });
}

/** One entry per run of Jest, with the names of what failed. */
function parity() {
  return logsNamed(/^parity-.*\.json$/).map((name) => {
    const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(log(name));
    const failures = testResults.flatMap(({ assertionResults, message }) => {
      const failed = assertionResults.filter(({ status }) => status === 'failed');
      // A file that could not even be loaded has no tests.
      return failed.length > 0 || assertionResults.length > 0
        ? failed.map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.split('\n')[0]}`)
        : [message.split('\n')[0]];
    });
    return {
      run: name.slice('parity-'.length, -'.json'.length),
      passed: numPassedTests,
      failed: numFailedTests,
      skipped: numPendingTests,
      failures,
    };
  });
}

/** `precision` aside, what a row is measured on. */
const keyOf = ({ workload, mode, precision }) => `${workload} ${mode} ${precision}`;

/** What the rows of one side say of one key, by variant: a time, or why there is none. */
function variants(rows, key, nameOf) {
  const own = rows.filter((row) => row.workload && keyOf(row) === key);
  return Object.fromEntries(
    own.map((row) => [
      nameOf(row),
      row.reason
        ? { reason: row.reason }
        : {
            ms: row.medianMs,
            fastestMs: row.fastestMs,
            wallMs: row.wallMs,
            estimateMs: row.estimateMs,
            runs: row.runs,
          },
    ]),
  );
}

/** Tiny sizes on a CPU compare nothing. */
const ratio = (a, b) => (!options.rehearsal && a?.ms && b?.ms ? Number((a.ms / b.ms).toFixed(3)) : null);

/** Both sides of every workload, mode and precision, and how many times faster ours is. */
function timings() {
  const workloads = JSON.parse(readFileSync('bench/gpu/workloads.json', 'utf8'));
  const rows = [...ours, ...theirs].filter((row) => row.workload);
  const keys = new Map(rows.map((row) => [keyOf(row), row]));
  return [...keys].map(([key, { workload, mode, precision }]) => {
    const { bar: backwardBar, stepBar } = workloads.find(({ name }) => name === workload);
    const deeprnn = variants(ours, key, ({ variant, rung }) => (rung === 'auto' ? variant : `rung ${rung}`));
    const pytorch = variants(theirs, key, ({ variant }) => variant);
    const bar = { forwardBackward: backwardBar, step: stepBar }[mode] ?? null;
    const notes = ours.find((row) => row.notes && row.rung === 'auto' && keyOf(row) === key)?.notes;
    const plain = ratio(pytorch.eager, deeprnn.plan);
    return {
      workload,
      mode,
      precision,
      deeprnn,
      pytorch,
      ratio: plain,
      graphRatio: ratio(pytorch.graph, deeprnn.plan),
      apiRatio: ratio(pytorch.host, deeprnn.api),
      bar,
      met: bar === null || plain === null ? null : plain >= bar,
      notes,
    };
  });
}

const results = {
  format: 1,
  rehearsal: options.rehearsal,
  date: new Date().toISOString(),
  ...bundle,
  machine: machine(),
  seed: Number(process.env.DEEPRNN_TEST_SEED),
  stages: stages(),
  parity: parity(),
  sanitizer: logsNamed(/^(mem|race)check-\w\.log$/).map((name) => ({
    run: name.slice(0, -'.log'.length),
    summary: lines(log(name)).at(-1)?.replace(/^=* */, ''),
  })),
  stress: records('stress.jsonl').map(({ side: _, ...row }) => row),
  mainJob: lines(log('main_job.log')).slice(-6),
  timings: timings(),
};
writeFileSync(path.join(options.out, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);

if (options.table && !options.rehearsal) {
  const time = (cell) => (cell?.ms === undefined ? '–' : cell.ms.toFixed(3));
  const text = (value) => (value === null ? '–' : String(value));
  const header = [
    'workload',
    'mode',
    'precision',
    'deeprnn ms',
    'cuDNN ms',
    'graph ms',
    'ratio',
    'to graph',
    'bar',
  ];
  const table = results.timings
    .filter(({ deeprnn, pytorch }) => deeprnn.plan?.ms || pytorch.eager?.ms)
    .map((t) => [
      t.workload,
      t.mode,
      t.precision,
      time(t.deeprnn.plan),
      time(t.pytorch.eager),
      time(t.pytorch.graph),
      text(t.ratio),
      text(t.graphRatio),
      t.bar === null ? '' : `${t.bar}${t.met === null ? '' : t.met ? ' met' : ' MISSED'}`,
    ]);
  for (const row of table.length > 0 ? [header, ...table] : [])
    console.log(row.map((cell, i) => cell.padEnd([16, 15, 9, 10, 9, 9, 7, 8, 0][i])).join('  '));
}
