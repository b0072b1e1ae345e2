// The main job: the seed's Deep RNN on real data, from the pixels and letters to a saved model. `npm start` runs it.
import path from 'node:path';
import { devices } from 'deeprnn';
import { lstmPlan, recogniseDigits, simpleRnnPlan } from './handwriting';
import { loadDigits } from './mnist';
import { learnToWrite } from './text';

async function main(): Promise<void> {
  const start = performance.now();
  const folder = path.resolve('models');
  for (const d of devices())
    console.log(
      `${d.device}: ${d.available ? [d.name, d.instructionSet, d.threads && `${d.threads} threads`].filter(Boolean).join(', ') : d.reason}`,
    );

  const train = loadDigits('train');
  const test = loadDigits('t10k');
  console.log(`\n── Handwriting: MNIST row by row, ${train.labels.size} + ${test.labels.size} digits ──`);
  const simple = await recogniseDigits(simpleRnnPlan(), train, test, folder);
  console.log('');
  const lstm = await recogniseDigits(lstmPlan(), train, test, folder);

  console.log('\n── Text: the next character of Moby-Dick ──');
  const text = await learnToWrite(folder);

  const percent = (accuracy: number) => `${(100 * accuracy).toFixed(2)} %`;
  console.log('\n── Result ──');
  console.log(
    `SimpleRNN 64→32  test accuracy ${percent(simple.accuracy)} (bar 96.5 %), ${simple.secondsPerEpoch.toFixed(2)} s an epoch`,
  );
  console.log(
    `LSTM 64→32       test accuracy ${percent(lstm.accuracy)} (bar 98.3 %), ${lstm.secondsPerEpoch.toFixed(2)} s an epoch`,
  );
  console.log(`next character   perplexity ${text.perplexity.toFixed(2)} on unseen chapters`);
  console.log(`in all           ${((performance.now() - start) / 1000).toFixed(0)} s (bar 240 s)`);
  if (simple.accuracy < 0.965 || lstm.accuracy < 0.983) throw new Error('a test accuracy is below its bar');
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
