import { onEmulatedDevice } from './emulatedDevice';

const uuid = (last: string) => `GPU-00010203-0405-0607-0809-0a0b0c0d0e${last}`;

/** What `devices()` lists for CUDA, and what comes of asking for each of some devices. */
function ask(names: readonly string[], environment: Record<string, string>) {
  const { shown } = onEmulatedDevice(
    `
    show(devices().filter(({ engine }) => engine === 'cuda'));
    for (const name of ${JSON.stringify(names)}) show(await failure(() => model(name).predict(x)));
  `,
    environment,
  );
  return { listed: shown[0] as Record<string, unknown>[], answers: shown.slice(1) };
}

test('devices are listed with what they are, and chosen by number or UUID', () => {
  const names = ['cuda', 'cuda:1', `cuda:${uuid('11')}`];
  const { listed, answers } = ask(names, { DEEPRNN_EMULATOR_DEVICES: '3', DEEPRNN_EMULATOR_MEMORY: '9e6' });
  expect(listed.map(({ device }) => device)).toEqual(['cuda:0', 'cuda:1', 'cuda:2']);
  expect(listed.map((d) => d['uuid'])).toEqual([uuid('0f'), uuid('10'), uuid('11')]);
  expect(listed[2]).toMatchObject({
    available: true,
    name: 'emulated device',
    memory: 9e6,
    computeCapability: '9.0',
  });
  expect(answers).toEqual(['nothing', 'nothing', 'nothing']);
});

test('a device that is not there is refused with those that are', () => {
  const names = ['cuda:2', `cuda:${uuid('12')}`, 'cuda:GPU-00010203', 'cuda:GPU-0001', 'cuda:GPU-xyz'];
  const { answers } = ask(names, { DEEPRNN_EMULATOR_DEVICES: '2' });
  const there = `There are: 0 (emulated device, ${uuid('0f')}), 1 (emulated device, ${uuid('10')}).`;
  expect(answers).toEqual([
    `ERR_DEVICE cuda engine: there is no CUDA device '2'. ${there}`,
    `ERR_DEVICE cuda engine: there is no CUDA device '${uuid('12')}'. ${there}`,
    "ERR_DEVICE cuda engine: more than one CUDA device has a UUID that begins with 'GPU-00010203'. Write it whole.",
    "ERR_DEVICE cuda engine: more than one CUDA device has a UUID that begins with 'GPU-0001'. Write it whole.",
    "ERR_VALUE device: expected 'cpu', 'cuda', 'cuda:<number or UUID>' or 'reference', got 'cuda:GPU-xyz'.",
  ]);
});

test('CUDA_VISIBLE_DEVICES hides and orders devices', () => {
  const { listed, answers } = ask(['cuda:0', 'cuda:1', 'cuda:2', `cuda:${uuid('10')}`], {
    DEEPRNN_EMULATOR_DEVICES: '3',
    CUDA_VISIBLE_DEVICES: `${uuid('11')},0`,
  });
  expect(listed.map((d) => [d['device'], d['uuid']])).toEqual([
    ['cuda:0', uuid('11')],
    ['cuda:1', uuid('0f')],
  ]);
  expect(answers.slice(0, 2)).toEqual(['nothing', 'nothing']);
  for (const answer of answers.slice(2))
    expect(answer).toMatch(
      /^ERR_DEVICE cuda engine: there is no CUDA device '.*'\. There are: .*; CUDA_VISIBLE_DEVICES is 'GPU-.*,0', others are hidden\.$/,
    );
});

test.each([
  [{ DEEPRNN_EMULATOR_DRIVER: '0' }, 'no NVIDIA driver is installed on this machine.'],
  [
    { DEEPRNN_EMULATOR_DRIVER: '12.2' },
    'the NVIDIA driver is for CUDA 12.2, older than the CUDA 13.0 that this addon was built with. Update the driver.',
  ],
  [{ DEEPRNN_EMULATOR_DEVICES: '0' }, 'the NVIDIA driver finds no device.'],
  [{ CUDA_VISIBLE_DEVICES: '' }, "no CUDA device is visible: CUDA_VISIBLE_DEVICES is ''."],
])('%j: the reason is a sentence', (environment, reason) => {
  const { listed, answers } = ask(['cuda', 'cpu'], environment as Record<string, string>);
  expect(listed).toEqual([{ device: 'cuda', engine: 'cuda', available: false, reason }]);
  expect(answers).toEqual([`ERR_DEVICE cuda engine: ${reason}`, 'nothing']);
});

test('a device that is too old is listed with the reason', () => {
  const { listed, answers } = ask(['cuda'], { DEEPRNN_EMULATOR_CAPABILITY: '7.5' });
  expect(listed).toMatchObject([
    { device: 'cuda:0', available: false, reason: 'it has compute capability 7.5; 8.0 or later is needed.' },
  ]);
  expect(answers).toEqual([
    'ERR_DEVICE cuda engine: device 0 (emulated device) has compute capability 7.5; 8.0 or later is needed.',
  ]);
});
