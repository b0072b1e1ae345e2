import { execFileSync } from 'node:child_process';
import { loadAddon } from '../../../lib/engines/addon';
import { cpuEngine } from '../../../lib/engines/cpu';
import { PlanBuilder } from '../../../lib/plan/builder';
import { dtypeCodes } from '../../../lib/plan/codes';
import { encodePlan } from '../../../lib/plan/encode';
import type { Plan } from '../../../lib/plan/types';
import { Philox } from '../../../lib/tensors/random';

/** The addon as JavaScript that knows nothing of it might use it. */
interface Addon {
  Session: new (options?: unknown) => Session;
}
interface Session {
  createVariable(...args: unknown[]): number;
  writeVariable(...args: unknown[]): void;
  readVariable(...args: unknown[]): void;
  readVariableLater(...args: unknown[]): Promise<void>;
  writeVariableLater(...args: unknown[]): Promise<void>;
  load(...args: unknown[]): Executable;
  dispose(): void;
}
interface Executable {
  readonly bytes: number;
  run(...args: unknown[]): Promise<void>;
  runSync(...args: unknown[]): void;
  stage(...args: unknown[]): void;
  dispose(): void;
}

function native(): { addon: Addon; path: string } {
  const found = loadAddon('cpu');
  if ('reason' in found) throw new Error(found.reason);
  return { addon: found.addon as Addon, path: found.path };
}

/** y = x · kernel for x [rows, 24]: with many rows, a run that takes its time. */
function densePlan(rows: number): Plan {
  const builder = new PlanBuilder('dense');
  const x = builder.input('x', 'real', [rows, 24]);
  const kernel = builder.variable('kernel', 'real', [24, 40]);
  const [y] = builder.emit('dense', [x, kernel, -1], {}, 'dense');
  builder.output('y', y as number);
  return builder.finish();
}

function loaded(rows = 3) {
  const { addon } = native();
  const session = new addon.Session({ threads: 2 });
  const kernel = session.createVariable(dtypeCodes.real, 24 * 40);
  session.writeVariable(
    kernel,
    Float32Array.from({ length: 24 * 40 }, (_, i) => i % 7),
  );
  const { words, floats } = encodePlan(densePlan(rows), 4, () => kernel);
  const x = new Float32Array(rows * 24).fill(1);
  const y = new Float32Array(rows * 40);
  const second = x.slice();
  const load = () => session.load(words, floats, [x], [y], [second]);
  return { session, kernel, words, floats, x, second, y, load };
}

/** What a call threw: code and message; errors of the addon belong to another realm than jest's. */
function thrown(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code ? `${code} ${message}` : message;
  }
  return 'nothing';
}

describe('a session', () => {
  test('refuses thread numbers that are none', () => {
    const { addon } = native();
    for (const threads of [0, -1, 1.5, Number.NaN, 1e9, '2', null]) {
      expect(thrown(() => new addon.Session({ threads }))).toMatch(/^threads: expected/);
    }
  });

  test('refuses variables of unknown dtype or impossible size', () => {
    const { addon } = native();
    const session = new addon.Session();
    expect(thrown(() => session.createVariable(3, 1))).toBe('dtype: expected a whole number.');
    expect(thrown(() => session.createVariable(0, -1))).toBe('elements: expected a whole number.');
    expect(thrown(() => session.createVariable(0, 2.5))).toBe('elements: expected a whole number.');
    expect(thrown(() => session.createVariable())).toBe('dtype: expected a whole number.');
    expect(thrown(() => session.createVariable(0, 2 ** 40))).toMatch(/^ERR_DEVICE out of memory/);
  });

  test('reads and writes only arrays of the dtype and length of the variable', () => {
    const { session, kernel } = loaded();
    const wrong = [
      [new Float64Array(960), 'values: expected a Float32Array.'],
      [new Float32Array(959), 'values: another length than the variable.'],
      [[1, 2, 3], 'values: expected a Float32Array.'],
      [undefined, 'values: expected a Float32Array.'],
    ] as const;
    for (const [values, message] of wrong) {
      expect(thrown(() => session.writeVariable(kernel, values))).toBe(message);
    }
    expect(thrown(() => session.readVariable(kernel, new Int32Array(960)))).toBe(
      'into: expected a Float32Array.',
    );
    expect(thrown(() => session.readVariable(7, new Float32Array(1)))).toBe('variable: no such variable.');
    expect(thrown(() => session.readVariable(-1, new Float32Array(1)))).toBe(
      'variable: expected a whole number.',
    );
  });

  test('is of no use after its disposal, which may be repeated', () => {
    const { session, kernel, load } = loaded();
    const executable = load();
    session.dispose();
    session.dispose();
    expect(thrown(load)).toBe('ERR_STATE load: the session has been disposed.');
    expect(thrown(() => session.readVariable(kernel, new Float32Array(960)))).toBe(
      'ERR_STATE readVariable: the session has been disposed.',
    );
    expect(thrown(() => executable.runSync())).toBe('ERR_STATE run: the session has been disposed.');
  });
});

describe('loading', () => {
  test('proves the arrays against the plan', () => {
    const { session, words, floats, x, y } = loaded();
    expect(thrown(() => session.load(words, floats, [], [y]))).toBe(
      "load: another number of inputs or outputs than the plan's.",
    );
    expect(thrown(() => session.load(words, floats, [x, x], [y]))).toBe(
      "load: another number of inputs or outputs than the plan's.",
    );
    expect(thrown(() => session.load(words, floats, [x.subarray(1)], [y]))).toBe(
      'load: an array of another length than its value.',
    );
    expect(thrown(() => session.load(words, floats, [new Int32Array(x.length)], [y]))).toBe(
      'input: expected a Float32Array.',
    );
    expect(thrown(() => session.load(words, floats, [x], [null]))).toBe('output: expected a Float32Array.');
    expect(thrown(() => session.load(words, floats, x, y))).toBe(
      'load: expected arrays of inputs and of outputs.',
    );
    expect(thrown(() => session.load(words, floats, [x], [y], x))).toBe(
      'load: expected arrays of inputs and of outputs.',
    );
    expect(thrown(() => session.load(words, floats, [x], [y], [x.subarray(1)]))).toBe(
      'load: an array of another length than its value.',
    );
    expect(thrown(() => session.load(floats, words, [x], [y]))).toBe('words: expected a Int32Array.');
    expect(thrown(() => session.load())).toBe('words: expected a Int32Array.');
  });

  test('refuses a plan whose variable the session does not have, or has in another size', () => {
    const { floats, x, y } = loaded();
    const { addon } = native();
    const session = new addon.Session();
    const { words } = encodePlan(densePlan(3), 4, () => 0);
    expect(thrown(() => session.load(words, floats, [x], [y]))).toMatch(/^ERR_SHAPE bad plan: /);
    session.createVariable(dtypeCodes.real, 24 * 40 - 1);
    expect(thrown(() => session.load(words, floats, [x], [y]))).toMatch(/^ERR_SHAPE bad plan: /);
  });

  test('refuses any damaged plan in words, or runs it within its memory', () => {
    const { session, words, floats, x, y } = loaded();
    const random = new Philox(Math.floor(Math.random() * 2 ** 31), 0);
    let refused = 0;
    for (let i = 0; i < 400; i++) {
      const bad = Int32Array.from(words);
      for (let n = 1 + random.nextInt(3); n > 0; n--) {
        bad[2 + random.nextInt(bad.length - 2)] =
          random.nextInt(2) === 0 ? random.nextInt(64) - 8 : (random.nextInt(2 ** 31) << 1) | 1;
      }
      try {
        const executable = session.load(bad.subarray(0, bad.length - random.nextInt(2)), floats, [x], [y]);
        executable.runSync();
        executable.dispose();
      } catch (error) {
        refused++;
        expect((error as Error).message).toMatch(
          /^(bad plan: |load: |input: |output: |out of memory|op \d+|check)/,
        );
      }
    }
    expect(refused).toBeGreaterThan(100);
  });
});

describe('running', () => {
  test('refuses arrays whose memory has been given away', () => {
    const { x, load } = loaded();
    const executable = load();
    executable.runSync();
    structuredClone(x, { transfer: [x.buffer] });
    expect(thrown(() => executable.runSync())).toBe(
      'ERR_STATE run: an input or output array was detached or moved.',
    );
  });

  test('reads the set of inputs that it is told to, and no other', async () => {
    const { x, second, y, load } = loaded();
    x.fill(1);
    second.fill(2);
    const executable = load();
    executable.stage(1);
    await executable.run(1);
    const doubled = y.slice();
    executable.runSync();
    expect(doubled).toEqual(y.map((v) => 2 * v));
    for (const set of [2, -1, '1', null, Number.NaN]) {
      expect(thrown(() => executable.run(set))).toBe('set: expected 0 or 1.');
      expect(thrown(() => executable.stage(set))).toBe('set: expected 0 or 1.');
    }
  });

  test('the next inputs may be staged while a run reads the others, not those that it reads', async () => {
    const { second, y, load } = loaded(60_000);
    const executable = load();
    const run = executable.run(0);
    expect(thrown(() => executable.stage(0))).toBe('ERR_STATE stage: a run is reading this set.');
    second.fill(3);
    executable.stage(1);
    await run;
    const ones = y.slice();
    await executable.run(1);
    expect(y.every((v, i) => v === 3 * (ones[i] as number))).toBe(true);
    executable.dispose();
    expect(thrown(() => executable.stage(1))).toBe('ERR_STATE stage: the executable has been disposed.');
  });

  test('one at a time: while one is in flight the session is busy, and free again after it', async () => {
    const { session, kernel, load, y } = loaded(60_000);
    const executable = load();
    const run = executable.run();
    const busy = 'a run is in flight. Await it first.';
    expect(thrown(() => executable.runSync())).toBe(`ERR_STATE run: ${busy}`);
    expect(thrown(() => executable.run())).toBe(`ERR_STATE run: ${busy}`);
    expect(thrown(load)).toBe(`ERR_STATE load: ${busy}`);
    expect(thrown(() => session.createVariable(0, 1))).toBe(`ERR_STATE createVariable: ${busy}`);
    expect(thrown(() => session.readVariable(kernel, new Float32Array(960)))).toBe(
      `ERR_STATE readVariable: ${busy}`,
    );
    await run;
    const kernelValues = new Float32Array(960);
    session.readVariable(kernel, kernelValues);
    const column = kernelValues.filter((_, i) => i % 40 === 39).reduce((a, b) => a + b, 0);
    expect(y[y.length - 1]).toBe(column);
    await executable.run();
  });

  test('a variable is read off the event loop; the session is busy meanwhile', async () => {
    const { session, kernel, load } = loaded();
    const executable = load();
    const into = new Float32Array(960);
    const [refused, busy] = [
      'into: another length than the variable.',
      'a run is in flight. Await it first.',
    ];
    expect(thrown(() => session.readVariableLater(kernel, new Float32Array(959)))).toBe(refused);
    expect(thrown(() => session.readVariableLater(kernel, new Float64Array(960)))).toBe(
      'into: expected a Float32Array.',
    );
    expect(thrown(() => session.readVariableLater(kernel + 1, into))).toBe('variable: no such variable.');
    const read = session.readVariableLater(kernel, into);
    expect(thrown(() => executable.runSync())).toBe(`ERR_STATE run: ${busy}`);
    expect(thrown(() => session.createVariable(0, 1))).toBe(`ERR_STATE createVariable: ${busy}`);
    expect(thrown(() => session.readVariableLater(kernel, into))).toBe(
      `ERR_STATE readVariableLater: ${busy}`,
    );
    await read;
    expect(into[8]).toBe(1);
    const last = session.readVariableLater(kernel, into.fill(0));
    executable.dispose();
    session.dispose();
    await last;
    expect(into[8]).toBe(1);
    expect(thrown(() => session.readVariableLater(kernel, into))).toBe(
      'ERR_STATE readVariableLater: the session has been disposed.',
    );
  });

  test('a variable is written off the event loop; the session is busy meanwhile', async () => {
    const { session, kernel } = loaded();
    const values = new Float32Array(960).fill(7);
    const busy = 'a run is in flight. Await it first.';
    expect(thrown(() => session.writeVariableLater(kernel, new Float32Array(959)))).toBe(
      'values: another length than the variable.',
    );
    expect(thrown(() => session.writeVariableLater(kernel, new Float64Array(960)))).toBe(
      'values: expected a Float32Array.',
    );
    expect(thrown(() => session.writeVariableLater(kernel + 1, values))).toBe('variable: no such variable.');
    const written = session.writeVariableLater(kernel, values);
    expect(thrown(() => session.readVariable(kernel, values))).toBe(`ERR_STATE readVariable: ${busy}`);
    expect(thrown(() => session.writeVariableLater(kernel, values))).toBe(
      `ERR_STATE writeVariableLater: ${busy}`,
    );
    await written;
    const into = new Float32Array(960);
    session.readVariable(kernel, into);
    expect(into).toEqual(values);
    const last = session.writeVariableLater(kernel, values);
    session.dispose();
    await last;
    expect(thrown(() => session.writeVariableLater(kernel, values))).toBe(
      'ERR_STATE writeVariableLater: the session has been disposed.',
    );
  });

  test('goes to its end though everything is disposed meanwhile', async () => {
    const { session, load, y } = loaded(60_000);
    const executable = load();
    const run = executable.run();
    executable.dispose();
    session.dispose();
    await run;
    expect(y[y.length - 1]).toBeGreaterThan(0);
    expect(thrown(() => executable.runSync())).toBe('ERR_STATE run: the executable has been disposed.');
    expect(executable.bytes).toBe(0);
  });

  test('methods borrowed onto other objects throw', () => {
    const { session, load } = loaded();
    const executable = load();
    const methods: ((this: unknown) => unknown)[] = [
      session.load,
      session.readVariableLater,
      session.writeVariableLater,
      session.dispose,
      session.createVariable,
      executable.run,
      executable.runSync,
      executable.stage,
      executable.dispose,
    ];
    const strangers = [{}, null, undefined, 7, Object.create(session), Object.create(executable)];
    for (const method of methods) {
      for (const stranger of strangers) {
        expect(thrown(() => method.call(stranger))).toMatch(/Illegal invocation|Invalid argument|expected/);
      }
    }
    expect(thrown(() => session.load.call(executable as unknown as Session))).toMatch(/Illegal invocation/);
    expect(thrown(() => executable.runSync.call(session as unknown as Executable))).toMatch(
      /Illegal invocation/,
    );
    const Bare = executable.constructor as new () => Executable;
    expect(thrown(() => new Bare().runSync())).toBe('ERR_STATE run: the executable has been disposed.');
  });
});

/** Many products, one after another: a run that takes long with little memory. */
function longPlan(): Plan {
  const builder = new PlanBuilder('long');
  let x = builder.input('x', 'real', [8000, 24]);
  const kernel = builder.variable('kernel', 'real', [24, 24]);
  for (let i = 0; i < 400; i++) x = builder.emit('dense', [x, kernel, -1], {}, 'dense')[0] as number;
  builder.output('y', x);
  return builder.finish();
}

/** Runs a script in a process of its own, which a crash would end with a signal. */
function inProcess(
  script: string,
  flags: string[] = [],
  plan = densePlan(20_000),
  env: Record<string, string> = {},
): string {
  const { words, floats } = encodePlan(plan, 4, () => 0);
  const prelude = `
    const { Worker, isMainThread, parentPort } = require('node:worker_threads');
    const addon = require(${JSON.stringify(native().path)});
    const words = Int32Array.from(${JSON.stringify(Array.from(words))});
    const floats = Float64Array.from(${JSON.stringify(Array.from(floats))});
    function loaded(threads = 2) {
      const session = new addon.Session({ threads });
      session.createVariable(0, 960);
      const x = new Float32Array(20000 * 24), y = new Float32Array(20000 * 40);
      return { session, executable: session.load(words, floats, [x], [y]) };
    }
  `;
  return execFileSync(
    process.execPath,
    [...flags, '-e', prelude + script.replaceAll('PRELUDE', JSON.stringify(prelude))],
    {
      encoding: 'utf8',
      env: { ...process.env, ...env },
      timeout: 120_000,
    },
  );
}

test('an instruction set that is none is a matter of the device', () => {
  const out = inProcess('try { loaded(); } catch (e) { console.log(e.code, e.message); }', [], undefined, {
    DEEPRNN_ISA: 'sse9',
  });
  expect(out.trim()).toMatch(/^ERR_DEVICE DEEPRNN_ISA: expected one of .*(baseline|neon), got 'sse9'\.$/);
});

describe('threads and the garbage collector', () => {
  test('runs take no thread from what Node does off the event loop: files are read while six models run', () => {
    const out = inProcess(
      `
      (async () => {
        const ended = [];
        const runs = [];
        for (let i = 0; i < 6; i++) {
          const session = new addon.Session({ threads: 1 });
          session.createVariable(0, 24 * 24);
          const [x, y] = [new Float32Array(8000 * 24), new Float32Array(8000 * 24)];
          runs.push(session.load(words, floats, [x], [y]).run().then(() => ended.push('run')));
        }
        await require('node:fs/promises').stat('.').then(() => ended.push('file'));
        await Promise.all(runs);
        console.log(ended.indexOf('file'));
      })();
    `,
      [],
      longPlan(),
    );
    // Node has four such threads: were they at work, the file would wait for the end of three runs. On a busy machine one may end earlier.
    expect(Number(out)).toBeLessThan(3);
  });

  test('worker threads have sessions of their own, and may be ended in the middle of a run', () => {
    const out = inProcess(`
      (async () => {
        const code = PRELUDE + \`
          const { executable } = loaded();
          parentPort.postMessage('started');
          (async () => { for (;;) await executable.run(); })();
        \`;
        for (let i = 0; i < 12; i++) {
          const workers = [0, 1].map(() => new Worker(code, { eval: true }));
          const { executable } = loaded();
          await Promise.all(workers.map((w) => new Promise((resolve, reject) => {
            w.on('message', resolve);
            w.on('error', reject);
          })));
          await executable.run();
          await Promise.all(workers.map((w) => w.terminate()));
          await executable.run();
        }
        console.log('all workers ended');
      })();
    `);
    expect(out.trim()).toBe('all workers ended');
  });

  test('disposal ends the threads of a session while JavaScript still holds the objects', () => {
    if (process.platform !== 'linux') return;
    const out = inProcess(`
      const { readdirSync, promises: { readFile } } = require('node:fs');
      const threads = () => readdirSync('/proc/self/task').length;
      (async () => {
        // The pool of the event loop has to be there before threads are counted.
        await Promise.all([1, 2, 3, 4].map(() => readFile('/proc/self/stat')));
        const before = threads();
        const kept = [];
        for (const when of ['at rest', 'in flight']) {
          // 23 share the work with the one that runs.
          const { session, executable } = loaded(24);
          kept.push(session, executable);
          const run = executable.run();
          if (when === 'at rest') await run;
          const during = threads();
          executable.dispose();
          session.dispose();
          await run;
          for (let i = 0; threads() > before && i < 200; i++) await new Promise((r) => setTimeout(r, 10));
          console.log(during - before, threads() - before, kept.length);
        }
      })();
    `);
    expect(out.trim().split('\n')).toEqual(['24 0 2', '24 0 4']);
  });

  test('memory of sessions that nobody disposes comes back', () => {
    const out = inProcess(
      `
      (async () => {
        const megabytes = () => process.memoryUsage().rss / 2 ** 20;
        const round = async (n) => {
          for (let i = 0; i < n; i++) {
            const { executable } = loaded();
            if (i % 3 === 0) await executable.run();
            if (i % 10 === 9) { gc(); await new Promise(setImmediate); }
          }
          gc();
          await new Promise(setImmediate);
        };
        await round(40);
        const before = megabytes();
        await round(400);
        console.log(JSON.stringify({ grown: megabytes() - before, external: process.memoryUsage().external }));
      })();
    `,
      ['--expose-gc'],
    );
    // Each of the 400 holds 5 MB: what stays may not be more than a few of them.
    const { grown, external } = JSON.parse(out);
    expect(grown).toBeLessThan(100);
    expect(external).toBeLessThan(100 * 2 ** 20);
  });

  test('a promise outlives every reference to its executable', () => {
    const out = inProcess(
      `
      (async () => {
        const runs = [];
        for (let i = 0; i < 20; i++) runs.push(loaded().executable.run());
        gc();
        await Promise.all(runs);
        gc();
        console.log(runs.length);
      })();
    `,
      ['--expose-gc'],
    );
    expect(out.trim()).toBe('20');
  });
});

test('the engine speaks of its own calls, not of the addon', () => {
  const session = cpuEngine().createSession({});
  expect(thrown(() => session.load(densePlan(3)))).toBe(
    "ERR_STATE cpu engine: expected variable 'kernel' to be declared, got none of that name.",
  );
  session.declare('kernel', 'real', [24, 40]);
  const executable = session.load(densePlan(3));
  expect(thrown(() => executable.input('z'))).toBe(
    "ERR_STATE plan 'dense': expected an input 'z', got none of that name.",
  );
  session.dispose();
  expect(thrown(() => executable.runSync())).toBe(
    'ERR_STATE cpu engine: run: the session has been disposed.',
  );
});
