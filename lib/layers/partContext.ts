import type { ValueId } from '../plan/types';
import type { Shape } from '../tensors/tensor';
import type { CallContext, Layer, MaskPurpose } from './layer';

/** What a layer inside another one sees of a plan: weights, states and random numbers of its owner, under names of its own. */
export class PartContext implements CallContext {
  /** @param purposes under which the owner draws what the part draws, where they are others */
  constructor(
    private readonly outer: CallContext,
    private readonly owner: Layer,
    private readonly prefix: string,
    private readonly purposes: Partial<Record<MaskPurpose, MaskPurpose>>,
  ) {}

  get builder() {
    return this.outer.builder;
  }
  get training() {
    return this.outer.training;
  }
  get batch() {
    return this.outer.batch;
  }
  get seed() {
    return this.outer.seed;
  }
  get givesStates() {
    return this.outer.givesStates;
  }
  get statesAfter() {
    return this.outer.statesAfter;
  }

  step(): ValueId {
    return this.outer.step();
  }

  weight(_: Layer, name: string): ValueId {
    return this.outer.weight(this.owner, this.prefix + name);
  }

  becomes(_: Layer, name: string, value: ValueId): void {
    this.outer.becomes(this.owner, this.prefix + name, value);
  }

  state(_: Layer, name: string, shape: Shape): ValueId {
    return this.outer.state(this.owner, this.prefix + name, shape);
  }

  initialState(_: Layer, name: string, shape: Shape): ValueId | undefined {
    return this.outer.initialState(this.owner, this.prefix + name, shape);
  }

  carry(_: Layer, name: string, from: ValueId): void {
    this.outer.carry(this.owner, this.prefix + name, from);
  }

  addLoss(term: ValueId): void {
    this.outer.addLoss(term);
  }

  stream(_: Layer, purpose: MaskPurpose): number {
    return this.outer.stream(this.owner, this.purposes[purpose] ?? purpose);
  }
}
