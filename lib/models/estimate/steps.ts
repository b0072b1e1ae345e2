// Rungs a and b: a product and a kernel for the cell, launched for every step (native/cuda/rnn_steps.cpp).
import { type Cost, nothing, type Prices, plus, times, total } from './cost';
import { type Stack, type StackLayer, weightGradients } from './stack';

/** Steps that a layer of rung b does before the next one takes them; layers that run side by side (native/cuda/rnn_stack.cpp, session.cpp). */
const DIAGONAL_STEPS = 8;
const BRANCHES = 8;

/** Layer after layer. */
export function layerByLayer(prices: Prices, stack: Stack): Cost {
  return plus(
    ...stack.layers.map((layer, l) =>
      plus(chain(prices, stack, layer, l, stack.steps), finish(prices, stack, layer)),
    ),
  );
}

/**
 * Layers side by side, each `DIAGONAL_STEPS` behind the one before: as long as the slowest layer and the others' first or last
 * chunks, or as long as the device is busy with the arithmetic and traffic of all.
 */
export function sideBySide(prices: Prices, stack: Stack): Cost {
  const { steps, layers } = stack;
  if (layers.length === 1) return layerByLayer(prices, stack);
  const chunk = Math.max(1, Math.min(DIAGONAL_STEPS, Math.floor((steps + 1) / 2)));
  const chunks = Math.ceil(steps / chunk);
  const chains = layers.map((layer, l) => chain(prices, stack, layer, l, chunk));
  const slowest = chains.reduce((a, b) => (total(b) > total(a) ? b : a));
  const turns = Math.ceil(layers.length / BRANCHES);
  const waited = times(turns + (layers.length - 1) / chunks, slowest);
  const busy = { ...plus(...chains), launches: 0 };
  const finished = plus(...layers.map((layer) => finish(prices, stack, layer)));
  return plus(total(busy) > total(waited) ? busy : waited, finished);
}

/** All steps of one layer, its input products made for `chunk` steps at a time. */
function chain(prices: Prices, stack: Stack, layer: StackLayer, l: number, chunk: number): Cost {
  const { backward, steps, batch } = stack;
  const { inputSize, width } = layer;
  const chunks = Math.ceil(steps / chunk);
  const rows = (steps / chunks) * batch;
  const parts = [backward ? stepsBackward(prices, stack, layer) : stepsForward(prices, stack, layer)];
  if (!backward) parts.push(times(chunks, prices.product(rows, width, inputSize)));
  else if (l > 0 || stack.inputGradient) parts.push(times(chunks, prices.product(rows, inputSize, width)));
  if (layer.inputDropout) parts.push(times(chunks, prices.pass(8 * rows * inputSize)));
  return plus(...parts);
}

function finish(prices: Prices, stack: Stack, layer: StackLayer): Cost {
  return stack.backward ? weightGradients(prices, stack, layer) : nothing;
}

function stepsForward(prices: Prices, { steps, batch }: Stack, layer: StackLayer): Cost {
  const { cell, units, width } = layer;
  const states = 4 * batch * units;
  // Gates are read and written; before and after them a state and what the backward pass needs.
  const cellPass = plus(
    prices.pass(8 * batch * width + 4 * states),
    ...(layer.zoneout ? [prices.pass(4 * states)] : []),
  );
  const products = [prices.product(batch, cell === 'gru' ? 2 * units : width, units)];
  if (cell === 'gru') products.push(prices.product(batch, units, units));
  if (layer.recurrentDropout) products.push(prices.pass(2 * states));
  if (layer.resetBefore) products.push(prices.pass(3 * states));
  return plus(times(steps, cellPass), times(stepsWithState(steps, layer), plus(...products)));
}

function stepsBackward(prices: Prices, { steps, batch }: Stack, layer: StackLayer): Cost {
  const { cell, units, width } = layer;
  const states = 4 * batch * units;
  const cellPass = plus(
    prices.pass(8 * batch * width + 6 * states),
    ...(layer.zoneout ? [prices.pass(5 * states), prices.pass(3 * states)] : []),
  );
  const products = [prices.product(batch, units, cell === 'gru' ? 2 * units : width)];
  if (cell === 'gru') products.push(prices.product(batch, units, units));
  if (layer.recurrentDropout) products.push(prices.pass(2 * states));
  if (layer.resetBefore) products.push(prices.pass(4 * states));
  return plus(times(steps, cellPass), times(stepsWithState(steps, layer), plus(...products)));
}

/** Steps with a state before them: the first has none when the caller gives none. */
function stepsWithState(steps: number, layer: StackLayer): number {
  return layer.initialState ? steps : steps - 1;
}
