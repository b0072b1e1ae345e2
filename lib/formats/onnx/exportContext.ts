import type { Layer } from '../../layers/layer';
import type { Tensor } from '../../tensors/tensor';
import type { Dim, GraphWriter } from './graphWriter';

/** A value of the model on its way into a graph: batch-major, or time-major as the recurrent operators give it, or both. */
export class ExportValue {
  private batch: string | undefined;
  private time: string | undefined;

  constructor(
    private readonly graph: GraphWriter,
    place: { readonly batch?: string | undefined; readonly time?: string | undefined },
    /** Without the batch axis. */
    readonly dims: readonly Dim[],
    readonly sequence: boolean,
    /** bool [N, T]: which steps count; undefined: all. */
    readonly mask?: string | undefined,
  ) {
    this.batch = place.batch;
    this.time = place.time;
  }

  /** [N, T, …] or [N, …]. */
  get batchMajor(): string {
    this.batch ??= this.turned(this.time as string);
    return this.batch;
  }

  /** [T, N, …] */
  get timeMajor(): string {
    this.time ??= this.turned(this.batch as string);
    return this.time;
  }

  private turned(name: string): string {
    const rest = this.dims.slice(1).map((_, i) => i + 2);
    return this.graph.transpose(name, [1, 0, ...rest]);
  }

  /** The same with all steps. */
  unmasked(): ExportValue {
    const { batch, time } = this;
    return new ExportValue(this.graph, { batch, time }, this.dims, this.sequence);
  }

  /** Another value in this one's place. */
  with(batch: string, dims: readonly Dim[] = this.dims): ExportValue {
    return new ExportValue(this.graph, { batch }, dims, this.sequence, this.mask);
  }
}

/** What a layer sees while it is written. */
export interface ExportContext {
  readonly graph: GraphWriter;
  /** A weight of a layer as a constant of the graph, as it is or as `make` makes it under a name of its own. */
  weight(layer: Layer, name: string): string;
  derived(
    name: string,
    dims: readonly number[],
    layer: Layer,
    make: (weight: (name: string) => Tensor) => ArrayLike<number>,
  ): string;
  /** Lengths int32 [N] of a mask's sequences. In a run where a mask is not of the first steps alone, they are such that it fails. */
  lengthsOf(mask: string): string;
  /** The state that a layer begins with where the caller may give it, [N, size]; undefined: callers have no say. */
  givenState(layer: Layer, name: string, size: number, learned: string | undefined): string | undefined;
  /** Says what a state [N, size] is after the last step. */
  endState(layer: Layer, name: string, size: number, value: string): void;
  readonly wantsStates: boolean;
  /** int64 [1]: the number of examples. */
  readonly batch: string;
}
