import { onEmulatedDevice } from './emulatedDevice';

/** Memory from pools, and where a device has none. */
describe.each(['1', '0'])('with memory pools: %s', (DEEPRNN_EMULATOR_POOLS) => {
  /** Everything is small, since the emulated device is slow. */
  const run = (script: string, kilobytes: number) =>
    onEmulatedDevice(script, {
      DEEPRNN_EMULATOR_POOLS,
      DEEPRNN_EMULATOR_MEMORY: String(kilobytes * 1000),
    }).shown;

  test('what is too large is said with what was asked, what was free and the batch that fits, which does', () => {
    const [message, smaller, larger] = run(
      `
      const m = model();
      const [many, labels] = [tensor(new Float32Array(3000 * 5 * 3), [3000, 5, 3]), tensor(new Int32Array(3000))];
      const first = (n) => m.trainOnBatch(many.rows(0, n), labels.rows(0, n));
      const message = await failure(() => first(3000));
      show(message);
      const fits = Number(/A batch of (\\d+) would fit/.exec(message)[1]);
      show(await failure(() => first(fits)));
      show(await failure(() => first(Math.ceil(1.2 * fits))));
    `,
      250,
    );
    expect(message).toMatch(
      /^ERR_DEVICE cuda engine: out of device memory: a plan needs \d+\.\d [KM]iB \(its buffers alone \d+\.\d [KM]iB\), and \d+\.\d [KM]iB are free\. A batch of \d+ would fit, not one of 3000\.$/,
    );
    expect(smaller).toBe('nothing');
    expect(larger).toMatch(/^ERR_DEVICE cuda engine: out of device memory: .* would fit, not one of \d+\.$/);
  });

  test('where not even one example fits, that is said', () => {
    const [message] = run(
      `
      const long = tensor(new Float32Array(2 * 20000 * 3), [2, 20000, 3]);
      show(await failure(() => model().predict(long)));
    `,
      100,
    );
    expect(message).toMatch(
      /[KM]iB are free\. Not even one example would fit: use fewer steps or smaller layers\.$/,
    );
  });

  test('weights that do not fit are refused when the model comes to the device, and another model can be made', () => {
    const [message, after] = run(
      `
      show(await failure(() => model('cuda', 400)));
      show(await failure(() => model().predict(x.rows(0, 4))));
    `,
      500,
    );
    expect(message).toMatch(
      /^ERR_DEVICE cuda engine: out of device memory: a variable needs 625\.0 KiB, and \d+\.\d KiB of 488\.3 KiB are free\. Fewer or smaller layers would fit\.$/,
    );
    expect(after).toBe('nothing');
  });

  test('plans that are kept for other batches make room', () => {
    const shown = run(
      `
      const m = model();
      for (const rows of [64, 63, 62, 64])
        show(await failure(() => m.predict(x.rows(0, rows), { batchSize: 64 })));
    `,
      70,
    );
    expect(shown).toEqual(['nothing', 'nothing', 'nothing', 'nothing']);
  });

  test('the memory of models that are disposed of comes back', () => {
    const shown = run(
      `
      for (let i = 0; i < 6; i++) {
        const m = model();
        show(await failure(() => m.predict(x, { batchSize: 64 })));
        m.dispose();
      }
    `,
      70,
    );
    expect(shown).toEqual(new Array(6).fill('nothing'));
  });
});
