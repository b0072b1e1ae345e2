import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(__dirname, '../../..');

/** What every script finds: the library as built, a small task, and words for what was thrown. */
const prelude = `
  const { appendFileSync } = require('node:fs');
  const { devices, layers, sequential, tensor } = require(${JSON.stringify(path.join(root, 'dist'))});
  const mark = (what) => appendFileSync(process.env.DEEPRNN_EMULATOR_LOG, what + '\\n');
  const show = (value) => console.log(JSON.stringify(value));
  const x = tensor(Float32Array.from({ length: 64 * 5 * 3 }, (_, i) => Math.sin(i)), [64, 5, 3]);
  const y = tensor(Int32Array.from({ length: 64 }, (_, i) => i % 2));
  function model(device = 'cuda', units = 4) {
    const made = sequential([
      layers.simpleRNN({ units, inputShape: [null, 3] }),
      layers.dense({ units: 2, activation: 'softmax' }),
    ], { seed: 1 });
    return made.compile({ loss: 'sparseCategoricalCrossentropy', optimizer: 'adam', device });
  }
  const failure = async (work) => {
    try {
      await work();
      return 'nothing';
    } catch (error) {
      return error.code + ' ' + error.message;
    }
  };
`;

export interface Outcome {
  /** What the script showed, in order. */
  readonly shown: unknown[];
  /** The log of the device: allocations, launches, waits, and the marks of the script. */
  readonly log: string[];
}

/** Runs a script in a process of its own, on an emulated device that the environment describes (test/emulator/device_state.h). */
export function onEmulatedDevice(script: string, environment: Record<string, string> = {}): Outcome {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-device-'));
  const log = path.join(folder, 'log');
  try {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['-e', `${prelude}(async () => {${script}})().catch((e) => { console.error(e); process.exit(1); });`],
      { encoding: 'utf8', env: { ...process.env, DEEPRNN_EMULATOR_LOG: log, ...environment } },
    );
    if (status !== 0) throw new Error(`the script ended with ${status}:\n${stdout}${stderr}`);
    const lines = (text: string) => text.split('\n').filter((line) => line !== '');
    return { shown: lines(stdout).map((line) => JSON.parse(line)), log: lines(read(log)) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Nothing was asked of the device.
    return '';
  }
}
