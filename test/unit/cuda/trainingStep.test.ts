import { onEmulatedDevice } from './emulatedDevice';

test('a training step allocates nothing and waits for the device once, when all its plans are loaded', () => {
  const { log } = onEmulatedDevice(`
    const m = model();
    // 64 examples: four batches of 14 and one of 8.
    await m.fit(x, y, { batchSize: 14, verbose: 0 });
    mark('loaded');
    await m.fit(x, y, { batchSize: 14, epochs: 3, verbose: 0 });
    mark('trained');
    await m.evaluate(x, y, { batchSize: 14 });
    await m.predict(x, { batchSize: 14 });
    mark('asked');
    await m.evaluate(x, y, { batchSize: 14 });
    await m.predict(x, { batchSize: 14 });
  `);
  const after = (begin: string, end?: string) =>
    log.slice(log.indexOf(begin) + 1, end === undefined ? undefined : log.indexOf(end));
  expect(after('loaded', 'trained').join()).toBe(new Array(15).fill('launch,wait').join());
  expect(after('trained', 'asked').filter((line) => line.startsWith('allocate')).length).toBeGreaterThan(5);
  // What follows is the end of the process, in which memory is given back.
  expect(after('asked').slice(0, 20).join()).toBe(new Array(10).fill('launch,wait').join());
  expect(after('asked').filter((line) => line.startsWith('allocate'))).toEqual([]);
});
