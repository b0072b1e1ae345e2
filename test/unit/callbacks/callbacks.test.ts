import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { callbacks, type Logs } from '../../../lib';
import { drive, FakeModel, goOn, losses, params } from './fakeModel';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-callbacks-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('earlyStopping', () => {
  test('stops after `patience` epochs without improvement', async () => {
    const model = new FakeModel();
    expect(await drive(callbacks.earlyStopping({ patience: 2 }), model, losses(5, 4, 4.5, 4.2, 3, 2))).toBe(
      4,
    );
    expect(model.weight).toBe(3);
  });

  test('gives the best weights back', async () => {
    const model = new FakeModel();
    await drive(
      callbacks.earlyStopping({ patience: 2, restoreBestWeights: true }),
      model,
      losses(5, 4, 4.5, 4.2, 3),
    );
    expect(model.weight).toBe(1);
  });

  test('minDelta: a smaller change is none', async () => {
    expect(
      await drive(
        callbacks.earlyStopping({ patience: 1, minDelta: 0.5 }),
        new FakeModel(),
        losses(5, 4.6, 4),
      ),
    ).toBe(2);
  });

  test('larger is better for an accuracy, by its name', async () => {
    const epochs = [0.5, 0.6, 0.55].map((v) => ({ loss: 1, val_accuracy: v }));
    expect(
      await drive(callbacks.earlyStopping({ monitor: 'val_accuracy', patience: 1 }), new FakeModel(), epochs),
    ).toBe(3);
    expect(
      await drive(
        callbacks.earlyStopping({ monitor: 'val_accuracy', mode: 'min', patience: 1 }),
        new FakeModel(),
        epochs,
      ),
    ).toBe(2);
  });

  test("'auto' goes by the metric, whatever it is called", async () => {
    const rising = [1, 2, 3].map((v) => ({ loss: 1, val_explained: v, val_accident: v }));
    const stops = async (monitor: string, options: object = {}) => {
      const callback = callbacks.earlyStopping({ monitor, patience: 1, ...options });
      const model = new FakeModel();
      const metrics = ['loss', 'explained', 'accident'];
      await callback.onTrainBegin?.(model, { ...params, metrics, largerIsBetter: ['explained'] });
      return goOn(callback, model, rising, 0);
    };
    expect(await stops('val_explained')).toBe(3);
    expect(await stops('val_accident')).toBe(2);
    expect(await stops('val_explained', { mode: 'min' })).toBe(2);
    expect(await stops('val_accident', { mode: 'max' })).toBe(3);
  });

  test('baseline: improvement that does not reach it does not reset the wait', async () => {
    const epochs = losses(5, 4, 4.5, 4.4, 4.3);
    expect(await drive(callbacks.earlyStopping({ patience: 3, baseline: 1 }), new FakeModel(), epochs)).toBe(
      3,
    );
    expect(await drive(callbacks.earlyStopping({ patience: 3 }), new FakeModel(), epochs)).toBe(5);
  });

  test('startFromEpoch waits before it watches', async () => {
    expect(
      await drive(
        callbacks.earlyStopping({ patience: 1, startFromEpoch: 3 }),
        new FakeModel(),
        losses(1, 2, 3, 4, 5, 6),
      ),
    ).toBe(5);
  });

  test('its state goes on where it was, best weights included', async () => {
    const options = { patience: 2, restoreBestWeights: true };
    const first = callbacks.earlyStopping(options);
    const model = new FakeModel();
    await first.onTrainBegin?.(model, params);
    for (const [epoch, logs] of losses(3, 2, 2.5).entries()) {
      model.weight = epoch;
      await first.onEpochEnd?.(epoch, logs);
    }
    const second = callbacks.earlyStopping(options);
    const other = new FakeModel();
    await second.onTrainBegin?.(other, params);
    const state = JSON.stringify(first.getState?.());
    expect(state.length).toBeLessThan(50);
    second.setState?.(JSON.parse(state), first.getArrays?.() ?? new Map());
    expect(await goOn(second, other, losses(2.4, 1), 3)).toBe(1);
    expect(other.weight).toBe(1);
  });

  test('best weights come back only where the fit ends by itself', async () => {
    for (const [error, weight] of [
      [undefined, 1],
      [new Error('aborted'), 2],
    ] as const) {
      const callback = callbacks.earlyStopping({ patience: 9, restoreBestWeights: true });
      const model = new FakeModel();
      await callback.onTrainBegin?.(model, params);
      for (const [epoch, logs] of losses(3, 2, 2.5).entries()) {
        model.weight = epoch;
        await callback.onEpochEnd?.(epoch, logs);
      }
      await callback.onTrainEnd?.({}, error);
      expect(model.weight).toBe(weight);
    }
  });

  test.each<[string, string, Logs, string]>([
    [
      'the nearest',
      'val_acuracy',
      { loss: 1, accuracy: 1, val_loss: 1, val_accuracy: 1 },
      "expected one of loss, accuracy, val_loss, val_accuracy, got 'val_acuracy'. Did you mean 'val_accuracy'?",
    ],
    [
      'the nearest',
      'acuracy',
      { loss: 1, accuracy: 1 },
      "expected one of loss, accuracy, got 'acuracy'. Did you mean 'accuracy'?",
    ],
    [
      'validation where there is none',
      'val_accuracy',
      { loss: 1, accuracy: 1 },
      "expected one of loss, accuracy, got 'val_accuracy'. Give fit validationData or a validationSplit.",
    ],
    [
      'nothing where none is near',
      'val_acc',
      { loss: 1, val_loss: 1 },
      "expected one of loss, val_loss, got 'val_acc'.",
    ],
  ])('an unknown name in the logs is refused with %s', async (_, monitor, logs, message) => {
    const driven = drive(callbacks.earlyStopping({ monitor }), new FakeModel(), [logs]);
    await expect(driven).rejects.toThrow(
      expect.objectContaining({ message: `callbacks.earlyStopping: monitor: ${message}` }),
    );
  });

  test('bad options', () => {
    expect(() => callbacks.earlyStopping({ patience: -1 })).toThrow(
      'callbacks.earlyStopping: patience: expected an integer, 0 or more, got -1.',
    );
    expect(() => callbacks.earlyStopping({ patienc: 1 } as never)).toThrow(
      "callbacks.earlyStopping: unknown option 'patienc'. Did you mean 'patience'?",
    );
  });
});

describe('reduceLROnPlateau', () => {
  test('multiplies the rate after `patience` epochs without improvement, then cools down', async () => {
    const model = new FakeModel();
    const callback = callbacks.reduceLROnPlateau({ factor: 0.5, patience: 2, cooldown: 1 });
    const rates: number[] = [];
    await callback.onTrainBegin?.(model, params);
    for (const logs of losses(3, 3, 3, 3, 3, 3, 3)) {
      await callback.onEpochEnd?.(0, logs);
      rates.push(model.learningRate);
    }
    // Epoch 0 is best; 1, 2 wait → halved; cooling ends in 3, which waits as well; 4 waits → halved; …
    expect(rates).toEqual([0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125]);
  });

  test('stays at minLR', async () => {
    const model = new FakeModel();
    await drive(
      callbacks.reduceLROnPlateau({ factor: 0.1, patience: 1, minLR: 0.004 }),
      model,
      losses(1, 1, 1, 1),
    );
    expect(model.learningRate).toBe(0.004);
  });
});

test('learningRateScheduler sets the rate of every epoch', async () => {
  const model = new FakeModel();
  await drive(
    callbacks.learningRateScheduler((epoch, rate) => (epoch < 2 ? rate : rate / 2)),
    model,
    losses(1, 1, 1, 1),
  );
  expect(model.learningRate).toBe(0.025);
});

test('learningRateScheduler writes the rate into the logs', async () => {
  const callback = callbacks.learningRateScheduler(() => 0.5);
  const logs: Logs = { loss: 1 };
  await callback.onTrainBegin?.(new FakeModel(), params);
  await callback.onEpochBegin?.(0);
  await callback.onEpochEnd?.(0, logs);
  expect(logs['learningRate']).toBe(0.5);
});

test('terminateOnNaN stops at the first loss that is not finite', async () => {
  expect(await drive(callbacks.terminateOnNaN(), new FakeModel(), losses(1, Number.NaN, 1))).toBe(2);
  expect(
    await drive(callbacks.terminateOnNaN(), new FakeModel(), losses(1, Number.POSITIVE_INFINITY, 1)),
  ).toBe(2);
  expect(await drive(callbacks.terminateOnNaN(), new FakeModel(), losses(1, 1))).toBe(2);
});

describe('modelCheckpoint', () => {
  test('after every epoch, names filled in, checkpoints by default', async () => {
    const model = new FakeModel();
    await drive(callbacks.modelCheckpoint({ path: 'run-{epoch}-{val_loss:2}' }), model, losses(1.234, 0.5));
    expect(model.saved).toEqual([
      { path: 'run-1-1.23', checkpoint: true },
      { path: 'run-2-0.50', checkpoint: true },
    ]);
  });

  test('only the best, only the newest two kept, or every n batches', async () => {
    const model = new FakeModel();
    await drive(
      callbacks.modelCheckpoint({ path: 'best', saveBestOnly: true, checkpoint: false }),
      model,
      losses(3, 4, 2, 2),
    );
    expect(model.saved).toEqual([
      { path: 'best', checkpoint: false },
      { path: 'best', checkpoint: false },
    ]);
    const files = ['1', '2', '3'].map((n) => path.join(folder, `kept-${n}`));
    for (const file of files) writeFileSync(file, '');
    await drive(
      callbacks.modelCheckpoint({ path: path.join(folder, 'kept-{epoch}'), keep: 2 }),
      new FakeModel(),
      losses(1, 1, 1),
    );
    expect(() => readFileSync(files[0] as string)).toThrow('ENOENT');
    expect(readFileSync(files[1] as string, 'utf8')).toBe('');
    const often = new FakeModel();
    await drive(callbacks.modelCheckpoint({ path: 'often', saveFreq: 3 }), often, losses(1, 1));
    expect(often.saved).toHaveLength(2);
  });

  test("names in Keras's form", async () => {
    const model = new FakeModel();
    const path = 'run-{epoch:02d}-{val_loss:.3f}-{loss:07.2f}-{epoch:3d}';
    await drive(callbacks.modelCheckpoint({ path }), model, losses(1.2346, 0.5));
    expect(model.saved.map((s) => s.path)).toEqual(['run-01-1.235-0002.47-  1', 'run-02-0.500-0001.00-  2']);
    await expect(
      drive(callbacks.modelCheckpoint({ path: '{loss:d}' }), new FakeModel(), losses(0.3)),
    ).rejects.toThrow('callbacks.modelCheckpoint: path: expected a whole number for {loss:d}, got 0.6.');
  });

  test.each(['{epoch:x}', '{epoch', '}', '{}', '{val loss}'])('%s would stay in the file name', (left) => {
    expect(() => callbacks.modelCheckpoint({ path: `run-{epoch}-${left}` })).toThrow(
      `callbacks.modelCheckpoint: path: expected numbers written as {name}, {name:4}, {name:02d} or {name:.4f}, got '${left}'.`,
    );
  });

  test('a name that the logs do not have', async () => {
    await expect(
      drive(callbacks.modelCheckpoint({ path: '{val_los}' }), new FakeModel(), losses(1)),
    ).rejects.toThrow(
      'callbacks.modelCheckpoint: path: expected names among epoch, loss, val_loss, got {val_los}.',
    );
  });

  test('it runs after the others, so that what it saves holds their state', () => {
    expect(callbacks.modelCheckpoint({ path: 'x' }).last).toBe(true);
  });
});

describe('csvLogger', () => {
  test('a header, then a line per epoch; append goes on', async () => {
    const file = path.join(folder, 'log.csv');
    await drive(callbacks.csvLogger({ path: file }), new FakeModel(), losses(1.5, 0.25));
    expect(readFileSync(file, 'utf8')).toBe('epoch,loss,val_loss\n0,3,1.5\n1,0.5,0.25\n');
    await drive(callbacks.csvLogger({ path: file, append: true }), new FakeModel(), losses(7), 2);
    expect(readFileSync(file, 'utf8')).toBe('epoch,loss,val_loss\n0,3,1.5\n1,0.5,0.25\n2,14,7\n');
    await drive(callbacks.csvLogger({ path: file, separator: ';' }), new FakeModel(), losses(1));
    expect(readFileSync(file, 'utf8')).toBe('epoch;loss;val_loss\n0;2;1\n');
  });

  test('a file that cannot be written', async () => {
    await expect(
      drive(callbacks.csvLogger({ path: path.join(folder, 'none', 'log.csv') }), new FakeModel(), losses(1)),
    ).rejects.toThrow(/^callbacks\.csvLogger: '.*log\.csv' could not be written: ENOENT/);
  });
});

describe('progress', () => {
  const stream = () => {
    const written: string[] = [];
    return {
      written,
      write: (text: string) => written.push(text),
      isTTY: false,
    } as unknown as NodeJS.WriteStream & { written: string[] };
  };

  test('plain lines, one per epoch, where there is no terminal', async () => {
    const out = stream();
    await drive(callbacks.progress({ stream: out }), new FakeModel(), losses(1.5, 0.00025));
    expect(out.written).toHaveLength(2);
    expect(out.written[0]).toMatch(
      /^epoch 1\/10 4 steps {2}loss 3\.0000 {2}val_loss 1\.5000 {2}\d+\.\d\d ms\/step {2}\d+ s left\n$/,
    );
    expect(out.written[1]).toMatch(/^epoch 2\/10 4 steps {2}loss 5\.00e-4 {2}val_loss 2\.50e-4 /);
  });
});
