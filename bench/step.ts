// Time of one step of a live sequence through `stepSync`, for the nets of a service: microseconds a step, median and 99th percentile, one
// step after another and with pauses, in which threads go to sleep. `overhead` is a step of the same stack with one unit a layer and one
// feature: all that is not its products, and a little more, because they take time too.
//
//   npm run bench:step
import { devices, type Layer, layers, type ModelStream, sequential } from 'deeprnn';

interface Net {
  readonly name: string;
  readonly units: number;
  readonly input: number;
  readonly layers: (units: number, input: number) => Layer[];
}

const first = (input: number) => ({ returnSequences: true, inputShape: [null, input] });
const nets: Net[] = [
  {
    name: 'SimpleRNN 8, D4',
    units: 8,
    input: 4,
    layers: (units, input) => [layers.simpleRNN({ units, inputShape: [null, input] })],
  },
  {
    name: 'GRU 2×256, D128',
    units: 256,
    input: 128,
    layers: (units, input) => [layers.gru({ units, ...first(input) }), layers.gru({ units })],
  },
  {
    name: 'LSTM 2×512, D128',
    units: 512,
    input: 128,
    layers: (units, input) => [layers.lstm({ units, ...first(input) }), layers.lstm({ units })],
  },
];

const WARM_UP = 2000;
const STEPS = 4000;

/** Microseconds of steps with `pause` microseconds between them. */
function percentiles(stream: ModelStream, input: number, pause: number): { median: number; p99: number } {
  const x = Float32Array.from({ length: input }, (_, i) => Math.sin(i));
  const out = stream.stepSync(x);
  for (let i = 0; i < WARM_UP; i++) stream.stepSync(x, out);
  const taken = new Float64Array(STEPS);
  for (let i = 0; i < STEPS; i++) {
    const until = performance.now() + pause / 1e3;
    while (pause > 0 && performance.now() < until);
    const start = process.hrtime.bigint();
    stream.stepSync(x, out);
    taken[i] = Number(process.hrtime.bigint() - start) / 1e3;
  }
  taken.sort();
  const at = (share: number) => taken[Math.floor(share * STEPS)] as number;
  return { median: at(0.5), p99: at(0.99) };
}

async function timed(net: Net, units: number, input: number): Promise<Record<'rows' | 'median', string>> {
  const model = sequential(net.layers(units, input), { seed: 1 });
  const stream = await model.stream();
  const times = [0, 300].map((pause) => percentiles(stream, input, pause));
  stream.dispose();
  model.dispose();
  const rows = times.map(
    ({ median, p99 }) => `${median.toFixed(2).padStart(9)}${p99.toFixed(2).padStart(9)}`,
  );
  return { rows: rows.join(''), median: (times[0]?.median ?? 0).toFixed(2).padStart(10) };
}

async function main(): Promise<void> {
  const cpu = devices().find(({ device }) => device === 'cpu');
  console.log(`${cpu?.instructionSet}, ${cpu?.threads} threads; µs a step`);
  console.log(`${''.padEnd(18)}   median      p99   paused      p99  overhead`);
  for (const net of nets) {
    const { rows } = await timed(net, net.units, net.input);
    const { median } = await timed(net, 1, 1);
    console.log(`${net.name.padEnd(18)}${rows}${median}`);
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
