import type {
  Callback,
  CallbackModel,
  Logs,
  TrainingParams,
  WeightValues,
} from '../../../lib/callbacks/callback';
import { tensor } from '../../../lib/tensors/tensor';

/** A model whose only weight is a number that the test sets. */
export class FakeModel implements CallbackModel {
  readonly name = 'fake';
  stopTraining = false;
  learningRate = 0.1;
  step = 0;
  weight = 0;
  saved: { path: string; checkpoint: boolean | undefined }[] = [];

  async getWeights() {
    return new Map([['layer/kernel', tensor(Float32Array.of(this.weight))]]);
  }

  async setWeights(weights: ReadonlyMap<string, WeightValues>) {
    this.weight = weights.get('layer/kernel')?.data[0] as number;
  }

  async save(path: string, options: { checkpoint?: boolean } = {}) {
    this.saved.push({ path, checkpoint: options.checkpoint });
  }
}

export const params: TrainingParams = {
  epochs: 10,
  initialEpoch: 0,
  stepsPerEpoch: 4,
  batchSize: 8,
  metrics: ['loss'],
  largerIsBetter: [],
  validation: true,
};

/** Runs epochs with these logs until the callback stops; gives the number run. `model.weight` is the epoch's number. */
export async function drive(
  callback: Callback,
  model: FakeModel,
  epochs: readonly Logs[],
  first = 0,
): Promise<number> {
  await callback.onTrainBegin?.(model, params);
  return goOn(callback, model, epochs, first);
}

export async function goOn(
  callback: Callback,
  model: FakeModel,
  epochs: readonly Logs[],
  first: number,
): Promise<number> {
  let run = 0;
  for (const [i, logs] of epochs.entries()) {
    const epoch = first + i;
    model.weight = epoch;
    await callback.onEpochBegin?.(epoch);
    for (let batch = 0; batch < 4; batch++) await callback.onBatchEnd?.(batch, logs);
    await callback.onEpochEnd?.(epoch, logs);
    run++;
    if (model.stopTraining) break;
  }
  await callback.onTrainEnd?.(epochs[run - 1] as Logs);
  return run;
}

export const losses = (...values: number[]): Logs[] => values.map((v) => ({ loss: v * 2, val_loss: v }));
