import { type Contender, Seat } from '../../../bench/cpu/contenders';
import { compete, roundsOf } from '../../../bench/cpu/rounds';
import { workloads } from '../../../bench/cpu/workloads';

/** A contender whose run takes 1 ms each time, but for what `body` does with a question before. */
const contender = (name: string, body = ''): Contender => ({
  name,
  title: name,
  command: [
    process.execPath,
    '-e',
    `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const ask = JSON.parse(line); const answer = (a) => console.log(JSON.stringify(a));
      ${body}
      answer({ start: { version: '1' }, prepare: { milliseconds: 1 }, run: { times: [1, 1] } }[ask.do]); });`,
  ],
  needs: [],
});
const pace = { rounds: 3, turn: 10, patience: 10_000 };

test('slow contenders take part in few rounds', () => {
  const long = { rounds: 7, turn: 300, patience: 1000 };
  expect([3, 1000, 5000].map((run) => roundsOf(run, long))).toEqual([7, 3, 1]);
  expect(roundsOf(1000, { ...long, rounds: 2 })).toBe(2);
});

test('one that crashes is left out with a reason, once, and is back for the next network', async () => {
  const seats = [
    new Seat(contender('steady'), 1),
    new Seat(
      contender('crashing', "if (ask.do === 'run') { console.error('no luck'); process.exit(1); }"),
      1,
    ),
    new Seat(contender('refusing', "if (ask.do === 'prepare') return answer({ error: 'no such cell' });"), 1),
  ];
  for (const workload of workloads.slice(0, 2)) {
    expect(await compete(seats, workload, 'train', pace)).toEqual({
      steady: { median: 1, min: 1, max: 1, runs: 6 },
      crashing: { reason: 'crashing ended by itself (exit status 1): no luck' },
      refusing: { reason: 'no such cell' },
    });
  }
  for (const seat of seats) seat.close();
});

test('what is not installed is not started', async () => {
  const seat = new Seat({ ...contender('absent'), needs: ['/nowhere/at/all'] }, 1);
  await expect(seat.open()).rejects.toThrow('not installed');
});
