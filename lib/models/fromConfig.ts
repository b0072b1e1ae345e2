import { layerFromConfig } from '../layers';
import { Sequential, type SequentialConfig } from './sequential';

/** A new model, with new weights, from a configuration. */
export function sequentialFromConfig(config: SequentialConfig): Sequential {
  return modelFromConfig(config, { draw: true });
}

/** @param options draw: false where weights from a file come next, which makes drawing new ones a waste of time */
export function modelFromConfig(config: SequentialConfig, options: { readonly draw: boolean }): Sequential {
  const model = new Sequential(
    config.layers.map(({ type, config: layer }) => layerFromConfig(type, layer)),
    { name: config.name, seed: config.seed },
    options.draw,
  );
  if (config.buildInputShape) model.build(config.buildInputShape);
  return model;
}
