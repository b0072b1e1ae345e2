import { refuse } from '../../errors';
import { AVERAGE, GRADIENT_SUM, slotName } from '../../models/lower';
import type { Optimizer } from '../../optimizers/optimizer';
import { slotShape } from '../../plan/ops/update';
import type { Shape } from '../../tensors/tensor';
import type { KerasVariable } from './variables';

/** What stands at a place of the list of variables that Keras's optimizers have. */
export type OptimizerVariable =
  | { readonly is: 'iteration' | 'learningRate' | 'momentumProduct' }
  /** Zeros of Keras's that say nothing. */
  | { readonly is: 'nothing'; readonly shape: Shape; readonly kind: 'real' | 'integer32' }
  | {
      readonly is: 'slot';
      /** Of the array here. */
      readonly name: string;
      readonly shape: Shape;
      /** In files. */
      readonly fileShape: Shape;
      /** The gates of a GRU that lie in another order, where the array has a column for each of them. */
      readonly swapped: number | undefined;
      /** Its first values, where training has not made it yet: a number, or those of the weight itself. */
      readonly initial: number | 'weight';
    };

/** Slots by Keras's order of lists; those in one list follow one another weight by weight. */
const lists: Readonly<Record<string, readonly (readonly string[])[]>> = {
  sgd: [['momentum']],
  rmsprop: [['velocity'], ['momentum'], ['average']],
  adam: [['m', 'v'], ['vMax']],
  adamw: [['m', 'v'], ['vMax']],
  adagrad: [['accumulator']],
  nadam: [['m', 'v']],
  adamax: [['m', 'norm']],
  lion: [['m']],
  adadelta: [['accumulatedGradient', 'accumulatedDelta']],
  adafactor: [['rows', 'columns', 'velocity']],
  ftrl: [['accumulator', 'linear']],
};

/**
 * The variables of an optimizer of Keras, in its order: the step count, the learning rate where it is a number, averages of the weights, sums of
 * gradients, and what the rule keeps.
 * @param trained the weights that it trains, in Keras's order
 * @param grouped in the order of TensorFlow before 2.11: no learning rate, and every list by itself
 * @throws ERR_VALUE where Keras's rule is another for a weight
 */
export function optimizerVariables(
  optimizer: Optimizer,
  trained: readonly KerasVariable[],
  grouped = false,
): readonly OptimizerVariable[] {
  const { type, slots, ema, gradientAccumulationSteps, learningRate } = optimizer;
  const deep =
    type === 'adafactor'
      ? trained.find(({ shape, fileShape }) => shape.length > 2 || shape !== fileShape)
      : undefined;
  if (deep)
    refuse(
      'ERR_VALUE',
      `optimizers.adafactor: '${deep.name}'`,
      'weights of one or two axes here and in Keras, of which alone both keep the same',
      `shape [${deep.fileShape.join(', ')}] in Keras`,
      'Leave the optimizer out: save with includeOptimizer: false, load with compile: false.',
    );
  const slot = (
    { name, shape, fileShape, swapped }: KerasVariable,
    own: string,
    initial: number | 'weight',
    ownShape: Shape = shape,
  ): OptimizerVariable => ({
    is: 'slot',
    name: slotName(name, own),
    shape: ownShape,
    fileShape: ownShape === shape ? fileShape : ownShape,
    swapped: ownShape.at(-1) === shape.at(-1) && own !== 'rows' ? swapped : undefined,
    initial,
  });
  const together = lists[type] ?? [];
  const ofRule = (grouped ? together.flat().map((own) => [own]) : together).flatMap((list) =>
    trained.flatMap((variable) =>
      list.flatMap((own): OptimizerVariable[] => {
        const place = slots.findIndex((known) => known?.name === own);
        const known = slots[place];
        if (!known) return [];
        const shape = slotShape(optimizer.updateAttrs([]).kind, place, variable.shape);
        // Keras keeps an array for all of a weight beside those of rows and columns, which it makes of these at every step.
        if (shape) return [slot(variable, own, known.initial, shape)];
        return own === 'velocity'
          ? [{ is: 'nothing', shape: variable.shape, kind: 'real' }]
          : [{ is: 'nothing', shape: [], kind: 'integer32' }];
      }),
    ),
  );
  return [
    { is: 'iteration' },
    ...(typeof learningRate === 'number' && !grouped ? [{ is: 'learningRate' } as const] : []),
    ...(ema ? trained.map((variable) => slot(variable, AVERAGE, 'weight')) : []),
    ...(gradientAccumulationSteps > 1 ? trained.map((variable) => slot(variable, GRADIENT_SUM, 0)) : []),
    ...ofRule,
    ...(type === 'nadam' ? [{ is: 'momentumProduct' } as const] : []),
  ];
}

/** The product of the momenta that nadam has used in so many updates (Dozat, 2016), which Keras keeps and this library works out. */
export function momentumProduct(beta1: number, updates: number): number {
  let product = 1;
  for (let t = 1; t <= updates; t++) product *= beta1 * (1 - 0.5 * 0.96 ** t);
  return product;
}
