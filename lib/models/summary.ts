import type { Layer, SymbolicShape } from '../layers/layer';
import { sizeOf } from '../tensors/tensor';
import { walk } from './graph';
import type { Model } from './model';

/** A table with one row per layer: name (type), output shape, number of parameters. */
export function summarize(model: Model): string {
  const rows = [['layer (type)', 'output shape', 'parameters']];
  const graph = model.requireBuilt('summary');
  let trainable = 0;
  let frozen = 0;
  const shapes = new Map<Layer, SymbolicShape>();
  walk(
    graph,
    graph.inputs.map(({ symbol }) => symbol),
    ({ layer }, read) => {
      const outputs = layer.outputShapes(read);
      if (!shapes.has(layer)) shapes.set(layer, outputs[0] as SymbolicShape);
      return outputs;
    },
  );
  for (const [layer, { shape }] of shapes) {
    const size = layer.weights.reduce((sum, weight) => sum + sizeOf(weight.shape), 0);
    const learns = layer.trainable
      ? layer.weights.filter((w) => w.trainable !== false).reduce((sum, w) => sum + sizeOf(w.shape), 0)
      : 0;
    trainable += learns;
    frozen += size - learns;
    rows.push([
      `${layer.name} (${layer.type})`,
      `[N, ${shape.map((n) => n ?? 'any').join(', ')}]`,
      String(size),
    ]);
  }
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const line = (row: string[]) =>
    row
      .map((cell, i) => (i === 2 ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number)))
      .join('  ');
  const rule = '─'.repeat(line(rows[0] as string[]).length);
  const [head, ...body] = rows.map(line);
  const total = `parameters: ${trainable + frozen} (${trainable} trainable, ${frozen} not)`;
  return [`Model: ${model.name}`, rule, head, rule, ...body, rule, total].join('\n');
}
