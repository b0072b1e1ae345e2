import type { OutOfMemory } from '../engines/outOfMemory';
import { lower, type PlanRequest, type Recipe } from './lower';
import { planBytes } from './planBytes';

/** What pools round up to, and what grows otherwise than the buffers of the plan. */
const MARGIN = 0.98;

/** The largest batch whose plan would have fitted where that of `request` did not; 0 when even one example is too many. */
export function largestBatch(recipe: Recipe, request: PlanRequest, shortage: OutOfMemory): number {
  const asked = request.inputShapes[0]?.[0] as number;
  const sizeFor = (batch: number) => {
    const inputShapes = request.inputShapes.map(([, ...rest]) => [batch, ...rest]);
    return planBytes(lower(recipe, { ...request, inputShapes }).plan, 4);
  };
  // What the device needs beside the buffers (scratch memory, copies of the inputs) is taken to grow as they do.
  const limit = (MARGIN * shortage.available * sizeFor(asked)) / shortage.needed;
  let [fits, tooMany] = [0, asked];
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (sizeFor(middle) <= limit) fits = middle;
    else tooMany = middle;
  }
  return fits;
}
