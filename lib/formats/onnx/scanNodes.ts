import { refuse } from '../../errors';
import { weightsOf } from '../../layers/cells/cell';
import { inOrder, traceCell } from '../../layers/cells/lowerCell';
import type { Layer } from '../../layers/layer';
import type { RecurrentLayer } from '../../layers/recurrentLayer';
import type { Traced, TracedNode } from '../../ops/traced';
import { type ActivationKind, activationCodes } from '../../plan/codes';
import { type InstructionKind, readsGroups } from '../../plan/program/program';
import type { ActivationAttrs } from '../../plan/types';
import { writeActivation } from './activationNodes';
import type { ExportContext } from './exportContext';
import type { GraphWriter } from './graphWriter';

/** A recurrence that no operator of ONNX's is for. */
export interface Scanned {
  readonly cell: RecurrentLayer;
  /** The layer in the model, and what the names of its weights begin with there. */
  readonly owner: Layer;
  readonly prefix: string;
  /** [T, N, features] */
  readonly x: string;
  readonly features: number;
  /** bool [T, N, 1]: which steps count; undefined: all. */
  readonly counts: string | undefined;
  /** [N, size] of each state. */
  readonly starts: readonly string[];
}

/** What of the steps a value is known of: of none, because it is made of weights alone; of all at once; of each in its turn. */
type Extent = 'weights' | 'sequence' | 'step';
/** Axes in front of the columns. */
const leads: Readonly<Record<Extent, number>> = { weights: 0, sequence: 2, step: 1 };

type Made = Extract<TracedNode, { sort: 'made' }>;

/** What an instruction is written with. */
interface Written extends Pick<Made, 'from' | 'ints' | 'floats'> {
  readonly graph: GraphWriter;
  /** The layer. */
  readonly subject: string;
  readonly width: number;
  readonly lead: number;
}

type Write = (made: Written, x: readonly string[]) => string;

/** x with its columns in other axes. */
function shaped(graph: GraphWriter, x: string, lead: number, columns: readonly number[]): string {
  const shape = [...new Array<number>(lead).fill(0), ...columns];
  return graph.node('Reshape', [x, graph.constant(shape, 'int64')]);
}

const plain =
  (operator: string): Write =>
  ({ graph }, x) =>
    graph.node(operator, x);

/** 1 where it is so, else 0. */
const compared =
  (operator: string): Write =>
  ({ graph }, x) =>
    graph.node('Cast', [graph.node(operator, x)], { to: 1 });

/** The last axis in places of `ints[0]` columns each, of which every place of the result is one; −1: zeros. */
const gather: Write = ({ graph, width, lead, from: [x], ints: [channels, ...sources] }, [name]) => {
  const size = channels as number;
  const places = shaped(graph, name as string, lead, [(x as Traced).width / size, size]);
  const at = graph.constant(
    sources.map((place) => Math.max(place, 0)),
    'int64',
  );
  let read = graph.node('Gather', [places, at], { axis: -2 });
  if (sources.includes(-1)) {
    const inside = graph.constant(
      sources.map((place) => Number(place >= 0)),
      'float32',
      [sources.length, 1],
    );
    read = graph.node('Where', [graph.node('Greater', [inside, graph.scalar(0)]), read, graph.scalar(0)]);
  }
  return shaped(graph, read, lead, [width]);
};

const activationKinds = new Map(
  Object.entries(activationCodes).map(([kind, code]) => [code as number, kind as ActivationKind] as const),
);

/** The instructions of programs that steps are traced in (lib/ops), on the last axis. */
const writers: Readonly<Partial<Record<InstructionKind, Write>>> = {
  matmul({ graph, width, lead, from: [x], ints: [, repeat = 1] }, [rows, matrix]) {
    if (repeat === 1) return graph.node('MatMul', [rows as string, matrix as string]);
    // Each row is several of the product's.
    const parts = shaped(graph, rows as string, lead, [repeat, (x as Traced).width / repeat]);
    return shaped(graph, graph.node('MatMul', [parts, matrix as string]), lead, [width]);
  },
  activation({ graph, subject, width, lead, ints: [code, group], floats: [alpha] }, [x]) {
    const attrs = { kind: activationKinds.get(code as number), alpha } as ActivationAttrs;
    if (group === width || !readsGroups(attrs.kind))
      return writeActivation(graph, attrs, x as string, subject);
    const parts = shaped(graph, x as string, lead, [width / (group as number), group as number]);
    return shaped(graph, writeActivation(graph, attrs, parts, subject), lead, [width]);
  },
  log: plain('Log'),
  sqrt: plain('Sqrt'),
  abs: plain('Abs'),
  sign: plain('Sign'),
  reciprocal: plain('Reciprocal'),
  scale: ({ graph, floats: [factor] }, [x]) =>
    graph.node('Mul', [x as string, graph.scalar(factor as number)]),
  shift: ({ graph, floats: [term] }, [x]) => graph.node('Add', [x as string, graph.scalar(term as number)]),
  add: plain('Add'),
  subtract: plain('Sub'),
  multiply: plain('Mul'),
  divide: plain('Div'),
  maximum: plain('Max'),
  minimum: plain('Min'),
  greater: compared('Greater'),
  greaterEqual: compared('GreaterOrEqual'),
  select: ({ graph }, [when, ...both]) =>
    graph.node('Where', [graph.node('Cast', [when as string], { to: 9 }), ...both]),
  sumGroups({ graph, width, lead, ints: [group] }, [x]) {
    const last = graph.constant([-1], 'int64');
    if (width === 1) return graph.node('ReduceSum', [x as string, last], { keepdims: 1 });
    const groups = shaped(graph, x as string, lead, [width, group as number]);
    return graph.node('ReduceSum', [groups, last], { keepdims: 0 });
  },
  slice({ graph, width, ints: [first] }, [x]) {
    const at = (n: number) => graph.constant([n], 'int64');
    return graph.node('Slice', [x as string, at(first as number), at((first as number) + width), at(-1)]);
  },
  concat: ({ graph }, x) => graph.node('Concat', x, { axis: -1 }),
  gather,
};

/** Rows [N, columns] of zeros. */
export function zeroRows({ graph, batch }: ExportContext, columns: number): string {
  const shape = graph.node('Concat', [batch, graph.constant([columns], 'int64')], { axis: 0 });
  return graph.node('Expand', [graph.scalar(0), shape]);
}

/** Writes the values of a cell's step: those of weights alone and of all steps at once as nodes of the graph, the others in a body. */
class CellWriter {
  private readonly extents = new Map<Traced, Extent>();
  private names = new Map<Traced, string>();

  constructor(
    private readonly context: ExportContext,
    private readonly run: Scanned,
  ) {}

  extentOf(value: Traced): Extent {
    return this.extents.get(value) as Extent;
  }

  /** Says how a value that nothing makes is called. */
  give(value: Traced, name: string): void {
    this.names.set(value, name);
  }

  /** Sorts values, each behind what it is made of, and writes those that wait for no step. */
  writeOutside(order: readonly Traced[]): void {
    for (const value of order) {
      const { node } = value;
      if (node.sort === 'made') {
        const from = node.from.map((part) => this.extentOf(part));
        const steps = from.includes('step') ? 'step' : 'weights';
        this.extents.set(value, steps === 'weights' && from.includes('sequence') ? 'sequence' : steps);
      } else
        this.extents.set(
          value,
          ({ input: 'sequence', state: 'step', weight: 'weights' } as const)[node.sort],
        );
      if (node.sort === 'made' && this.extentOf(value) !== 'step') this.give(value, this.write(value));
    }
  }

  /** Writes the values of a step, of which `inputs` are handed in; what they are called outside counts again behind it. */
  inBody<R>(order: readonly Traced[], inputs: ReadonlyMap<Traced, string>, read: () => R): R {
    const outside = this.names;
    this.names = new Map([...outside, ...inputs]);
    for (const value of order)
      if (value.node.sort === 'made' && !this.names.has(value)) this.give(value, this.write(value));
    const made = read();
    this.names = outside;
    return made;
  }

  nameOf(value: Traced): string {
    const { node } = value;
    return node.sort === 'weight' ? this.weight(node.name, node.shape) : (this.names.get(value) as string);
  }

  /** As rows [N, columns] or [T, N, columns] also where it is of weights alone. */
  rows(value: Traced, lead: number): string {
    const name = this.nameOf(value);
    if (this.extentOf(value) !== 'weights') return name;
    const { graph, batch } = this.context;
    const before = lead === 2 ? [graph.length(this.run.x, 0), batch] : [batch];
    const columns = graph.constant([value.width], 'int64');
    return graph.node('Expand', [name, graph.node('Concat', [...before, columns], { axis: 0 })]);
  }

  /** A weight as the step reads it: rows of vectors one after another, and all axes of a filter but its last as one. */
  private weight(name: string, shape: readonly number[], count = 1): string {
    const { owner, prefix } = this.run;
    const key = `${owner.name}/${prefix}${name}${count > 1 ? `, ${count} times` : ''}`;
    const dims = count > 1 ? [count * (shape[0] as number)] : shape;
    return this.context.derived(key, dims, owner, (weight) => {
      const { data } = weight(`${prefix}${name}`);
      return Float32Array.from({ length: count * data.length }, (_, i) => data[i % data.length] as number);
    });
  }

  private write(value: Traced): string {
    const { node, width } = value;
    const { kind, from, ints, floats } = node as Made;
    const { subject } = this.run.owner;
    const write = writers[kind];
    if (!write) return refuse('ERR_VALUE', subject, 'a step of operations that ONNX has', kind);
    const lead = leads[this.extentOf(value)];
    const names = from.map((part) => {
      if (kind === 'concat' && lead > 0) return this.rows(part, lead);
      // One bias for all places of a convolution.
      const repeats = part.node.sort === 'weight' && kind === 'add' && part.width > 1 && part.width < width;
      if (part.node.sort === 'weight' && repeats)
        return this.weight(part.node.name, part.node.shape, width / part.width);
      return this.nameOf(part);
    });
    return write({ graph: this.context.graph, subject, width, lead, from, ints, floats }, names);
  }
}

/**
 * The steps of a layer as the operator `Scan`, whose body is what the layer's step is traced as. What does not depend on the states is made
 * of all steps at once in front of it.
 * @returns the output, of all steps [T, N, columns] in the order of the input with returnSequences, else of the last one [N, columns]; the
 * states behind the last step
 */
export function scan(context: ExportContext, run: Scanned): { output: string; ends: string[] } {
  const { cell, owner, x, features, counts, starts } = run;
  const { graph } = context;
  const definition = cell.asCell();
  const weights = Object.entries(weightsOf(definition, features, owner.subject));
  const step = {
    weights: new Map(weights.map(([name, { shape }]) => [name, shape] as const)),
    states: cell.states,
    outputSize: cell.outputSize,
    step: definition.step,
    subject: owner.subject,
  };
  const { output, states, next, x: input } = traceCell(step, features, false, () => 0);
  const order = inOrder([...states, input, output, ...next]);
  const writer = new CellWriter(context, run);
  writer.give(input, x);
  writer.writeOutside(order);

  // Values of all steps that the body reads one step of; of several directions and states it has to read something.
  const roots = [output, ...next];
  const read = order.filter(
    (value) =>
      writer.extentOf(value) === 'sequence' &&
      (roots.includes(value) ||
        order.some(
          ({ node }, i) =>
            node.sort === 'made' &&
            node.from.includes(value) &&
            writer.extentOf(order[i] as Traced) === 'step',
        )),
  );
  if (read.length === 0) read.push(input);
  // Padded steps, and the last of all, give the output of the step before: it is a state like any other, unless it is one.
  const own = next.indexOf(output);
  const carriesOutput = own < 0 && (counts !== undefined || !cell.returnSequences);
  const carried = [...states, ...(carriesOutput ? [output] : [])];
  const float = ({ width }: Traced) => ({ type: 'float32', width }) as const;
  const inputs = [...carried.map(float), ...read.map(float)];
  const body = graph.body(
    [...inputs, ...(counts === undefined ? [] : [{ type: 'bool', width: 1 } as const])],
    (names) => {
      const given = new Map(
        [...states, ...read].map((value, i) => {
          const place = i < states.length ? i : i - states.length + carried.length;
          return [value, names[place] as string] as const;
        }),
      );
      const valid = counts === undefined ? undefined : (names.at(-1) as string);
      return writer.inBody(order, given, () => {
        const kept = (value: Traced, i: number) => {
          const made = writer.rows(value, 1);
          return valid === undefined ? made : graph.node('Where', [valid, made, names[i] as string]);
        };
        const after = [...next, ...(carriesOutput ? [output] : [])].map(kept);
        const shown = after[carriesOutput ? states.length : own] ?? writer.rows(output, 1);
        const outputs = [...after.map((name, i) => ({ name, width: (carried[i] as Traced).width }))];
        return cell.returnSequences ? [...outputs, { name: shown, width: output.width }] : outputs;
      });
    },
  );
  const sequences = [...read.map((value) => writer.nameOf(value)), ...(counts === undefined ? [] : [counts])];
  const turned = cell.goBackwards;
  const made = graph.nodeAll(
    'Scan',
    [...starts, ...(carriesOutput ? [zeroRows(context, output.width)] : []), ...sequences],
    {
      body: { graph: body },
      num_scan_inputs: sequences.length,
      ...(turned ? { scan_input_directions: sequences.map(() => 1) } : {}),
      ...(turned && cell.returnSequences ? { scan_output_directions: [1] } : {}),
    },
    carried.length + Number(cell.returnSequences),
  );
  const place = cell.returnSequences ? carried.length : carriesOutput ? states.length : own;
  return { output: made[place] as string, ends: made.slice(0, states.length) };
}
