import { refuse } from '../errors';
import { type Graph, sharedLayers } from './graph';

/**
 * That what a model gives at a step depends on that step, on those before it, and through states of its own alone: such a model can be run
 * over a sequence in parts.
 * @throws ERR_VALUE naming the first layer of which that is not so
 */
export function requireStepwise(caller: string, graph: Graph): void {
  const shared = sharedLayers(graph);
  for (const { layer, inputs } of graph.nodes) {
    const { subject, streamObstacle, states } = layer;
    if (streamObstacle !== undefined)
      refuse('ERR_VALUE', `${caller}: ${subject}`, 'a layer that needs no later steps', streamObstacle);
    if (states.length === 0) continue;
    if (shared.has(layer))
      refuse(
        'ERR_VALUE',
        `${caller}: ${subject}`,
        'a recurrent layer that is used once',
        'one used several times',
      );
    if (inputs.length > 1)
      refuse(
        'ERR_VALUE',
        `${caller}: ${subject}`,
        'states of its own to begin from',
        'those that other layers give',
      );
  }
}
