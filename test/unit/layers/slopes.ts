import { type Model, type Tensor, tensor } from '../../../lib';
import type { Draws } from '../reference/gradientCheck';

/**
 * Proves that the gradients of a compiled model of the reference engine, at random weights, are the slopes of its loss: along a random
 * direction for each weight.
 */
export async function expectSlopes(model: Model, x: Tensor, target: Tensor, draws: Draws): Promise<void> {
  const weights = new Map(
    [...(await model.getWeights())].map(([name, { shape, data }]) => [
      name,
      { shape, values: draws.normals(data.length, 0.5) },
    ]),
  );
  const directions = new Map([...weights].map(([name, { values }]) => [name, draws.normals(values.length)]));
  /** The gradients at the weights, moved along their directions. */
  const at = async (distance: number, moved: (name: string) => boolean) => {
    const there = [...weights].map(([name, { shape, values }]) => {
      const by = moved(name) ? distance : 0;
      return [
        name,
        tensor(
          values.map((v, i) => v + by * (directions.get(name)?.[i] as number)),
          shape,
        ),
      ] as const;
    });
    await model.setWeights(new Map(there));
    return model.computeGradients(x, target);
  };
  const { gradients } = await at(0, () => false);
  // Moving statistics follow the data.
  const trained = [...weights.keys()].filter((name) => !name.includes('/moving'));
  expect([...gradients.keys()].sort()).toEqual(trained.sort());
  for (const [name, { data }] of gradients) {
    const step = 1e-5;
    const [above, below] = [await at(step, (n) => n === name), await at(-step, (n) => n === name)];
    const slope = (above.loss - below.loss) / (2 * step);
    const expected = Array.from(data).reduce(
      (sum, g, i) => sum + g * (directions.get(name)?.[i] as number),
      0,
    );
    if (!(Math.abs(slope - expected) <= 1e-6 * (1 + Math.abs(slope))))
      throw new Error(`${name}: slope ${slope}, gradient along it ${expected}`);
  }
}
