// What a training step costs outside the kernels: the public call against the very plan that it runs, called directly.
import type { Executable } from '../../dist/engines/engine';
import { numbers } from '../cpu/data';
import { dataOf, modelOf } from '../cpu/model';
import { type Summary, summarize } from '../cpu/statistics';
import { type Workload, workloads } from '../cpu/workloads';
import { inside } from '../gpu/workloads';

const { createEngine } = inside<typeof import('../../dist/engines/devices')>('engines/devices');
const { lower } = inside<typeof import('../../dist/models/lower')>('models/lower');

/** Of one training step, ms. */
export interface Overhead {
  readonly network: string;
  /** `trainOnBatch`, awaited. */
  readonly api: Summary;
  /** The plan's one native call, on the calling thread. */
  readonly plan: Summary;
  /** Their difference, of the medians: checks, copies of the batch, the way to the session's thread and back. */
  readonly added: number;
}

const RUNS = 100;

export async function measureOverhead(threads: number, rounds: number): Promise<Overhead> {
  const workload = workloads[0] as Workload;
  const model = modelOf(workload, threads);
  const session = createEngine('cpu').createSession({ threads });
  try {
    const { x, y } = dataOf(workload);
    // Where types are checked against lib/, those under the public name are not the ones in dist/.
    const recipe = model.recipe() as unknown as Parameters<typeof lower>[0];
    const { plan } = lower(recipe, {
      mode: 'train',
      inputShapes: [x.shape],
      weighted: [],
      initialStates: [],
      gradientNorms: false,
    });
    for (const { role, name, dtype, shape } of plan.values) {
      if (role !== 'variable') continue;
      session.declare(name, dtype, shape);
      const size = shape.reduce((product, n) => product * n, 1);
      // Optimizer slots, of whose names a colon is part, begin at zero, as they are.
      if (!name.includes(':'))
        session.write(
          name,
          numbers(size).map((v) => v / 10),
        );
    }
    const executable: Executable = session.load(plan);
    executable.input('x').set(x.data);
    executable.input('targets').set(y.data);
    executable.input('hyper').set(model.optimizer.hyper(0));
    const times = { api: [] as number[], plan: [] as number[] };
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      for (let i = 0; i < RUNS; i++) {
        const start = performance.now();
        await model.trainOnBatch(x, y);
        if (round > 0) times.api.push(performance.now() - start);
      }
      for (let i = 0; i < RUNS; i++) {
        const start = performance.now();
        executable.runSync();
        if (round > 0) times.plan.push(performance.now() - start);
      }
    }
    const [api, direct] = [summarize(times.api), summarize(times.plan)];
    return { network: workload.name, api, plan: direct, added: api.median - direct.median };
  } finally {
    session.dispose();
    model.dispose();
  }
}
