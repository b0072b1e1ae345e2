import { Worker } from '../../../bench/cpu/worker';

/** A worker that does `body` with every line it reads. */
const workerThat = (body: string) =>
  new Worker('Fake', [
    process.execPath,
    '-e',
    `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const ask = JSON.parse(line); const answer = (a) => console.log(JSON.stringify(a)); ${body} });`,
  ]);

test('what is no JSON object on its output is passed over', async () => {
  const worker = workerThat(
    "console.log('loading'); console.log('12'); answer({ times: [ask.milliseconds, 2] });",
  );
  await expect(worker.ask('run', { milliseconds: 7 }, 10_000)).resolves.toEqual({ times: [7, 2] });
  worker.kill();
});

test('a worker that cannot do one thing is asked the next', async () => {
  const worker = workerThat("answer(ask.do === 'run' ? { error: 'no memory' } : { peak: 5 });");
  await expect(worker.ask('run', { milliseconds: 1 }, 10_000)).rejects.toThrow('no memory');
  await expect(worker.ask('memory', {}, 10_000)).resolves.toEqual({ peak: 5 });
  worker.kill();
});

test('a worker that crashes is gone, with its last words', async () => {
  const worker = workerThat("console.error('first'); console.error('out of luck'); process.exit(3);");
  await expect(worker.ask('memory', {}, 10_000)).rejects.toThrow(
    'Fake ended by itself (exit status 3): out of luck',
  );
  expect(worker.gone).toBeDefined();
  await expect(worker.ask('memory', {}, 10_000)).rejects.toThrow('exit status 3');
});

test('a worker that does not answer is stopped', async () => {
  const worker = workerThat('');
  await expect(worker.ask('memory', {}, 200)).rejects.toThrow('Fake did not answer in 0.2 s');
});

test('a program that is not there is named', async () => {
  const worker = new Worker('Fake', ['/nowhere/at/all']);
  await expect(worker.ask('memory', {}, 10_000)).rejects.toThrow('Fake could not be started');
});
