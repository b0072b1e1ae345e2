import type { TopLevelSpec } from 'vega-lite';
import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { atomicWrite } from '../io/atomicWrite';
import { optional } from '../io/optional';
import type { History } from '../models/history';

export interface HistoryPlotOptions {
  /** Also writes the plot to this file, whole or not at all. */
  readonly file?: string;
  /** What is drawn, of the names in the history without `val_`. Default: all. */
  readonly metrics?: readonly string[];
}

const VALIDATION = 'val_';

/**
 * Training curves as SVG: for the loss and every metric a chart over epochs, with the line of the validation data beside that of training. Needs the
 * packages `vega` and `vega-lite`.
 * @throws ERR_VALUE for a name that the history does not have, ERR_STATE without the packages
 */
export async function plotHistory(history: History, options: HistoryPlotOptions = {}): Promise<string> {
  const subject = 'plotHistory';
  const { file, metrics } = readConfig(options, ['file', 'metrics'], subject) as HistoryPlotOptions;
  const { epoch, history: values } = Object(history) as Partial<History>;
  if (!Array.isArray(epoch) || typeof values !== 'object')
    refuse('ERR_VALUE', `${subject}: history`, 'what fit gives', quoted(history));
  const known = [...new Set(Object.keys(values as object).map(nameOf))];
  const drawn = metrics ?? known;
  const odd = drawn.find((name) => !known.includes(name));
  if (odd !== undefined)
    refuse('ERR_VALUE', `${subject}: metrics`, `some of ${known.join(', ')}`, quoted(odd));
  const [vega, { compile }] = await optional(
    'vega vega-lite',
    () => Promise.all([import('vega'), import('vega-lite')]),
    subject,
  );
  const spec = chart(epoch as number[], values as Record<string, number[]>, drawn);
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' });
  const svg = `${await view.toSVG()}\n`;
  view.finalize();
  if (file !== undefined) await atomicWrite(file, [Buffer.from(svg)]);
  return svg;
}

function nameOf(key: string): string {
  return key.startsWith(VALIDATION) ? key.slice(VALIDATION.length) : key;
}

function chart(
  epoch: readonly number[],
  history: Readonly<Record<string, readonly number[]>>,
  drawn: readonly string[],
): TopLevelSpec {
  const values = Object.entries(history).flatMap(([key, numbers]) =>
    drawn.includes(nameOf(key))
      ? numbers.flatMap((value, i) =>
          Number.isFinite(value)
            ? [
                {
                  epoch: epoch[i],
                  metric: nameOf(key),
                  data: key === nameOf(key) ? 'training' : 'validation',
                  value,
                },
              ]
            : [],
        )
      : [],
  );
  return {
    background: 'white',
    config: { font: 'sans-serif' },
    data: { values },
    facet: { field: 'metric', type: 'nominal', title: null, sort: [...drawn] },
    columns: 2,
    spec: {
      width: 320,
      height: 200,
      mark: { type: 'line', point: epoch.length < 40 },
      encoding: {
        x: { field: 'epoch', type: 'quantitative', title: 'epoch', axis: { tickMinStep: 1 } },
        y: { field: 'value', type: 'quantitative', title: null, scale: { zero: false } },
        color: {
          field: 'data',
          type: 'nominal',
          title: null,
          // Told apart also by those who cannot see red or green (Okabe and Ito).
          scale: { domain: ['training', 'validation'], range: ['#0072b2', '#e69f00'] },
        },
      },
    },
    resolve: { scale: { y: 'independent' } },
  };
}
