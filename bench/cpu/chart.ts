// Charts as SVG.
import type { TopLevelSpec } from 'vega-lite';
import { peers } from './contenders';
import type { Row } from './results';
import { measuredPeers, ratioOf } from './table';

/** Draws a Vega-Lite chart. */
export async function svgOf(spec: TopLevelSpec): Promise<string> {
  // Both are ES modules.
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' });
  return `${await view.toSVG()}\n`;
}

/** Colours told apart also by those who cannot see red or green (Okabe and Ito). */
export const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#d55e00'];

/** How many times as long as ours each peer took: a bar for every peer in every row, from 1 on. */
export function ratioChart(rows: readonly Row[]): TopLevelSpec {
  const shown = measuredPeers(rows);
  const values = rows.flatMap((row) =>
    shown.flatMap(({ name, title }) => {
      const ratio = ratioOf(row, name);
      return ratio === undefined
        ? []
        : [
            {
              network: row.workload.name,
              mode: row.mode === 'infer' ? 'inference' : 'training step',
              peer: title,
              ratio,
              from: 1,
            },
          ];
    }),
  );
  return {
    background: 'white',
    config: { font: 'sans-serif' },
    title: 'Time of each library as a multiple of deeprnn’s (right of 1: deeprnn is faster)',
    data: { values },
    facet: { column: { field: 'mode', type: 'nominal', title: null } },
    spec: {
      width: 320,
      height: { step: 36, for: 'position' },
      layer: [
        {
          mark: 'bar',
          encoding: {
            x: {
              field: 'from',
              type: 'quantitative',
              scale: { type: 'log' },
              title: 'times as long (logarithmic)',
            },
            x2: { field: 'ratio' },
            y: { field: 'network', type: 'nominal', sort: null, title: null, axis: { labelLimit: 300 } },
            yOffset: { field: 'peer', sort: peers.map(({ title }) => title) },
            color: {
              field: 'peer',
              type: 'nominal',
              sort: null,
              title: null,
              scale: { domain: shown.map(({ title }) => title), range: colours.slice(0, shown.length) },
            },
          },
        },
        { mark: { type: 'rule', color: 'black' }, encoding: { x: { datum: 1 } } },
      ],
    },
  };
}
