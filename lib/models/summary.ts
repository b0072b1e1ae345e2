import { readConfig } from '../config';
import { DeepRnnError } from '../errors';
import type { Layer, SymbolicShape } from '../layers/layer';
import { sizeOf } from '../tensors/tensor';
import { positiveInteger } from './callOptions';
import { type Graph, type GraphNode, inputKey, walk } from './graph';
import { lower, type PlanMode, slotName } from './lower';
import type { Model } from './model';
import { planBytes } from './planBytes';

export interface SummaryOptions {
  /** Also tell the memory that a batch of so many examples takes. */
  readonly batchSize?: number;
  /** Steps of sequences whose length varies. Default 64. */
  readonly steps?: number;
}

const REAL_BYTES = 4;
const NOMINAL_STEPS = 64;

/**
 * A table with one row per layer: name (type), output shape, number of parameters and, where the layers are no chain, what each use reads.
 * Below it the recurrent layers that run as one fused stack and, where a batch size is given, the memory of a batch.
 */
export function summarize(model: Model, options: SummaryOptions): string {
  const o = readConfig(options, ['batchSize', 'steps'], 'summary');
  const steps = positiveInteger('summary: steps', o.steps, NOMINAL_STEPS);
  const batchSize = positiveInteger('summary: batchSize', o.batchSize, 1);
  const graph = model.requireBuilt('summary');
  const rows = rowsOf(graph);
  const [trainable, frozen] = parametersOf(model);
  const body = table(isChain(graph) ? rows.map((row) => row.slice(0, 3)) : rows);
  const lines = [
    `Model: ${model.name}`,
    ...body,
    `parameters: ${trainable + frozen} (${trainable} trainable, ${frozen} not)`,
    ...stacksOf(model, steps),
  ];
  if (o.batchSize !== undefined) lines.push(memoryOf(model, batchSize, steps, trainable + frozen));
  return lines.join('\n');
}

function rowsOf(graph: Graph): string[][] {
  const rows = [['layer (type)', 'output shape', 'parameters', 'reads']];
  const seen = new Set<Layer>();
  const names = graph.inputs.map(({ name }) => name);
  const read = (node: GraphNode) => node.inputs.map(({ from }) => names[from]).join(', ');
  if (!isChain(graph))
    for (const { name, symbol } of graph.inputs) rows.push([`${name} (input)`, shown(symbol), '0', '']);
  walk(
    graph,
    graph.inputs.map(({ symbol }) => symbol),
    (node, inputs) => {
      const { layer } = node;
      const outputs = layer.outputShapes(inputs);
      const size = seen.has(layer) ? 'shared' : String(sizeOfLayer(layer));
      seen.add(layer);
      rows.push([`${layer.name} (${layer.shownType})`, outputs.map(shown).join(', '), size, read(node)]);
      names.push(layer.name);
      return outputs;
    },
  );
  return rows;
}

function isChain({ inputs, nodes, outputs }: Graph): boolean {
  const last = inputs.length + nodes.length - 1;
  return (
    inputs.length === 1 &&
    outputs.every(({ from }) => from === last) &&
    nodes.every((node, i) => node.inputs.length === 1 && node.inputs[0]?.from === i)
  );
}

function shown({ shape }: SymbolicShape): string {
  return `[N${shape.map((n) => `, ${n ?? 'any'}`).join('')}]`;
}

function sizeOfLayer({ weights }: Layer): number {
  return weights.reduce((sum, weight) => sum + sizeOf(weight.shape), 0);
}

/** Numbers of weights' elements: those that training changes, and the others. */
function parametersOf({ layers }: Model): [trainable: number, frozen: number] {
  let trainable = 0;
  let frozen = 0;
  for (const layer of layers) {
    for (const weight of layer.weights) {
      if (layer.trainable && weight.trainable !== false) trainable += sizeOf(weight.shape);
      else frozen += sizeOf(weight.shape);
    }
  }
  return [trainable, frozen];
}

/** Lines of a table with a rule above, below the head and at the end; numbers stand at the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] as string[]).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] as string).length)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i === 2 ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number)))
      .join('  ')
      .trimEnd();
  const rule = '─'.repeat(widths.reduce((sum, width) => sum + width + 2, -2));
  const [head, ...body] = rows.map(line);
  return [rule, head as string, rule, ...body, rule];
}

/** A plan of the model for a batch; undefined where its inputs leave more open than the number of steps. */
function planFor(model: Model, mode: PlanMode, batchSize: number, steps: number) {
  const recipe = model.recipe();
  const inputShapes = recipe.graph.inputs.map(({ symbol: { shape, sequence }, batchSize: fixed }) => [
    fixed ?? batchSize,
    ...shape.map((n, axis) => n ?? (sequence && axis === 0 ? steps : 0)),
  ]);
  if (inputShapes.flat().includes(0)) return undefined;
  const request = { mode, inputShapes, weighted: [], initialStates: [], gradientNorms: false };
  return { plan: lower(recipe, request).plan, inputShapes };
}

/** A line for each recurrent stack of several layers that the engines run as one. */
function stacksOf(model: Model, steps: number): string[] {
  try {
    const made = planFor(model, 'predict', 1, steps);
    return (made?.plan.ops ?? []).flatMap((op) =>
      op.kind === 'rnnStack' && op.attrs.layers.length > 1
        ? [`fused into one stack: ${op.attrs.layers.map(({ name }) => name).join(' + ')}`]
        : [],
    );
  } catch (error) {
    // So few steps may be too few for the windows of a layer: then nobody can say it without the data.
    if (error instanceof DeepRnnError) return [];
    throw error;
  }
}

/** What a batch takes on an engine of float32, beside weights and their copies for the optimizer. */
function memoryOf(model: Model, batchSize: number, steps: number, parameters: number): string {
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 3 : 1)} MiB`;
  const { compiled } = model;
  const parts = (['predict', 'train'] as const).flatMap((mode) => {
    if (mode === 'train' && !compiled) return [];
    const made = planFor(model, mode, batchSize, steps);
    return made ? [{ mode, ...made }] : [];
  });
  const [first] = parts;
  if (!first) return 'memory of a batch: known only when the shape of the inputs is';
  const last = (parts.at(-1) as (typeof parts)[number]).plan;
  const slots = last.values.filter(
    ({ role, name }) => role === 'variable' && name.includes(slotName('', '')),
  );
  const slotBytes = slots.reduce((sum, { shape }) => sum + sizeOf(shape) * REAL_BYTES, 0);
  const state = compiled ? `, optimizer ${mib(slotBytes)}` : '';
  const shapes = first.inputShapes.map(
    (shape, i) => `${inputKey(model.graph as Graph, i)} [${shape.join(', ')}]`,
  );
  const taken = parts.map(({ mode, plan }) => `${mode} ${mib(planBytes(plan, REAL_BYTES))}`);
  return `memory for ${shapes.join(', ')}: ${taken.join(', ')}; weights ${mib(parameters * REAL_BYTES)}${state}`;
}
