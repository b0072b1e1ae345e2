// What is measured: recurrent stacks that give every step to a Dense of 10 classes with softmax.

export type Mode = 'infer' | 'train';

/** D features, layers of H units from the bottom up, T steps, B examples. */
export interface Workload {
  readonly name: string;
  readonly cell: 'simpleRnn' | 'lstm' | 'gru';
  readonly D: number;
  readonly H: readonly number[];
  readonly T: number;
  readonly B: number;
  /** Of a GRU: where the reset gate acts. */
  readonly resetAfter: boolean;
  readonly modes: readonly Mode[];
}

/** Classes of the head. */
export const CLASSES = 10;

const cells = { simpleRnn: 'SimpleRNN', lstm: 'LSTM', gru: 'GRU' } as const;

export function workload(
  cell: Workload['cell'],
  H: readonly number[],
  [D, B, T]: readonly [D: number, B: number, T: number],
  options: { readonly resetAfter?: boolean; readonly modes?: readonly Mode[] } = {},
): Workload {
  const { resetAfter = true, modes = ['infer', 'train'] } = options;
  const stack = H.every((units) => units === H[0]) ? `${H.length}×${H[0]}` : H.join('→');
  const reset = resetAfter ? '' : ' reset before';
  const name = `${cells[cell]} ${stack}${reset}, D${D} B${B} T${T}`;
  return { name, cell, D, H, T, B, resetAfter, modes };
}

const served = { modes: ['infer'] } as const;

export const workloads: readonly Workload[] = [
  workload('simpleRnn', [64, 32], [16, 64, 50]),
  workload('lstm', [256, 256], [128, 32, 64]),
  workload('lstm', [512, 512], [256, 32, 64]),
  workload('gru', [256, 256], [128, 32, 64]),
  workload('lstm', [1024, 1024, 1024, 1024], [256, 64, 32]),
  workload('lstm', [256, 256], [128, 1, 100], served),
  workload('gru', [256, 256], [128, 1, 1], served),
  workload('lstm', [512, 512], [128, 1, 1], served),
  workload('lstm', [100, 100], [40, 32, 50]),
  workload('gru', [128], [32, 16, 1000]),
  workload('lstm', [128, 128], [64, 7, 64]),
  workload('lstm', [256, 128, 64], [64, 32, 64]),
  workload('simpleRnn', [256, 256], [64, 32, 100]),
  workload('gru', [128, 128], [64, 32, 64], { resetAfter: false }),
  workload('lstm', [64, 32], [28, 64, 28]),
];

/** Whose outputs and losses are compared before anything is timed: in a GRU no bias stands for two, so that training agrees too. */
export const checked: readonly Workload[] = [
  workload('simpleRnn', [7, 5], [3, 4, 6], served),
  workload('lstm', [7, 5], [3, 4, 6], served),
  workload('gru', [7, 5], [3, 4, 6]),
];

const gates = { simpleRnn: 1, lstm: 4, gru: 3 } as const;

/**
 * Floating-point operations of the matrix products, 2 for each multiplication with its addition. Training has each product once
 * forwards and twice backwards, but needs no gradient of the data.
 */
export function flopsOf({ cell, D, H, T, B }: Workload, mode: Mode): number {
  const perRow = (inputs: number, outputs: number) => 2 * T * B * inputs * outputs;
  const layers = H.map((units, l) => {
    const inputs = H[l - 1] ?? D;
    return perRow(inputs + units, gates[cell] * units);
  });
  const forward = layers.reduce((sum, flops) => sum + flops, perRow(H.at(-1) as number, CLASSES));
  return mode === 'infer' ? forward : 3 * forward - perRow(D, gates[cell] * (H[0] as number));
}
