import { readConfig } from '../config';
import { refuse } from '../errors';
import { atomicWrite } from '../io/atomicWrite';
import { optional } from '../io/optional';
import type { SymbolicShape } from '../layers/layer';
import { walk } from '../models/graph';
import type { Model } from '../models/model';

export interface ModelPlotOptions {
  /** Also writes the plot to this file, whole or not at all. */
  readonly file?: string;
  /** From the inputs down (`'down'`, default) or to the right. */
  readonly direction?: 'down' | 'right';
}

/**
 * A model's layers and how they are connected, as SVG: for every use of a layer its name, type and output shape. Needs the package `@viz-js/viz`
 * (Graphviz).
 * @throws ERR_STATE before the model's shapes are known, or without the package
 */
export async function plotModel(model: Model, options: ModelPlotOptions = {}): Promise<string> {
  const subject = 'plotModel';
  const { file, direction = 'down' } = readConfig(
    options,
    ['file', 'direction'],
    subject,
  ) as ModelPlotOptions;
  if (direction !== 'down' && direction !== 'right')
    refuse('ERR_VALUE', `${subject}: direction`, "'down' or 'right'", direction);
  const text = graphOf(model, direction);
  const viz = await optional('@viz-js/viz', () => import('@viz-js/viz'), subject);
  const svg = (await viz.instance()).renderString(text, { format: 'svg' });
  if (file !== undefined) await atomicWrite(file, [Buffer.from(svg)]);
  return svg;
}

/** In the language of Graphviz. */
function graphOf(model: Model, direction: 'down' | 'right'): string {
  const graph = model.requireBuilt('plotModel');
  const lines: string[] = [];
  const node = (id: string, title: string, shapes: readonly SymbolicShape[], more = '') =>
    lines.push(`${id} [label=${escaped(`${title}\n${shapes.map(shown).join(', ')}`)}${more}]`);
  const sources = graph.inputs.map(({ name, symbol }, i) => {
    node(`i${i}`, name, [symbol], ', style="rounded,filled", fillcolor="#e8f1f8"');
    return { id: `i${i}`, symbol };
  });
  const results = walk(graph, sources, ({ layer }, read, index) => {
    const shapes = layer.outputShapes(read.map(({ symbol }) => symbol));
    node(`n${index}`, `${layer.name} (${layer.type})`, shapes);
    for (const { id } of read) lines.push(`${id} -> n${index}`);
    return shapes.map((symbol) => ({ id: `n${index}`, symbol }));
  });
  // Of several outputs, which is which.
  if (results.length > 1)
    results.forEach(({ id, symbol }, i) => {
      node(`o${i}`, `output ${i + 1}`, [symbol], ', style="rounded,filled", fillcolor="#f8efdc"');
      lines.push(`${id} -> o${i}`);
    });
  const look = 'node [shape=box, style=rounded, fontname="sans-serif", fontsize=11]';
  return `digraph { rankdir=${direction === 'down' ? 'TB' : 'LR'}; ${look}\n${lines.join('\n')}\n}`;
}

function shown({ shape, dtype }: SymbolicShape): string {
  return `${dtype === 'int32' ? 'ids ' : ''}[N${shape.map((n) => `, ${n ?? 'any'}`).join('')}]`;
}

function escaped(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}
