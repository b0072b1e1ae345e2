/** The members of a `.keras` archive. Keras reads the first three. */
export const members = {
  metadata: 'metadata.json',
  config: 'config.json',
  weights: 'model.weights.h5',
  own: 'deeprnn.json',
} as const;

/** What a model here has and Keras has no place for. */
export interface Own {
  /** Raised when older versions of this library could no longer read it. */
  readonly version: 1;
  readonly seed: number;
  /** Whether predictions are an object by the names of the outputs, also of one. */
  readonly namesOutputs: boolean;
  readonly preprocessing: Readonly<Record<string, unknown>>;
  /** Names of layers with `maskWithStates: false`. */
  readonly withoutMask: readonly string[];
}
