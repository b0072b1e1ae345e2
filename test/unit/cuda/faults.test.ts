import { onEmulatedDevice } from './emulatedDevice';

const cause =
  'cudaErrorLaunchFailure (a fault that was asked for) from cudaStreamSynchronize(session_.stream()) in executable.cpp';

test('after a fault every call says the first cause, and a new model can be made when the old ones are gone', () => {
  const { shown } = onEmulatedDevice(
    `
    const broken = model(), beside = model(), cpu = model('cpu');
    await broken.trainOnBatch(x, y);
    await beside.predict(x, { batchSize: 64 });
    show(await failure(() => broken.trainOnBatch(x, y)));
    for (const call of [
      () => broken.trainOnBatch(x, y),
      () => broken.predict(x, { batchSize: 7 }),
      () => broken.getWeights(),
      () => beside.fit(x, y, { batchSize: 7, verbose: 0 }),
    ]) show(await failure(call));
    show(await failure(() => model()));
    show(await failure(() => cpu.fit(x, y, { verbose: 0 })));
    broken.dispose();
    show(await failure(() => model()));
    beside.dispose();
    const next = model();
    show(await failure(() => next.fit(x, y, { batchSize: 7, verbose: 0 })));
    const same = (await next.predict(x)).data.every((p) => p >= 0 && p <= 1);
    show(same);
  `,
    { DEEPRNN_EMULATOR_FAULT: '3' },
  );
  const [first, ...rest] = shown as string[];
  expect(first).toMatch(/^ERR_DEVICE cuda engine: CUDA device 0: /);
  expect(first).toContain(cause);
  for (const later of rest.slice(0, 4)) {
    expect(later).toMatch(
      /^ERR_DEVICE cuda engine: CUDA device 0 failed earlier, and what models held on it is lost: /,
    );
    expect(later).toContain(cause);
  }
  const [withBoth, onCpu, withOne, afterwards, same] = rest.slice(4);
  for (const refused of [withBoth, withOne]) {
    expect(refused).toContain(cause);
    expect(refused).toMatch(/ Dispose of all models on this device, then make a new one\.$/);
  }
  expect([onCpu, afterwards, same]).toEqual(['nothing', 'nothing', true]);
});

test('where the driver does not give the device back, that is said with the cause', () => {
  const { shown } = onEmulatedDevice(
    `
    const broken = model();
    show(await failure(() => broken.predict(x)));
    broken.dispose();
    show(await failure(() => model()));
    show(await failure(() => model('cpu').predict(x)));
  `,
    { DEEPRNN_EMULATOR_FAULT: '1', DEEPRNN_EMULATOR_RESET: '0' },
  );
  expect(shown[1]).toMatch(/^ERR_DEVICE cuda engine: CUDA device 0: /);
  expect(shown[1]).toContain(
    'The driver does not give the device back after an earlier fault; start the process anew.',
  );
  expect(shown[1]).toContain(`The fault was: ${cause}`);
  expect(shown[2]).toBe('nothing');
});
