import { quoted, refuse } from '../../errors';
import type { Traced } from '../../ops/traced';
import { Gru, type GruConfig } from '../gru';
import { Lstm, type LstmConfig } from '../lstm';
import { commonOptions } from '../options';
import type { Recurrent } from '../recurrent';
import { type RecurrentLayerConfig, recurrentLayerOptions } from '../recurrentLayer';
import { SimpleRnn, type SimpleRnnConfig } from '../simpleRnn';
import { type Cell, type CellDefinition, type CellWeight, defineCell, resolveCell, weightsOf } from './cell';
import { indRNN } from './indRnn';
import { sruCell } from './sru';

/** What says how a sequence is read is the layer's. */
type OfCell<C> = Omit<C, keyof RecurrentLayerConfig>;

/** Of what a cell does not see: how its inputs and weights are read, and what all steps gave. */
const ofLayers = [
  ...commonOptions,
  ...recurrentLayerOptions,
  'dropoutMode',
  'recurrentWeightDropout',
  'weightNoise',
  'temporalActivationRegularizer',
] as const;

/** The step of a layer as a cell. */
function cellOf<C extends object>(type: string, config: C, make: (config: C) => Recurrent): CellDefinition {
  const odd = ofLayers.find((option) => option in Object(config));
  if (odd !== undefined)
    refuse('ERR_VALUE', `cells.${type}: ${odd}`, 'it at layers.rnn, not at its cell', 'it here');
  return make(config).asCell();
}

/** Cells on each other: each reads what the one below gives. Their states and weights have the cell's number behind their names. */
function stacked({
  cells,
}: {
  readonly cells: readonly { type: string; config: unknown }[];
}): CellDefinition {
  if (!Array.isArray(cells) || cells.length === 0)
    refuse('ERR_VALUE', 'cells.stacked', 'an array of cells', quoted(cells));
  const parts = cells.map((cell, i) => resolveCell(cell, `cells.stacked: [${i}]`).definition);
  const sizeOf = ({ outputSize, states }: CellDefinition) =>
    outputSize ?? (Object.values(states)[0] as number);
  const numbered = <V>(values: Readonly<Record<string, V>>, i: number) =>
    Object.entries(values).map(([name, value]) => [`${name}${i}`, value] as const);
  /** Those of part i, under the names that it knows. */
  /** A name that ends in digits may read like that of another cell. */
  const distinct = <V>(what: string, entries: readonly (readonly [string, V])[]): Record<string, V> => {
    const twice = entries.map(([name]) => name).find((name, i, all) => all.indexOf(name) < i);
    const wanted = `${what} whose names, with their cell's number behind them, differ`;
    if (twice !== undefined) refuse('ERR_VALUE', 'cells.stacked', wanted, `'${twice}' twice`);
    return Object.fromEntries(entries);
  };
  const own = <V>(values: Readonly<Record<string, V>>, names: readonly string[], i: number) =>
    Object.fromEntries(names.map((name) => [name, values[`${name}${i}`] as V]));
  const inputsOf = (features: number) =>
    parts.map((_, i) => (i === 0 ? features : sizeOf(parts[i - 1] as CellDefinition)));
  return {
    states: distinct(
      'states',
      parts.flatMap(({ states }, i) => numbered(states, i)),
    ),
    outputSize: sizeOf(parts[parts.length - 1] as CellDefinition),
    weights: (features) =>
      distinct(
        'weights',
        inputsOf(features).flatMap((width, i) =>
          numbered<CellWeight>(weightsOf(parts[i] as CellDefinition, width, `cells.stacked: [${i}]`), i),
        ),
      ),
    step(x, states, weights, context) {
      let output = x;
      const next: (readonly [string, Traced])[] = [];
      for (const [i, part] of parts.entries()) {
        const names = Object.keys(part.weights(output.width));
        const given = part.step(
          output,
          own(states, Object.keys(part.states), i),
          own(weights, names, i),
          context,
        );
        next.push(...numbered(given.states, i));
        output = given.output;
      }
      return { output, states: Object.fromEntries(next) };
    },
  };
}

const stack = defineCell('stacked', stacked);

/** Makers of cells for `layers.rnn`. They take the options of the layers of the same name that say what a step is. */
export const cells = {
  simpleRNN: defineCell('simpleRNN', (config: OfCell<SimpleRnnConfig>) =>
    cellOf('simpleRNN', config, (own) => new SimpleRnn(own)),
  ),
  lstm: defineCell('lstm', (config: OfCell<LstmConfig>) => cellOf('lstm', config, (own) => new Lstm(own))),
  gru: defineCell('gru', (config: OfCell<GruConfig>) => cellOf('gru', config, (own) => new Gru(own))),
  indRNN,
  sru: sruCell,
  stacked: (parts: readonly Cell[]): Cell =>
    stack({
      cells: parts.map((cell, i) => {
        const { type, config } = resolveCell(cell, `cells.stacked: [${i}]`);
        return { type, config };
      }),
    }),
};
