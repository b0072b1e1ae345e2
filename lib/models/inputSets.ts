import type { Executable, InputSet } from '../engines/engine';
import { type Batch, copyRows } from './batches';
import type { PlanMode } from './lower';

/** The two sets of inputs of a loaded plan: one for the batch that runs, the other for the one to come. */
export class InputSets {
  private current: InputSet = 0;
  /** The rows whose data lie in the other set. They stand for their batch, whose data are not to be kept alive from here. */
  private ahead: Uint32Array | undefined;

  constructor(private readonly executable: Executable) {}

  /** The set that holds the batch's data: where they have been gathered ahead, or else where they are gathered now. */
  take(batch: Batch, mode: PlanMode): InputSet {
    if (batch.indices === this.ahead) {
      this.current = this.other;
      this.ahead = undefined;
    } else {
      gather(batch, mode, this.executable, this.current);
    }
    return this.current;
  }

  /** Gathers the data of a batch to come, while a run may be reading the current set. */
  gatherAhead(batch: Batch, mode: PlanMode): void {
    gather(batch, mode, this.executable, this.other);
    this.executable.stage(this.other);
    this.ahead = batch.indices;
  }

  private get other(): InputSet {
    return this.current === 0 ? 1 : 0;
  }
}

function gather({ examples, indices }: Batch, mode: PlanMode, executable: Executable, set: InputSet): void {
  for (const [key, x] of examples.inputs) copyRows(x, indices, executable.input(key, set));
  if (mode !== 'predict') {
    for (const [key, y] of examples.targets) copyRows(y, indices, executable.input(key, set));
    for (const [key, w] of examples.weights) copyRows(w, indices, executable.input(key, set));
  }
  if (examples.scored && mode !== 'predict')
    copyRows(examples.scored, indices, executable.input('scored', set));
  if (examples.lengths) copyRows(examples.lengths, indices, executable.input('lengths', set));
  for (const [key, state] of examples.initialStates) copyRows(state, indices, executable.input(key, set));
}
