// Rungs c and d: a persistent kernel for a layer or for the stack (native/cuda/rnn_persistent.cpp, rnn_layerwise.cpp).
import type { GpuPrecision } from '../../engines/engine';
import { type Cost, cost, type Prices, plus } from './cost';
import type { GpuFigures } from './figures';
import {
  chunkLength,
  type LayerWork,
  type Misfit,
  type PersistentShape,
  type StepClocks,
  shareOut,
  sumOfClocks,
} from './persistentShape';
import { type Stack, type StackLayer, weightGradients } from './stack';

/** What persistent kernels would take, and each one's blocks in the engine's words. */
export interface Kernels {
  readonly cost: Cost;
  /** Clocks of all steps of all kernels, as the engine counts them when it chooses a rung. */
  readonly clocks: number;
  readonly kernels: readonly string[];
}

/** Why a rung cannot run a stack, in a sentence without an end. */
export interface Refusal {
  readonly reason: string;
}

/** The whole stack in one kernel a direction. */
export function wholeStack(prices: Prices, stack: Stack): Kernels | Refusal {
  return oneKernel(prices, stack, false);
}

/** One kernel after another, each with the device for itself. */
export function kernelALayer(prices: Prices, stack: Stack): Kernels | Refusal {
  const parts: Kernels[] = [];
  const last = stack.layers.length - 1;
  for (const [l, layer] of stack.layers.entries()) {
    const alone = { ...stack, layers: [layer], inputGradient: l > 0 || stack.inputGradient };
    const part = oneKernel(prices, alone, stack.backward && l < last);
    if ('reason' in part) return last === 0 ? part : { reason: `${part.reason} for layer '${layer.name}'` };
    parts.push(part);
  }
  return {
    cost: plus(...parts.map((part) => part.cost)),
    clocks: parts.reduce((sum, part) => sum + part.clocks, 0),
    kernels: parts.flatMap((part) => part.kernels),
  };
}

/** `fromAbove`: the gradient of the top layer's outputs comes as an array from the kernel of the layer above. */
function oneKernel(prices: Prices, stack: Stack, fromAbove: boolean): Kernels | Refusal {
  const { layers, steps, batch, backward } = stack;
  if (layers.some(({ resetBefore }) => resetBefore))
    return { reason: 'a GRU with the reset before the product needs two exchanges a step' };
  if (layers.some(({ zoneout }) => zoneout))
    return { reason: 'a layer with zoneout has no persistent kernel' };
  if (layers.some(({ recurrentDropoutPerStep }) => recurrentDropoutPerStep))
    return { reason: 'a recurrent dropout mask for each step has no persistent kernel' };
  if (layers.some(({ variant }) => variant))
    return { reason: 'an LSTM with cellClip, peepholes or coupledGates has no persistent kernel' };
  const work = layers.map((_, l) => workOf(stack, l, fromAbove, prices.precision));
  const shape = shareOut(work, batch, prices.precision, prices.gpu);
  if (!('groups' in shape)) return { reason: misfitReason(shape, prices.gpu) };
  const bottom = layers[0] as StackLayer;
  const rows = steps * batch;
  const parts = [
    // The counters are cleared, then the kernel starts and every block brings its weights.
    prices.launches(2),
    cost({ 'L2 traffic': prices.clocks(shape.sharedBytes / prices.gpu.l2BytesPerClockEach) }),
    stepCost(prices, shape.step, steps + layers.length - 1),
  ];
  if (!backward) parts.push(prices.product(rows, bottom.width, bottom.inputSize));
  else {
    if (stack.inputGradient) parts.push(prices.product(rows, bottom.inputSize, bottom.width));
    for (const layer of layers) parts.push(weightGradients(prices, stack, layer));
  }
  if (bottom.inputDropout) parts.push(prices.pass(8 * rows * bottom.inputSize));
  const clocks = (steps + layers.length - 1) * sumOfClocks(shape.step);
  return { cost: plus(...parts), clocks, kernels: [describe(shape)] };
}

/** As `describe` of native/cuda/rnn_persistent.cpp. */
function describe({ groups, blocks, layers, sharedBytes }: PersistentShape): string {
  const each = layers.map((layer) => layer.blocks).join(' + ');
  const cut = `${groups} ${groups === 1 ? 'group' : 'groups'} of ${each}`;
  return `${groups * blocks} blocks (${cut}), ${sharedBytes} bytes of shared memory each`;
}

function stepCost(prices: Prices, step: StepClocks, steps: number): Cost {
  return cost({
    'L2 traffic': prices.clocks(steps * step.l2),
    'shared memory': prices.clocks(steps * step.shared),
    'tensor cores': prices.clocks(steps * step.tensor),
    cells: prices.clocks(steps * step.cell),
    exchange: prices.clocks(steps * step.exchange),
  });
}

/** As `workOf` of native/cuda/rnn_persistent.cpp. */
export function workOf(stack: Stack, l: number, fromAbove: boolean, precision: GpuPrecision): LayerWork {
  const layer = stack.layers[l] as StackLayer;
  const above = stack.layers[l + 1];
  const { cell, units } = layer;
  const gates = layer.width / units;
  const chunksOf = (length: number) => Math.ceil(length / chunkLength(precision));
  const carried = (cell === 'simpleRnn' ? 0 : 1) + (stack.masked && cell !== 'gru' ? 1 : 0);
  if (!stack.backward) {
    return {
      units,
      perUnit: cell === 'simpleRnn' ? 1 : 4,
      chunks: chunksOf(units) + (l > 0 ? chunksOf(layer.inputSize) : 0),
      carried,
      staged: l === 0 ? gates : 0,
    };
  }
  // What comes from above is apart where one of the two is masked.
  const apart = above !== undefined && (layer.recurrentDropout || above.inputDropout);
  return {
    units,
    perUnit: apart ? 2 : 1,
    chunks: gates * chunksOf(units) + (above ? (above.width / above.units) * chunksOf(above.units) : 0),
    carried,
    staged:
      gates +
      (cell === 'simpleRnn' ? 0 : 2) +
      (layer.outputGradient ? 1 : 0) +
      (above === undefined && fromAbove ? 1 : 0),
  };
}

const MIB = 2 ** 20;

/** Each block has a multiprocessor and its shared memory for itself. */
function misfitReason(misfit: Misfit, gpu: GpuFigures): string {
  const shown = (bytes: number) => (bytes / MIB).toFixed(1);
  return 'blocks' in misfit
    ? `does not fit: needs ${shown(misfit.blocks * gpu.sharedPerBlock)} MiB of ${shown(gpu.multiprocessors * gpu.sharedPerBlock)} MiB of shared memory`
    : `does not fit: needs ${shown(misfit.blockBytes)} MiB of ${shown(gpu.sharedPerBlock)} MiB of shared memory in one block`;
}
