import { DeepRnnError, quoted, refuse } from '../errors';
import { checkInputShape, type Layer, type SymbolicShape } from '../layers/layer';
import type { Tensor } from '../tensors/tensor';
import { chain, type Graph, inputOf, outputOf } from './graph';
import { growGraph, releaseLayer, takeLayer } from './growth';
import { Model, type ModelOptions } from './model';

export type SequentialOptions = ModelOptions;

/** A stack of layers, each reading what the one below gives. */
export class Sequential extends Model<Tensor> {
  graph: Graph | undefined;
  private readonly stack: Layer[] = [];
  /** The stack as it is handed out; undefined where it has changed since. */
  private listed: readonly Layer[] | undefined;

  /** @param draw @internal false where a file's weights replace those that would be drawn: zeros until then */
  constructor(
    layers: readonly Layer[] = [],
    options: SequentialOptions = {},
    /** @internal */ public draw = true,
  ) {
    super('sequential', options);
    if (!Array.isArray(layers)) refuse('ERR_VALUE', 'sequential', 'an array of layers', quoted(layers));
    try {
      for (const layer of layers) this.add(layer);
    } catch (error) {
      // Nobody gets this model, so the layers before the refused one are free again.
      for (const layer of this.stack) releaseLayer(layer);
      throw error;
    }
  }

  /** The layers, bottom first; `add` appends to them. */
  override get layers(): readonly Layer[] {
    this.listed ??= Object.freeze([...this.stack]);
    return this.listed;
  }

  /**
   * Appends a layer. The model is built as soon as its first layer knows its `inputShape`.
   * @throws ERR_VALUE for a layer that is in a model already: weights are not shared
   */
  add(layer: Layer): this {
    this.requireAlive();
    if (typeof layer?.call !== 'function' || typeof layer.outputShape !== 'function') {
      refuse('ERR_VALUE', `model '${this.name}'`, 'a layer, e.g. layers.dense({ units: 10 })', quoted(layer));
    }
    if (this.compiled && this.built)
      refuse('ERR_STATE', `model '${this.name}'`, 'all layers before compile', `add of ${layer.subject}`);
    if (this.stepPlans.size > 0)
      refuse('ERR_STATE', `model '${this.name}'`, 'all layers before stream', `add of ${layer.subject}`);
    if (layer.givesSeveral !== undefined) {
      const wayOut =
        'Use input, applyAll and model({ inputs, outputs }) for states, and for directions apart.';
      refuse('ERR_VALUE', layer.subject, 'one output in a sequential model', layer.givesSeveral, wayOut);
    }
    this.requireIdle('add', 'Wait for its promise first.');
    takeLayer(layer, this.stack);
    this.stack.push(layer);
    this.listed = undefined;
    try {
      layer.tie(this.stack);
      if (this.graph) this.grow([layer], outputOf(this.graph), inputOf(this.graph));
      else if (this.stack[0]?.inputShape) this.build();
    } catch (error) {
      this.stack.pop();
      this.listed = undefined;
      releaseLayer(layer);
      throw error;
    }
    return this;
  }

  /**
   * Works out all shapes and makes the weights. Called by itself once the input's shape is known (from the first layer, or
   * from the data in `fit`).
   * @param inputShape batch-free; default: that of the first layer
   */
  override build(inputShape?: readonly (number | null)[]): this {
    this.requireAlive();
    const first = this.stack[0];
    if (!first)
      throw new DeepRnnError(
        'ERR_STATE',
        `model '${this.name}': expected at least one layer before build, got none.`,
      );
    if (this.built) return this;
    const shape = inputShape ?? first.inputShape;
    if (!shape) {
      throw new DeepRnnError(
        'ERR_STATE',
        `model '${this.name}': the input's shape is not known. Give the first layer an inputShape, or call build([timesteps, features]).`,
      );
    }
    checkInputShape('build: inputShape', shape);
    const dtype = first.inputDType;
    const input: SymbolicShape = {
      dtype,
      shape: [...shape],
      sequence: dtype === 'int32' ? shape.length >= 1 : shape.length >= 2,
    };
    this.grow(this.stack, input, input);
    this.resolveMetrics();
    return this;
  }

  /** Shapes and weights of layers above `from`, all or none. */
  private grow(added: readonly Layer[], from: SymbolicShape, input: SymbolicShape): void {
    const firstStream = this.variables.names().length;
    const source = { seed: this.seed, firstStream, draw: this.draw };
    for (const { name, shape, values } of growGraph(chain(from, added), source))
      this.variables.declare(name, shape, () => values);
    this.graph = chain(input, this.stack);
    this.forgetPlans();
  }

  /** Configuration from which `loadModel` and `sequentialFromConfig` make the same model. JSON values only. */
  override getConfig(): SequentialConfig {
    this.requireAlive();
    return {
      name: this.name,
      seed: this.seed,
      layers: this.stack.map((layer) => ({ type: layer.type, config: layer.getConfig() })),
      ...(this.graph ? { buildInputShape: [...inputOf(this.graph).shape] } : {}),
    };
  }
}

/** What `getConfig` gives. */
export interface SequentialConfig {
  readonly name: string;
  readonly seed: number;
  readonly layers: readonly { readonly type: string; readonly config: Record<string, unknown> }[];
  readonly buildInputShape?: readonly (number | null)[];
}

/** Makes a model of layers in a row. */
export function sequential(layers: readonly Layer[] = [], options: SequentialOptions = {}): Sequential {
  return new Sequential(layers, options);
}
