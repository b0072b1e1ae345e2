import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { type Cell, type CellDefinition, type CellWeight, resolveCell, weightsOf } from './cells/cell';
import { lowerCell, traceCell } from './cells/lowerCell';
import { resolveConstraint } from './constraints';
import { resolveInitializer } from './initializers';
import type { CallContext, SymbolicShape, WeightSpec } from './layer';
import { commonOptions, subjectOf } from './options';
import {
  type Recurrence,
  type RecurrenceInputs,
  RecurrentLayer,
  type RecurrentLayerConfig,
  recurrentLayerOptions,
} from './recurrentLayer';
import { resolveRegularizer } from './regularizers';

export interface RnnConfig extends RecurrentLayerConfig {
  /** What a step is: of `defineCell`, or one of `cells`; several are stacked on each other, as `cells.stacked` does. */
  cell: Cell | readonly Cell[] | { readonly type: string; readonly config: unknown };
}

/**
 * A recurrent layer of any cell: `layers.rnn({ cell })`. Input `[N, T, D]`; output `[N, T, outputSize]` with returnSequences, else
 * `[N, outputSize]`. The weights and states are those of the cell, under their names.
 */
export class Rnn extends RecurrentLayer {
  readonly type = 'rnn';
  readonly cell: Cell;

  constructor(config: RnnConfig) {
    const subject = subjectOf('rnn', config);
    const o = readConfig<string>(config, [...commonOptions, 'cell', ...recurrentLayerOptions], subject);
    super('rnn', o);
    this.cell = resolveCell(o['cell'], `${subject}: cell`);
  }

  override get shownType(): string {
    return `rnn: ${this.cell.type}`;
  }

  override get outputSize(): number {
    const { outputSize, states } = this.cell.definition;
    return outputSize ?? (Object.values(states)[0] as number);
  }

  override get states(): readonly { readonly name: string; readonly size: number }[] {
    return Object.entries(this.cell.definition.states).map(([name, size]) => ({ name, size }));
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const shape = super.outputShape(input);
    // What is wrong with the step shows here, and not in the middle of a fit.
    const features = input.shape[1] as number;
    traceCell(this.run(this.shapes(features)), features, true, () => 0);
    return shape;
  }

  protected override stepWeights(features: number): WeightSpec[] {
    return Object.entries(this.cellWeights(features)).map(([name, weight]) => {
      const subject = `${this.subject}: weight '${name}'`;
      const matrix = weight.shape.length > 1;
      return {
        name,
        shape: weight.shape,
        initializer: resolveInitializer(
          weight.initializer ?? (matrix ? 'glorotUniform' : 'zeros'),
          `${subject}: initializer`,
        ),
        regularizer: resolveRegularizer(weight.regularizer, `${subject}: regularizer`),
        constraint: resolveConstraint(weight.constraint, `${subject}: constraint`),
        decay: weight.decay ?? matrix,
      };
    });
  }

  /** @internal */
  override asCell(): CellDefinition {
    return this.cell.definition;
  }

  protected override recur(context: CallContext, inputs: RecurrenceInputs): Recurrence {
    const { input } = inputs;
    const shapes = new Map(this.weights.map(({ name, shape }) => [name, shape]));
    const dropped = this.dropInputs(context, input);
    const seed = this.seed ?? context.seed;
    return lowerCell({ ...this.run(shapes), seed }, context, { ...inputs, input: dropped });
  }

  private run(weights: ReadonlyMap<string, readonly number[]>) {
    return {
      layer: this,
      subject: this.subject,
      weights,
      states: this.states,
      outputSize: this.outputSize,
      returnSequences: this.returnSequences,
      goBackwards: this.goBackwards,
      step: this.cell.definition.step,
    };
  }

  /** The cell's weights for inputs of so many features, proved to have shapes. */
  private cellWeights(features: number): Readonly<Record<string, CellWeight>> {
    const weights = weightsOf(this.cell.definition, features, this.subject);
    const learned = this.states.map(({ name }) => this.initialWeight(name));
    const twice = learned.find((name, i) => name !== undefined && learned.indexOf(name) < i);
    if (twice !== undefined)
      refuse(
        'ERR_VALUE',
        `${this.subject}: cell`,
        'states whose names differ in more than their first letter’s case',
        twice,
      );
    for (const name of Object.keys(weights))
      if (learned.includes(name))
        refuse(
          'ERR_VALUE',
          `${this.subject}: weight '${name}'`,
          'a name that the layer has no use for',
          quoted(name),
        );
    return weights;
  }

  private shapes(features: number): ReadonlyMap<string, readonly number[]> {
    return new Map(Object.entries(this.cellWeights(features)).map(([name, { shape }]) => [name, shape]));
  }

  override getConfig(): Record<string, unknown> {
    const { type, config } = this.cell;
    return { ...super.getConfig(), cell: { type, config } };
  }
}
