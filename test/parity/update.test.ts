import type { OptimizerKind } from '../../lib/plan/codes';
import { slotShape } from '../../lib/plan/ops/update';
import type { UpdateAttrs } from '../../lib/plan/types';
import { checkParity, type Operand, RandomInputs, tolerance } from './harness';

let stream = 20_000;

const rules: {
  name: string;
  attrs: Omit<UpdateAttrs, 'clip' | 'decay'> & { readonly weightDecay: number };
  slots: number[];
  hyper: number[];
}[] = [
  {
    name: 'sgd',
    attrs: { kind: 'sgd', flag: false, constants: [0], weightDecay: 0 },
    slots: [],
    hyper: [0.1],
  },
  {
    name: 'sgd with momentum',
    attrs: { kind: 'sgd', flag: false, constants: [0.9], weightDecay: 0 },
    slots: [0],
    hyper: [0.1],
  },
  {
    name: 'sgd with Nesterov momentum',
    attrs: { kind: 'sgd', flag: true, constants: [0.9], weightDecay: 0.01 },
    slots: [0],
    hyper: [0.1],
  },
  {
    name: 'rmsprop',
    attrs: { kind: 'rmsprop', flag: false, constants: [0.9, 0, 1e-7], weightDecay: 0 },
    slots: [0],
    hyper: [0.01],
  },
  {
    name: 'rmsprop centered',
    attrs: { kind: 'rmsprop', flag: true, constants: [0.9, 0, 1e-3], weightDecay: 0 },
    slots: [0, 1],
    hyper: [0.01],
  },
  {
    name: 'rmsprop centered with momentum',
    attrs: { kind: 'rmsprop', flag: true, constants: [0.8, 0.7, 1e-3], weightDecay: 0.1 },
    slots: [0, 1, 2],
    hyper: [0.01],
  },
  {
    name: 'rmsprop with momentum',
    attrs: { kind: 'rmsprop', flag: false, constants: [0.8, 0.7, 1e-7], weightDecay: 0 },
    slots: [0, 2],
    hyper: [0.01],
  },
  {
    name: 'adam',
    attrs: { kind: 'adam', flag: false, constants: [0.9, 0.999, 1e-7], weightDecay: 0 },
    slots: [0, 1],
    hyper: [0.001, 0.00031],
  },
  {
    name: 'adam amsgrad',
    attrs: { kind: 'adam', flag: true, constants: [0.9, 0.999, 1e-7], weightDecay: 0 },
    slots: [0, 1, 2],
    hyper: [0.001, 0.00031],
  },
  {
    name: 'adamw',
    attrs: { kind: 'adam', flag: false, constants: [0.9, 0.99, 1e-7], weightDecay: 0.02 },
    slots: [0, 1],
    hyper: [0.01, 0.008],
  },
  {
    name: 'adagrad',
    attrs: { kind: 'adagrad', flag: false, constants: [1e-7], weightDecay: 0 },
    slots: [0],
    hyper: [0.05],
  },
  {
    name: 'nadam',
    attrs: { kind: 'nadam', flag: false, constants: [0.9, 0.999, 1e-7], weightDecay: 0 },
    slots: [0, 1],
    hyper: [0.002, 0.6, 0.9, 500],
  },
  {
    name: 'adamax',
    attrs: { kind: 'adamax', flag: false, constants: [0.9, 0.6, 1e-7], weightDecay: 0.1 },
    slots: [0, 1],
    hyper: [0.01, 0.02],
  },
  {
    name: 'lion',
    attrs: { kind: 'lion', flag: false, constants: [0.9, 0.99], weightDecay: 0.1 },
    slots: [0],
    hyper: [0.01],
  },
  {
    name: 'adadelta',
    attrs: { kind: 'adadelta', flag: false, constants: [0.9, 1e-3], weightDecay: 0.1 },
    slots: [0, 1],
    hyper: [0.5],
  },
  {
    name: 'adafactor',
    attrs: { kind: 'adafactor', flag: false, constants: [1e-30, 1e-3, 1], weightDecay: 0.1 },
    slots: [0, 1, 2],
    hyper: [0.01, 0.01, 0.7],
  },
  {
    name: 'adafactor at its first step',
    attrs: { kind: 'adafactor', flag: false, constants: [1e-3, 1e-3, 0.5], weightDecay: 0 },
    slots: [0, 1, 2],
    hyper: [0.5, 0.5, 0],
  },
  {
    name: 'ftrl',
    attrs: { kind: 'ftrl', flag: false, constants: [-0.5, 0, 0, 0, 0], weightDecay: 0.1 },
    slots: [0, 1],
    hyper: [0.1],
  },
  {
    name: 'ftrl with all its penalties',
    attrs: { kind: 'ftrl', flag: false, constants: [-0.8, 0.3, 0.2, 0.1, 0.5], weightDecay: 0 },
    slots: [0, 1],
    hyper: [0.1],
  },
  {
    name: 'ftrl at a rate of 0',
    attrs: { kind: 'ftrl', flag: false, constants: [-0.5, 0, 0, 0, 0], weightDecay: 0.1 },
    slots: [0, 1],
    hyper: [0],
  },
];

const clips: UpdateAttrs['clip'][] = [
  { mode: 'none', limit: 0 },
  { mode: 'value', limit: 0.5 },
  { mode: 'norm', limit: 1.5 },
  { mode: 'globalNorm', limit: 2 },
  { mode: 'globalNorm', limit: 1e6 },
];

/** The slot that takes any number. */
const momenta: Partial<Record<OptimizerKind, number>> = {
  sgd: 0,
  adam: 0,
  nadam: 0,
  adamax: 0,
  lion: 0,
  ftrl: 1,
};

/** On some of the parameters. */
const penalties = [{ l1: 0.3, l2: 0.07 }, undefined, { l1: 0, l2: 0.5 }, { l1: 0.2, l2: 0 }];

/** Numbers of which one is 0, where a penalty's gradient is 0. */
function weights(random: RandomInputs, shape: number[]): Operand {
  const drawn = random.normal(shape);
  return {
    ...drawn,
    values: Float64Array.from(drawn.values, (v, i) => (i === 1 ? 0 : v)),
    variable: true,
  };
}

describe.each(rules)('$name', ({ attrs, slots, hyper }) => {
  const cases = clips.flatMap((clip) => [
    { ...clip, clip, name: 'no penalties', more: {} },
    { ...clip, clip, name: 'penalties', more: { penalties } },
    { ...clip, clip, name: 'rates of their own', more: { rateFactors: [0.25, 1, 3, 0] } },
  ]);
  test.each(cases)('clip $mode at $limit, $name', ({ clip, more }) => {
    const random = new RandomInputs(stream++);
    const shapes = [[7, 11], [33], [1], [65, 64]];
    const operands: (Operand | undefined)[] = [
      { dtype: 'float64', shape: [8], values: [...hyper, ...new Array(8 - hyper.length).fill(0)] },
    ];
    for (const shape of shapes) {
      operands.push(weights(random, shape), random.normal(shape));
      for (let slot = 0; slot < 3; slot++) {
        // Second moments (and a centered mean small against them) must be possible values.
        const own = slotShape(attrs.kind, slot, shape);
        if (!own || !slots.includes(slot)) {
          operands.push(undefined);
          continue;
        }
        const centeredMean = attrs.kind === 'rmsprop' && slot === 1;
        const values = centeredMean
          ? random.uniform(own, -0.1, 0.1)
          : momenta[attrs.kind] === slot
            ? random.normal(own)
            : random.uniform(own, 0.5, 2);
        operands.push({ ...values, variable: true });
      }
      operands.push(undefined, undefined);
    }
    // The terms of every rule are of size 1, and in a parameter of one element they may cancel.
    const { weightDecay: w, ...rule } = attrs;
    const all = { ...rule, clip, decay: [w, 0, w, 2 * w], ...more };
    checkParity('update', operands, all, tolerance(4), { scale: 1 });
  });
});

/** hyper[4 … 7]: 1 / steps summed, apply, share of the old average, overwrite. */
const phases = [
  { name: 'a step that only adds its gradients up', hyper: [0.5, 0, 0.9, 0], sums: true, averages: false },
  { name: 'the step that applies their mean', hyper: [1 / 3, 1, 0.9, 0], sums: true, averages: false },
  { name: 'an average that follows the weights', hyper: [0, 0, 0.9, 0], sums: false, averages: true },
  { name: 'an average that replaces the weights', hyper: [0, 0, 0.9, 1], sums: false, averages: true },
  { name: 'both, between updates', hyper: [0.5, 0, 0.75, 1], sums: true, averages: true },
  { name: 'both, at an update', hyper: [0.5, 1, 0.75, 0], sums: true, averages: true },
];

describe.each(phases)('$name', ({ hyper, sums, averages }) => {
  const some = rules.filter(({ name }) => ['sgd with momentum', 'adamw', 'adafactor', 'ftrl'].includes(name));
  const cases = some.flatMap((rule) =>
    clips.flatMap((clip) => [
      { ...rule, clip, of: 'no penalties', more: {} },
      { ...rule, clip, of: 'penalties', more: { penalties: penalties.slice(1) } },
    ]),
  );
  test.each(cases)(
    '$name, clip $clip.mode at $clip.limit, $of',
    ({ attrs, slots, hyper: own, clip, more }) => {
      const random = new RandomInputs(stream++);
      const values = [...own, ...new Array(4 - own.length).fill(0), ...hyper];
      const operands: (Operand | undefined)[] = [{ dtype: 'float64', shape: [8], values }];
      for (const shape of [[7, 11], [33], [65, 260]]) {
        operands.push(weights(random, shape), random.normal(shape));
        for (let slot = 0; slot < 3; slot++) {
          const like = slots.includes(slot) ? slotShape(attrs.kind, slot, shape) : undefined;
          operands.push(like && { ...random.uniform(like, 0.5, 2), variable: true });
        }
        operands.push(sums ? { ...random.normal(shape, 2), variable: true } : undefined);
        operands.push(averages ? { ...random.normal(shape), variable: true } : undefined);
      }
      const { weightDecay: w, ...rule } = attrs;
      const all = { ...rule, clip, decay: [w, 0, w], ...more };
      checkParity('update', operands, all, tolerance(4), { scale: 1 });
    },
  );
});

test('constraints', () => {
  const random = new RandomInputs(stream++);
  for (const kind of ['nonNeg', 'maxNorm', 'unitNorm'] as const) {
    for (const [shape, axis] of [
      [[7, 11], 0],
      [[7, 11], 1],
      [[33], 0],
    ] as const) {
      const variable = { ...random.normal([...shape]), variable: true };
      checkParity('constraint', [variable], { kind, axis, limit: 1.3 }, tolerance(33), { into: [0] });
    }
  }
});
