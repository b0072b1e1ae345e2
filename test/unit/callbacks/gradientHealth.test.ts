import { callbacks } from '../../../lib';
import type { GradientReport } from '../../../lib/callbacks/callback';
import type { GradientHealth } from '../../../lib/callbacks/gradientHealth';
import { FakeModel, params } from './fakeModel';

const report = (
  steps: Record<string, number[]>,
  globalNorm = 1,
  weights: Record<string, number> = { 'rnn/kernel': 0.5 },
  more: Partial<GradientReport> = {},
): GradientReport => ({
  globalNorm,
  weights,
  steps,
  carried: steps,
  clipped: false,
  unjudged: [],
  ...more,
});
const series = (from: number, to: number, length = 40) =>
  Array.from({ length }, (_, t) => from * (to / from) ** (t / (length - 1)));

async function watch(reports: readonly GradientReport[]): Promise<GradientHealth> {
  const health = callbacks.gradientHealth({ report: 'none' });
  await health.onTrainBegin?.(new FakeModel(), params);
  for (const [i, r] of reports.entries()) await health.onGradients?.(r, 0, i);
  return health;
}

test('healthy gradients raise no alarm', async () => {
  const health = await watch(
    Array.from({ length: 20 }, (_, i) => report({ a: series(0.2, 0.9), b: series(0.5, 1) }, 0.7 + (i % 3))),
  );
  const [finding, ...more] = health.findings();
  expect(more).toEqual([]);
  expect(finding).toMatchObject({ kind: 'healthy', where: 'overall' });
  expect(finding?.message).toBe('Gradients are healthy: norm 1.43 on average, 2.70 at most.');
});

test('a loss on every step, whose gradients add up towards the first, raises none', async () => {
  const health = await watch([report({ rnn: series(12, 1) })]);
  expect(health.findings()[0]?.kind).toBe('healthy');
});

test('convergence, where all gradients shrink together, raises none', async () => {
  const health = await watch(
    Array.from({ length: 20 }, (_, i) =>
      report({ rnn: series(0.3 * 0.5 ** i, 0.5 ** i) }, 0.5 ** i, { 'rnn/kernel': 0.5 ** i }),
    ),
  );
  expect(health.findings().map((f) => f.kind)).toEqual(['healthy']);
});

test('vanishing through time is told with the layer, the numbers and what to try', async () => {
  const health = await watch([report({ rnn: series(1e-7, 1) })]);
  const [finding] = health.findings();
  expect(finding).toMatchObject({ kind: 'vanishing', where: 'time', layer: 'rnn' });
  expect(finding?.message).toMatch(
    /^Gradients vanish through time in layer 'rnn': from 0\.\d+ at the last of 40 steps to \S+e-7 at the first \(a factor of 0\.\d+ a step\)\./,
  );
  expect(finding?.advice.join()).toContain('use lstm or gru instead of simpleRNN');
});

test('gradients that are exactly zero at the first steps have vanished too', async () => {
  const health = await watch([report({ rnn: [...new Array(20).fill(0), ...series(1e-30, 1, 20)] })]);
  expect(health.findings()[0]).toMatchObject({ kind: 'vanishing', where: 'time' });
});

test('exploding through time', async () => {
  const health = await watch([report({ rnn: series(1e5, 1) }, 900)]);
  expect(health.findings()[0]).toMatchObject({ kind: 'exploding', where: 'time', layer: 'rnn' });
});

test('vanishing and exploding from layer to layer', async () => {
  const sinking = await watch([
    report({ low: series(1e-6, 1e-6), middle: series(1e-3, 1e-3), top: series(1, 1) }),
  ]);
  expect(sinking.findings()[0]).toMatchObject({ kind: 'vanishing', where: 'depth', layer: 'low' });
  expect(sinking.findings()[0]?.message).toBe(
    "Gradients vanish from layer to layer: 1.00 reaches 'top' at the top, 1.0e-6 'low' at the bottom of 3 recurrent layers.",
  );
  const rising = await watch([report({ low: series(1e4, 1e4), top: series(1, 1) })]);
  expect(rising.findings()[0]).toMatchObject({ kind: 'exploding', where: 'depth', layer: 'low' });
});

test('one huge step, and a step that is not finite', async () => {
  const calm = Array.from({ length: 19 }, () => report({ rnn: series(1, 1) }));
  const huge = await watch([...calm, report({ rnn: series(1, 1) }, 5e4)]);
  expect(huge.findings()[0]?.message).toBe('Gradients explode: their norm reached 5.0e+4, typical is 1.72.');
  expect(huge.findings()[0]?.advice[0]).toBe('clip the gradient: globalClipNorm: 3 on the optimizer');
  const broken = await watch([...calm, report({ rnn: series(1, 1) }, Number.NaN)]);
  expect(broken.findings()[0]?.message).toBe('Gradients explode: 1 of 20 were NaN or infinite.');
});

test('clipping is not advised to those who clip, nor as a way out of NaN', async () => {
  const clipping = { clipped: true };
  const huge = await watch([report({ rnn: series(1e5, 1) }, 5e4, { 'rnn/kernel': 1 }, clipping)]);
  const lower = 'lower the limit to which the optimizer clips';
  expect(huge.findings().map((f) => f.advice[0])).toEqual([lower, lower]);
  for (const clipped of [false, true]) {
    const broken = await watch([report({ rnn: [1, 1] }, Number.NaN, { 'rnn/kernel': 1 }, { clipped })]);
    const [finding] = broken.findings();
    expect(finding?.advice[0]).toMatch(/^start again from weights saved before/);
    expect(finding?.advice.filter((line) => line.includes('clip'))).toEqual(
      clipped ? [] : ['in the new run, clip the gradient: globalClipNorm: 1 on the optimizer'],
    );
  }
});

test('time is judged by what is carried, not by what each step gets of its own error', async () => {
  const own = { rnn: series(1, 1) };
  const vanishing = await watch([report(own, 1, undefined, { carried: { rnn: series(1e-20, 1) } })]);
  expect(vanishing.findings()[0]).toMatchObject({ kind: 'vanishing', where: 'time', layer: 'rnn' });
  expect(vanishing.summary().carried['rnn']).toHaveLength(40);
  const two = await watch([report({ rnn: [1e-6, 1] })]);
  expect(two.findings()[0]?.message).toBe(
    "Gradients vanish through time in layer 'rnn': from 1.00 at the last of 2 steps to 1.0e-6 at the first (a factor of 0.0000010 a step). It learns little from the early steps.",
  );
});

test('a weight without any gradient is dead', async () => {
  const health = await watch([report({ rnn: series(1, 1) }, 1, { 'rnn/kernel': 0, 'rnn/bias': 0.3 })]);
  expect(health.findings()).toMatchObject([{ kind: 'dead', where: 'weights', layer: 'rnn' }]);
});

test('no gradient anywhere is dead, not healthy', async () => {
  const health = await watch([report({ rnn: [0, 0] }, 0, { 'rnn/kernel': 0 })]);
  expect(health.findings()).toMatchObject([
    {
      kind: 'dead',
      where: 'overall',
      value: 0,
      message: 'Gradients are zero in every weight: nothing is learned.',
    },
  ]);
});

test('before any report nothing is known', async () => {
  const health = await watch([]);
  expect(health.findings()).toEqual([
    {
      kind: 'unknown',
      where: 'overall',
      value: Number.NaN,
      message: 'Nothing is known of the gradients: none was looked at yet.',
      advice: [],
    },
  ]);
});

test('memory is bounded, and the text is handed over at the end of the epoch', async () => {
  const texts: string[] = [];
  const health = callbacks.gradientHealth({ keep: 3, report: (text) => texts.push(text) });
  for (let i = 0; i < 10; i++) health.onGradients?.(report({ rnn: series(1e-9, 1) }, i + 1), 0, i);
  expect(health.summary().reports).toBe(3);
  expect(health.summary().globalNorm.largest).toBe(10);
  await health.onEpochEnd?.(4, {});
  expect(texts).toHaveLength(1);
  expect(texts[0]).toMatch(
    /^epoch 5: gradients\n {2}Gradients vanish through time in layer 'rnn'.*\n {4}– use lstm or gru/,
  );
});
