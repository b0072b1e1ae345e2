// How times grow with the threads and with each size of a network.
import { ours, Seat } from '../cpu/contenders';
import { compete, type Outcome, type Pace } from '../cpu/rounds';
import { type Mode, type Workload, workload } from '../cpu/workloads';

const modes: readonly Mode[] = ['infer', 'train'];

/** Median times on one thread and on all, ms, by the threads' number. */
export interface Scaling {
  readonly network: string;
  readonly mode: Mode;
  readonly times: Readonly<Record<string, Outcome>>;
}

export async function measureScaling(threads: number, pace: Pace): Promise<Scaling[]> {
  const seats = [1, threads].map((count) => new Seat({ ...ours, name: `${count}` }, count));
  const networks = [
    workload('simpleRnn', [64, 32], [16, 64, 50]),
    workload('lstm', [256, 256], [128, 32, 64]),
    workload('lstm', [512, 512], [256, 32, 64]),
    workload('gru', [256, 256], [128, 32, 64]),
  ];
  try {
    const found: Scaling[] = [];
    for (const network of networks)
      for (const mode of modes)
        found.push({ network: network.name, mode, times: await compete(seats, network, mode, pace) });
    return found;
  } finally {
    for (const seat of seats) seat.close();
  }
}

/** The time of a network of which one size is varied. */
export interface Point {
  readonly size: 'steps T' | 'units H' | 'batch B' | 'layers';
  readonly value: number;
  readonly mode: Mode;
  readonly outcome: Outcome;
}

const lstm = (layers: number, units: number, batch: number, steps: number) =>
  workload('lstm', Array(layers).fill(units), [64, batch, steps]);

/** What is varied, around an LSTM of 2 layers of 128 units with 64 features, a batch of 32 and 64 steps. */
const series: readonly [Point['size'], readonly number[], (value: number) => Workload][] = [
  ['steps T', [8, 16, 32, 64, 128, 256, 512, 1024], (steps) => lstm(2, 128, 32, steps)],
  ['units H', [16, 32, 64, 128, 256, 512, 1024], (units) => lstm(2, units, 32, 64)],
  ['batch B', [1, 2, 4, 8, 16, 32, 64, 128, 256], (batch) => lstm(2, 128, batch, 64)],
  ['layers', [1, 2, 4, 8], (layers) => lstm(layers, 128, 32, 64)],
];

export async function measureGrowth(threads: number, pace: Pace): Promise<Point[]> {
  const seat = new Seat(ours, threads);
  try {
    const points: Point[] = [];
    for (const [size, values, make] of series) {
      for (const value of values) {
        for (const mode of modes) {
          const outcomes = await compete([seat], make(value), mode, pace);
          points.push({ size, value, mode, outcome: outcomes[ours.name] as Outcome });
        }
      }
    }
    return points;
  } finally {
    seat.close();
  }
}
