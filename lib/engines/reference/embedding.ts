import { refuse } from '../../errors';
import { type Ints, type Kernel, type Real, widthOf } from './operands';

/** y[a] = table[ids[a]]. */
export const embedding: Kernel<'embedding', [ids: Ints, table: Real], [y: Real]> = (_, [ids, table], [y]) => {
  const [V, E] = table.shape as [number, number];
  ids.data.forEach((v, a) => {
    proveId(v, V);
    y.data.set(table.data.subarray(v * E, (v + 1) * E), a * E);
  });
};

/** dTable[v] = Σ dy[a] over a with ids[a] = v, in rising a. */
export const embeddingGrad: Kernel<'embeddingGrad', [ids: Ints, dy: Real], [dTable: Real]> = (
  attrs,
  [ids, dy],
  [dTable],
) => {
  const E = widthOf(dy);
  dTable.data.fill(0);
  ids.data.forEach((v, a) => {
    proveId(v, attrs.size);
    for (let e = 0; e < E; e++) dTable.data[v * E + e]! += dy.data[a * E + e]!;
  });
};

/** Plans put a `check` before; this catches a plan that forgot. */
function proveId(id: number, V: number): void {
  if (id < 0 || id >= V) refuse('ERR_VALUE', 'embedding', `ids from 0 to ${V - 1}`, id);
}
