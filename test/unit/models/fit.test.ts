import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Callback,
  callbacks,
  DeepRnnError,
  type GradientReport,
  layers,
  optimizers,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import { randomSequences, smallModel, whichThird } from './data';

const x = randomSequences(90, 6, 4, 1);
const y = whichThird(x);
const compile = { loss: 'sparseCategoricalCrossentropy', optimizer: 'adam', metrics: ['accuracy'] } as const;

const bits = (weights: Map<string, Tensor>) => [...weights].map(([name, t]) => [name, Array.from(t.data)]);

describe('fit', () => {
  test('learns: the loss falls and the accuracy rises well above chance', async () => {
    const model = smallModel().compile({ ...compile, optimizer: { type: 'adam', learningRate: 0.02 } });
    const history = await model.fit(x, y, { epochs: 40, batchSize: 16 });
    const { loss, accuracy } = history.history as { loss: number[]; accuracy: number[] };
    expect(loss).toHaveLength(40);
    expect(loss.at(-1)).toBeLessThan(0.35 * (loss[0] as number));
    expect(accuracy.at(-1)).toBeGreaterThan(0.9);
    const scores = await model.evaluate(x, y);
    expect(scores['accuracy']).toBeGreaterThan(0.9);
  });

  test('the same seed gives the same bits, with any number of threads', async () => {
    const runs = [];
    for (const threads of [1, 2, 3]) {
      const model = smallModel(5, 0.2).compile({ ...compile, threads });
      const history = await model.fit(x, y, { epochs: 3, batchSize: 16 });
      runs.push({ history: history.toJSON(), weights: bits(await model.getWeights()) });
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  });

  test('another seed gives other weights and another order', async () => {
    const [a, b] = [smallModel(5).compile(compile), smallModel(6).compile(compile)];
    expect(bits(await a.getWeights())).not.toEqual(bits(await b.getWeights()));
  });

  test('the training curve on the CPU engine follows the float64 reference', async () => {
    const curves = [];
    for (const device of ['cpu', 'reference']) {
      const model = smallModel(8, 0.1).compile({ ...compile, device });
      const { history } = await model.fit(x, y, { epochs: 6, batchSize: 15, validationSplit: 0.2 });
      curves.push(history);
    }
    const [cpu, reference] = curves as [Record<string, number[]>, Record<string, number[]>];
    for (const name of ['loss', 'val_loss']) {
      cpu[name]?.forEach((value, epoch) => {
        expect(Math.abs(value - (reference[name]?.[epoch] as number))).toBeLessThanOrEqual(2e-5);
      });
    }
  });

  test('validationSplit takes the last examples, before shuffling', async () => {
    const marked = tensor(
      Float32Array.from({ length: 10 * 2 }, (_, i) => Math.floor(i / 2)),
      [10, 2],
    );
    const model = sequential([layers.dense({ units: 1, inputShape: [2] })], { seed: 1 });
    model.compile({ loss: 'mse', optimizer: 'sgd' });
    const history = await model.fit(marked, tensor(new Float32Array(10)), {
      validationSplit: 0.3,
      batchSize: 4,
    });
    const { loss: expected } = await model.evaluate(marked.rows(7), tensor(new Float32Array(3)));
    expect(history.history['val_loss']?.[0]).toBeCloseTo(expected as number, 5);
  });

  test('a generator gives the same weights as the same batches in memory', async () => {
    const inMemory = smallModel(4).compile(compile);
    await inMemory.fit(x, y, { epochs: 2, batchSize: 30, shuffle: false });
    const generated = smallModel(4).compile(compile);
    await generated.fit(
      async function* () {
        for (let i = 0; i < 90; i += 30) yield [x.rows(i, i + 30), y.rows(i, i + 30)] as const;
      },
      { epochs: 2 },
    );
    expect(bits(await generated.getWeights())).toEqual(bits(await inMemory.getWeights()));
  });

  test('class weights are for training: what is validated is not weighted', async () => {
    const options = { epochs: 1, verbose: 0, classWeight: { 0: 1, 1: 5 }, shuffle: false } as const;
    const half = Math.floor(x.shape[0]! / 2);
    const split = smallModel().compile({ loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
    const { history } = await split.fit(x, y, { ...options, validationSplit: 0.5 });
    const scores = await split.evaluate(
      x.rows(x.shape[0]! - half, x.shape[0]!),
      y.rows(y.shape[0]! - half, y.shape[0]!),
    );
    expect(history['val_loss']?.[0]).toBeCloseTo(scores['loss'] as number, 6);
    expect(history['val_accuracy']?.[0]).toBeCloseTo(scores['accuracy'] as number, 6);
  });

  test('class weights count in the loss and in weighted metrics only', async () => {
    const spec = { ...compile, weightedMetrics: ['accuracy'] } as const;
    const plain = await smallModel().compile(spec).trainOnBatch(x, y);
    const weighted = await smallModel()
      .compile(spec)
      .trainOnBatch(x, y, { classWeight: { 0: 9 } });
    expect(plain['weighted_accuracy']).toBe(plain['accuracy']);
    expect(weighted['accuracy']).toBe(plain['accuracy']);
    expect(weighted['loss']).toBeGreaterThan(2 * (plain['loss'] as number));
    const model = smallModel().compile(spec);
    const predicted = await model.predict(x);
    let [right, all] = [0, 0];
    for (const [n, label] of y.data.entries()) {
      const row = Array.from(predicted.rows(n, n + 1).data);
      const weight = label === 0 ? 9 : 1;
      if (row.indexOf(Math.max(...row)) === label) right += weight;
      all += weight;
    }
    expect(weighted['weighted_accuracy']).toBeCloseTo(right / all, 12);
  });

  test('a checkpoint of another optimizer or loss is refused', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-resume-'));
    try {
      const file = path.join(folder, 'run.safetensors');
      const first = smallModel().compile({ loss: 'sparseCategoricalCrossentropy', optimizer: 'rmsprop' });
      await first.fit(x, y, {
        verbose: 0,
        callbacks: [callbacks.modelCheckpoint({ path: file, checkpoint: true })],
      });
      const other = smallModel().compile({ loss: 'sparseCategoricalCrossentropy', optimizer: 'adam' });
      await expect(other.fit(x, y, { epochs: 2, verbose: 0, resumeFrom: file })).rejects.toThrow(
        /^fit: resumeFrom: optimizer: expected that of the checkpoint, .*rmsprop.*, got .*adam/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("options may stand behind an empty y, as in Keras's fit(generator, None, …)", async () => {
    const forever = function* () {
      for (;;) yield [x, y] as const;
    };
    const model = smallModel().compile({ loss: 'sparseCategoricalCrossentropy' });
    const options = { epochs: 2, stepsPerEpoch: 1, verbose: 0 } as const;
    const { epoch } = await model.fit(forever as never, undefined as never, options);
    expect(epoch).toEqual([0, 1]);
  });

  test('sample weights of zero take examples out; class weights scale by label', async () => {
    const weighted = smallModel(4).compile({ ...compile, optimizer: 'sgd' });
    const sampleWeight = tensor(Float32Array.from({ length: 30 }, (_, i) => (i < 20 ? 1.5 : 0)));
    await weighted.trainOnBatch(x.rows(0, 30), y.rows(0, 30), { sampleWeight });
    const alone = smallModel(4).compile({ ...compile, optimizer: 'sgd' });
    await alone.trainOnBatch(x.rows(0, 20), y.rows(0, 20));
    const [a, b] = [await weighted.getWeights(), await alone.getWeights()];
    for (const [name, t] of a) {
      for (const [i, v] of t.data.entries()) expect(v).toBeCloseTo(b.get(name)?.data[i] as number, 5);
    }

    const byClass = await smallModel(4)
      .compile(compile)
      .trainOnBatch(x.rows(0, 30), y.rows(0, 30), { classWeight: { 0: 3, 2: 0.5 } });
    const factor = [3, 1, 0.5];
    const bySample = await smallModel(4)
      .compile(compile)
      .trainOnBatch(x.rows(0, 30), y.rows(0, 30), {
        sampleWeight: Array.from(y.rows(0, 30).data, (c) => factor[c] as number),
      });
    expect(byClass).toEqual(bySample);
  });

  /** The order in which examples 1 … 8 were trained on, by epoch: example k costs k². */
  async function orders(options: {
    stateful?: boolean;
    shuffle?: boolean;
    seed?: number;
  }): Promise<number[][]> {
    const { stateful = false, ...rest } = options;
    const model = sequential(
      [
        layers.simpleRNN({
          units: 1,
          activation: 'linear',
          kernelInitializer: 'ones',
          recurrentInitializer: 'zeros',
          batchInputShape: [1, 1, 1],
          stateful,
        }),
      ],
      { seed: 1 },
    );
    model.compile({ loss: 'mse', optimizer: { type: 'sgd', learningRate: 0 } });
    const found: number[][] = [];
    let sum = 0;
    const watch: Callback = {
      onEpochBegin: () => {
        found.push([]);
        sum = 0;
      },
      onBatchEnd: (batch, logs) => {
        const cost = (logs['loss'] as number) * (batch + 1) - sum;
        sum += cost;
        found.at(-1)?.push(Math.round(Math.sqrt(cost)));
      },
    };
    const examples = tensor(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [8, 1, 1]);
    const targets = tensor(new Float32Array(8), [8, 1]);
    await model.fit(examples, targets, { ...rest, epochs: 3, batchSize: 1, callbacks: [watch] });
    return found;
  }
  const inOrder = [1, 2, 3, 4, 5, 6, 7, 8];

  test('every epoch has an order of its own, drawn from the seed; stateful models keep theirs', async () => {
    const shuffled = await orders({});
    expect(shuffled.map((order) => [...order].sort())).toEqual([inOrder, inOrder, inOrder]);
    expect(new Set(shuffled.map((order) => order.join())).size).toBe(3);
    expect(shuffled[0]).not.toEqual(inOrder);
    expect(await orders({})).toEqual(shuffled);
    expect(await orders({ seed: 2 })).not.toEqual(shuffled);
    expect(await orders({ shuffle: false })).toEqual([inOrder, inOrder, inOrder]);
    expect(await orders({ stateful: true, shuffle: true })).toEqual([inOrder, inOrder, inOrder]);
  });

  test('a resumed generator goes on behind the batches that were done', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-'));
    try {
      const file = path.join(folder, 'run.safetensors');
      const options = { epochs: 2, verbose: 0 } as const;
      const batches = function* () {
        for (let i = 0; i < 90; i += 15) yield [x.rows(i, i + 15), y.rows(i, i + 15)] as const;
      };
      const whole = smallModel(9).compile(compile);
      const full = await whole.fit(batches, options);
      const first = smallModel(9).compile(compile);
      const stop: Callback = {
        onBatchEnd: async (batch) => {
          if (first.step !== 9) return;
          expect(batch).toBe(2);
          await first.save(file, { checkpoint: true });
          throw new Error('power cut');
        },
      };
      await expect(first.fit(batches, { ...options, callbacks: [stop] })).rejects.toThrow('power cut');
      const second = smallModel(1).compile(compile);
      const rest = await second.fit(batches, { ...options, resumeFrom: file });
      expect(rest.toJSON()).toEqual(full.toJSON());
      expect(second.step).toBe(12);
      expect(bits(await second.getWeights())).toEqual(bits(await whole.getWeights()));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a checkpoint resumes bit for bit, at the end of an epoch and in the middle of one', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-'));
    try {
      const options = { epochs: 4, batchSize: 16, validationSplit: 0.2 };
      const whole = smallModel(9, 0.3).compile(compile);
      const full = await whole.fit(x, y, options);
      for (const [name, stopAt] of [
        ['epoch', { epoch: 1, batch: -1 }],
        ['batch', { epoch: 2, batch: 2 }],
      ] as const) {
        const file = path.join(folder, `${name}.safetensors`);
        const first = smallModel(9, 0.3).compile(compile);
        let epoch = 0;
        const stop: Callback = {
          onEpochBegin: (e) => {
            epoch = e;
          },
          onBatchEnd: async (batch) => {
            if (epoch === stopAt.epoch && batch === stopAt.batch) {
              await first.save(file, { checkpoint: true });
              throw new Error('power cut');
            }
          },
          onEpochEnd: async (e) => {
            if (e === stopAt.epoch && stopAt.batch < 0) {
              await first.save(file, { checkpoint: true });
              throw new Error('power cut');
            }
          },
        };
        await expect(first.fit(x, y, { ...options, callbacks: [stop] })).rejects.toThrow('power cut');
        const second = smallModel(1, 0.3).compile(compile);
        const rest = await second.fit(x, y, { ...options, resumeFrom: file });
        expect(rest.toJSON()).toEqual(full.toJSON());
        expect(bits(await second.getWeights())).toEqual(bits(await whole.getWeights()));
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('an aborted fit keeps its last weights, whatever callbacks restore at its end', async () => {
    const model = smallModel(9).compile(compile);
    const controller = new AbortController();
    let last: Map<string, Tensor> | undefined;
    const rising: Callback = {
      onEpochEnd: (epoch, logs) => {
        logs['watched'] = epoch;
      },
    };
    const abort: Callback = {
      last: true,
      onEpochEnd: async (epoch) => {
        if (epoch < 2) return;
        last = await model.getWeights();
        controller.abort();
      },
    };
    const stopping = callbacks.earlyStopping({
      monitor: 'watched',
      mode: 'min',
      patience: 9,
      restoreBestWeights: true,
    });
    const options = { epochs: 9, signal: controller.signal, callbacks: [rising, stopping, abort] };
    await expect(model.fit(x, y, options)).rejects.toThrow('aborted by its signal');
    expect(bits(await model.getWeights())).toEqual(bits(last as Map<string, Tensor>));
  });

  test('an aborted fit rejects with ERR_ABORTED and leaves a usable model', async () => {
    const model = smallModel().compile(compile);
    const controller = new AbortController();
    const abort: Callback = { onBatchEnd: (batch) => (batch === 1 ? controller.abort() : undefined) };
    const failure = await model
      .fit(x, y, { epochs: 50, signal: controller.signal, callbacks: [abort] })
      .catch((e) => e);
    expect(failure).toBeInstanceOf(DeepRnnError);
    expect(failure.code).toBe('ERR_ABORTED');
    expect(failure.message).toBe('fit: aborted by its signal; the model stays usable.');
    expect(model.step).toBe(2);
    await model.fit(x, y, { epochs: 1 });
    expect((await model.predict(x)).shape).toEqual([90, 3]);
  });

  test('predict may be called while fit runs, and fit refuses to run twice', async () => {
    const model = smallModel().compile(compile);
    const running = model.fit(x, y, { epochs: 5 });
    await expect(model.fit(x, y)).rejects.toThrow(
      "fit: model 'sequential' is in fit. Wait for its promise first.",
    );
    const outputs = await Promise.all([model.predict(x), model.predict(x.rows(0, 5))]);
    expect(outputs.map((o) => o.shape)).toEqual([
      [90, 3],
      [5, 3],
    ]);
    await running;
  });

  test('callbacks are called in order, and an error in one ends the fit with it', async () => {
    const calls: string[] = [];
    const log: Callback = {
      onTrainBegin: () => void calls.push('train'),
      onEpochBegin: (e) => void calls.push(`epoch ${e}`),
      onBatchBegin: (b) => void calls.push(`batch ${b}`),
      onBatchEnd: (b, logs) => void calls.push(`done ${b} ${Object.keys(logs).join()}`),
      onEpochEnd: (e, logs) => void calls.push(`end ${e} ${Object.keys(logs).join()}`),
      onTrainEnd: () => void calls.push('stop'),
    };
    const model = smallModel().compile(compile);
    await model.fit(x, y, { batchSize: 60, validationData: [x, y], callbacks: [log] });
    expect(calls).toEqual([
      'train',
      'epoch 0',
      'batch 0',
      'done 0 loss,accuracy',
      'batch 1',
      'done 1 loss,accuracy',
      'end 0 loss,accuracy,val_loss,val_accuracy',
      'stop',
    ]);
  });

  test('gradient norms are those of the gradients', async () => {
    const model = smallModel(2).compile({ ...compile, optimizer: { type: 'sgd', clipNorm: 1e-3 } });
    const { gradients } = await model.computeGradients(x.rows(0, 32), y.rows(0, 32));
    const reports: GradientReport[] = [];
    const asking: Callback = { gradientsEvery: 1, onGradients: (r) => void reports.push(r) };
    await model.fit(x.rows(0, 32), y.rows(0, 32), { shuffle: false, callbacks: [asking] });
    const [report] = reports;
    let squares = 0;
    for (const [name, { data }] of gradients) {
      const norm = Math.hypot(...data);
      squares += norm * norm;
      expect(report?.weights[name]).toBeCloseTo(norm, 5);
    }
    expect(report?.globalNorm).toBeCloseTo(Math.sqrt(squares), 5);
    expect(Object.keys(report?.steps ?? {})).toEqual(['lstm', 'gru']);
    expect(report?.steps['gru']).toHaveLength(6);
    // Every step's gradient is there, and the last is what the dense layer sends down.
    for (const norm of report?.steps['lstm'] ?? []) expect(norm).toBeGreaterThan(0);
  });

  test('gradients are asked for from the first step of every fit', async () => {
    const model = smallModel(2).compile(compile);
    await model.fit(x.rows(0, 3), y.rows(0, 3), { batchSize: 1 });
    const asked: number[] = [];
    const asking: Callback = { gradientsEvery: 4, onGradients: (_, __, batch) => void asked.push(batch) };
    const health = callbacks.gradientHealth({ report: 'none' });
    await model.fit(x.rows(0, 9), y.rows(0, 9), { batchSize: 1, callbacks: [asking, health] });
    expect(asked).toEqual([0, 4, 8]);
    expect(health.summary().reports).toBe(1);
  });

  test('models that were given one optimizer object keep a learning rate each', async () => {
    const optimizer = optimizers.nadam({ learningRate: 0.01, globalClipNorm: 1 });
    const [a, b] = [smallModel(), smallModel()].map((model) => model.compile({ ...compile, optimizer }));
    const lower = callbacks.learningRateScheduler(() => 1e-3);
    await a?.fit(x, y, { callbacks: [lower] });
    expect(a?.learningRate).toBe(1e-3);
    expect(b?.learningRate).toBe(0.01);
    expect(b?.optimizer.getConfig()).toEqual(optimizer.getConfig());
    const [alone] = [smallModel().compile({ ...compile, optimizer: optimizer.getConfig() as never })];
    await Promise.all([b?.fit(x, y), alone?.fit(x, y)]);
    expect(bits((await b?.getWeights()) as Map<string, Tensor>)).toEqual(
      bits((await alone?.getWeights()) as Map<string, Tensor>),
    );
  });

  test('callbacks are told which metrics are the better the larger they are', async () => {
    const model = sequential([layers.dense({ units: 2, inputShape: [3] })]).compile({
      loss: 'mse',
      metrics: [{ type: 'r2', name: 'explained' }, 'mae', { type: 'mse', name: 'accident' }, 'accuracy'],
      weightedMetrics: ['accuracy'],
    });
    let told: readonly string[] = [];
    const asking: Callback = {
      onTrainBegin: (_, { largerIsBetter }) => {
        told = largerIsBetter;
      },
    };
    await model.fit([[1, 2, 3]], [[1, 2]], { callbacks: [asking] });
    expect(told).toEqual(['explained', 'accuracy', 'weighted_accuracy']);
  });

  test('custom callbacks and early stopping work together', async () => {
    const model = smallModel().compile(compile);
    const history = await model.fit(x, y, {
      epochs: 30,
      validationSplit: 0.3,
      callbacks: [callbacks.earlyStopping({ monitor: 'val_loss', patience: 0, minDelta: 10 })],
    });
    expect(history.epoch).toEqual([0, 1]);
  });
});
