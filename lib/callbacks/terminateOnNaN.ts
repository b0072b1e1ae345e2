import type { Callback, CallbackModel } from './callback';

/** Ends training as soon as the loss is NaN or infinite. */
export function terminateOnNaN(): Callback {
  let model: CallbackModel | undefined;
  return {
    onTrainBegin(m) {
      model = m;
    },
    onBatchEnd(_batch, logs) {
      if (model && !Number.isFinite(logs['loss'])) model.stopTraining = true;
    },
  };
}
