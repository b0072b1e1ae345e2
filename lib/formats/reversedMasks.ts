import { refuse } from '../errors';
import type { Model } from '../models/model';

/**
 * Where a recurrent layer reads backwards and gives all its steps, which are then in reverse, this library turns the mask with them; Keras (2 and
 * 3) and TensorFlow.js hand it on as it came, so that other steps count above.
 * @throws ERR_VALUE, naming the layer, for a model in which that may happen
 */
export function refuseReversedMasks(model: Model): void {
  if (!model.layers.some(({ masks }) => masks)) return;
  const turned = model.layers.find((layer) => {
    const { goBackwards, returnSequences } = layer.getConfig();
    return goBackwards === true && returnSequences === true;
  });
  if (turned)
    refuse(
      'ERR_VALUE',
      `${turned.subject}: goBackwards`,
      'no mask in a model where it goes with returnSequences: in Keras a mask keeps its order when the steps are turned, here it is turned too',
      'a layer that makes one',
    );
}
