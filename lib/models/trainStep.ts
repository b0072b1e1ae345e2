import { readConfig } from '../config';
import { refuse } from '../errors';
import type { Tensor } from '../tensors/tensor';
import {
  type Batch,
  checkFixedBatch,
  type ExampleOptions,
  type Inputs,
  readExamples,
  wholeBatch,
} from './batches';
import { AVERAGE, gradientOutput, slotName } from './lower';
import type { Model } from './model';
import { type LoadedPlan, outputTensor, type RunOptions, setInput } from './runner';
import type { Scores } from './scores';

export interface TrainOnBatchOptions extends ExampleOptions {}

const exampleOptions = ['sampleWeight', 'classWeight', 'initialStates', 'lengths'] as const;

/** The options of a call on one batch, under their own names. */
export function readExampleOptions(given: ExampleOptions, caller: string): ExampleOptions {
  return readConfig(given, exampleOptions, caller) as ExampleOptions;
}

/** One optimizer step; `read` sees the plan's outputs before anything else runs. */
export function trainStep<R>(
  model: Model,
  batch: Batch,
  options: Pick<RunOptions, 'caller' | 'gradientNorms' | 'nextGradientNorms' | 'states'>,
  read: (loaded: LoadedPlan) => R,
): Promise<R> {
  const prepare = (loaded: LoadedPlan): void => {
    setInput(loaded, 'step', [model.step]);
    setInput(loaded, 'hyper', model.optimizer.hyper(model.step));
  };
  return model.runner.run(batch, { ...options, mode: 'train', prepare }, (loaded) => {
    model.step++;
    return read(loaded);
  });
}

/** Puts the moving averages that the optimizer keeps in the place of their weights. */
export function useAverages(model: Model): Promise<void> {
  return model.exclusive('changes', async () => {
    const { variables } = model;
    const averages = variables.names().filter((name) => name.endsWith(slotName('', AVERAGE)));
    for (const [name, { shape, data }] of await variables.readLater(averages))
      await variables.take(name.slice(0, -slotName('', AVERAGE).length), shape, data);
  });
}

export async function trainOnBatch(
  model: Model,
  x: Inputs,
  y: Inputs,
  given: TrainOnBatchOptions,
): Promise<Scores> {
  const options = readExampleOptions(given, 'trainOnBatch');
  const contract = model.contract('trainOnBatch', x);
  if (y === undefined) refuse('ERR_VALUE', 'trainOnBatch: y', 'targets', 'nothing');
  const batch = wholeBatch(readExamples(contract, x, y, options));
  checkFixedBatch(contract, batch.indices.length);
  return trainStep(model, batch, { caller: 'trainOnBatch' }, (loaded) => {
    const keeper = model.scoreKeeper();
    keeper.add(loaded, batch.indices.length);
    return keeper.scores();
  });
}

/** Loss and the gradient of every trainable weight on one batch; the model stays as it is. */
export async function computeGradients(
  model: Model,
  x: Inputs,
  y: Inputs,
  given: ExampleOptions,
): Promise<{ loss: number; gradients: Map<string, Tensor> }> {
  const caller = 'computeGradients';
  const options = readExampleOptions(given, caller);
  const contract = model.contract(caller, x);
  const batch = wholeBatch(readExamples(contract, x, y, options));
  checkFixedBatch(contract, batch.indices.length);
  const prepare = (loaded: LoadedPlan) => setInput(loaded, 'step', [model.step]);
  return model.runner.run(batch, { caller, mode: 'gradients', prepare }, ({ executable, plan }) => {
    const prefix = gradientOutput('');
    const found = plan.values.filter((v) => v.role === 'output' && v.name.startsWith(prefix));
    return {
      loss: executable.output('loss')[0] as number,
      gradients: new Map(
        found.map((v) => [v.name.slice(prefix.length), outputTensor(executable, v.name, v.shape)]),
      ),
    };
  });
}
