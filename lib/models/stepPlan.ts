import type { Executable } from '../engines/engine';
import { PlanCheckError } from '../plan/types';
import type { TensorData } from '../tensors/tensor';
import { stateSizes } from './contract';
import { dataError } from './dataError';
import type { Model } from './model';
import type { LoadedPlan, Runner } from './runner';

/** One state in a loaded plan: before the step, and after it. */
export interface StateArrays {
  readonly before: TensorData;
  readonly after: TensorData;
}

/** The arrays of a loaded plan for one time step. */
export interface LoadedStep {
  readonly executable: Executable;
  readonly x: TensorData;
  readonly y: TensorData;
  /** In the order of the layers, and of their states. */
  readonly states: readonly StateArrays[];
}

/** What the streams of one batch size share: the plan of one time step, loaded while there are any, and anew after `compile`. */
export class StepPlan {
  private users = 0;
  private runner: Runner | undefined;
  private loaded: LoadedPlan | undefined;
  private step: LoadedStep | undefined;

  private constructor(
    readonly model: Model,
    readonly batchSize: number,
  ) {}

  /** The plan for one more stream, which must release it. */
  static take(model: Model, batchSize: number): StepPlan {
    const plan = model.stepPlans.get(batchSize) ?? new StepPlan(model, batchSize);
    model.stepPlans.set(batchSize, plan);
    plan.users++;
    return plan;
  }

  release(): void {
    if (--this.users > 0) return;
    this.model.stepPlans.delete(this.batchSize);
    if (this.loaded) this.runner?.unloadStep(this.loaded);
  }

  /** The plan, loaded. No run may be in flight. @throws ERR_STATE when the model has been disposed */
  ready(): LoadedStep {
    const { runner } = this.model;
    if (this.step && this.runner === runner) return this.step;
    const loaded = runner.loadStep(this.batchSize);
    const { executable } = loaded;
    const names = [...stateSizes(this.model.requireBuilt('stream')).keys()];
    this.step = {
      executable,
      x: executable.input('x'),
      y: executable.output('y'),
      states: names.map((name) => ({ before: executable.input(name), after: executable.output(name) })),
    };
    this.runner = runner;
    this.loaded = loaded;
    return this.step;
  }

  /** A failed check in the words of the call; the step's input has no axis of time. */
  explain(caller: string, error: unknown): unknown {
    if (!(error instanceof PlanCheckError) || !this.loaded) return error;
    return dataError(this.loaded.plan, caller, error, ([n, , ...place]) => [n as number, ...place]);
  }
}
