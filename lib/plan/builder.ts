import { DeepRnnError } from '../errors';
import { type Shape, sameShape } from '../tensors/tensor';
import type { OpKind, ValueDType, ValueRole } from './codes';
import { opRow } from './opTable';
import {
  ABSENT,
  type AnyPlanOp,
  type OpAttrs,
  type Plan,
  type PlanOp,
  type ValueId,
  type ValueSpec,
} from './types';

/** Collects the values and ops of one plan. Layers, losses and optimizers emit into it; passes rewrite it; `finish` freezes it. */
export class PlanBuilder {
  readonly values: ValueSpec[] = [];
  ops: AnyPlanOp[] = [];
  private readonly named = new Map<string, ValueId>();
  /** The first `count` of these ops by what they read: graphs of thousands of ops ask for the same ones again and again. */
  private byInputs = { of: this.ops, count: 0, ops: new Map<string, AnyPlanOp[]>() };

  constructor(readonly name: string) {}

  spec(id: ValueId): ValueSpec {
    const value = this.values[id];
    if (!value) throw new DeepRnnError('ERR_STATE', `plan '${this.name}': no value ${id}.`);
    return value;
  }

  /** An array that JavaScript fills before each run. Asking again for a name gives the same value. */
  input(name: string, dtype: ValueDType, shape: Shape): ValueId {
    return this.sharedValue('input', name, dtype, shape);
  }

  /** An array that the session holds. Asking again for a name gives the same value. */
  variable(name: string, dtype: ValueDType, shape: Shape): ValueId {
    return this.sharedValue('variable', name, dtype, shape);
  }

  /** Appends an op and gives the ids of its outputs; those that `want` leaves out are ABSENT. */
  emit<K extends OpKind>(
    kind: K,
    inputs: ValueId[],
    attrs: OpAttrs[K],
    label: string,
    want?: readonly boolean[],
  ): ValueId[] {
    const outputs = this.infer(kind, inputs, attrs).map((out, i) =>
      want && !want[i] ? ABSENT : this.newValue('arena', `${label}:${kind}.${i}`, out.dtype, out.shape),
    );
    this.push({ kind, inputs: [...inputs], outputs, attrs, label });
    return outputs;
  }

  /** `emit` of an op with one output, or the output of the same op upon the same inputs: masks of steps are compared by what they are. */
  emitOnce<K extends OpKind>(kind: K, inputs: ValueId[], attrs: OpAttrs[K], label: string): ValueId {
    const wanted = JSON.stringify(attrs);
    const known = this.opsUpon(kind, inputs).find((op) => JSON.stringify(op.attrs) === wanted);
    return (known ? known.outputs : this.emit(kind, inputs, attrs, label))[0] as ValueId;
  }

  private opsUpon(kind: OpKind, inputs: readonly ValueId[]): readonly AnyPlanOp[] {
    const keyOf = (own: OpKind, ids: readonly ValueId[]) => `${own} ${ids.join()}`;
    // Passes put other ops in the place of these.
    if (this.byInputs.of !== this.ops || this.byInputs.count > this.ops.length)
      this.byInputs = { of: this.ops, count: 0, ops: new Map() };
    const { byInputs } = this;
    for (; byInputs.count < this.ops.length; byInputs.count++) {
      const op = this.ops[byInputs.count] as AnyPlanOp;
      const key = keyOf(op.kind, op.inputs);
      const others = byInputs.ops.get(key);
      if (others) others.push(op);
      else byInputs.ops.set(key, [op]);
    }
    return byInputs.ops.get(keyOf(kind, inputs)) ?? [];
  }

  /** Appends an op that writes into values which exist already (variables). */
  emitInto<K extends OpKind>(
    kind: K,
    inputs: ValueId[],
    outputs: ValueId[],
    attrs: OpAttrs[K],
    label: string,
  ): void {
    this.infer(kind, inputs, attrs).forEach((out, i) => {
      const id = outputs[i] ?? ABSENT;
      if (id !== ABSENT && !sameShape(this.spec(id).shape, out.shape)) {
        throw new DeepRnnError(
          'ERR_SHAPE',
          `${label}: ${kind} gives [${out.shape}], ${this.spec(id).name} is [${this.spec(id).shape}].`,
        );
      }
    });
    this.push({ kind, inputs: [...inputs], outputs: [...outputs], attrs, label });
  }

  /** Marks a value as one that JavaScript reads after a run, under a name of its own. */
  output(name: string, id: ValueId): void {
    const value = this.spec(id);
    if (value.role !== 'arena') {
      throw new DeepRnnError(
        'ERR_STATE',
        `plan '${this.name}': value '${value.name}' is already an ${value.role}.`,
      );
    }
    this.values[id] = { ...value, role: 'output', name };
  }

  /** Gives output `index` of an op, absent so far, a value. */
  addOutput(op: AnyPlanOp, index: number): ValueId {
    const out = this.infer(op.kind, op.inputs, op.attrs as OpAttrs[OpKind])[index];
    if (!out) throw new DeepRnnError('ERR_STATE', `${op.label}: ${op.kind} has no output ${index}.`);
    const id = this.newValue('arena', `${op.label}:${op.kind}.${index}`, out.dtype, out.shape);
    op.outputs[index] = id;
    return id;
  }

  private infer<K extends OpKind>(kind: K, inputs: ValueId[], attrs: OpAttrs[K]) {
    const specs = inputs.map((id) => (id === ABSENT ? undefined : this.spec(id)));
    return opRow(kind).infer(specs, attrs);
  }

  private push<K extends OpKind>(op: PlanOp<K>): void {
    this.ops.push(op as unknown as AnyPlanOp);
  }

  private sharedValue(role: 'input' | 'variable', name: string, dtype: ValueDType, shape: Shape): ValueId {
    const key = `${role}:${name}`;
    const known = this.named.get(key);
    if (known === undefined) {
      const id = this.newValue(role, name, dtype, shape);
      this.named.set(key, id);
      return id;
    }
    const value = this.spec(known);
    if (value.dtype !== dtype || !sameShape(value.shape, shape)) {
      throw new DeepRnnError(
        'ERR_SHAPE',
        `plan '${this.name}': ${role} '${name}' is ${value.dtype} [${value.shape}], asked for as ${dtype} [${shape}].`,
      );
    }
    return known;
  }

  private newValue(role: ValueRole, name: string, dtype: ValueDType, shape: Shape): ValueId {
    this.values.push({ id: this.values.length, name, dtype, shape: [...shape], role });
    return this.values.length - 1;
  }

  /** The finished plan: dead ops dropped, ops in dependency order. */
  finish(): Plan {
    this.dropDeadOps();
    return { name: this.name, values: this.values, ops: this.ops };
  }

  /** Drops ops none of whose results is read, and optional outputs that nobody reads. */
  private dropDeadOps(): void {
    const live = new Set<ValueId>();
    const keep: AnyPlanOp[] = [];
    for (const op of [...this.ops].reverse()) {
      const wanted = (id: ValueId) => id !== ABSENT && (live.has(id) || this.spec(id).role !== 'arena');
      // `check` is there for the error and `update` for what it writes in place.
      if (op.kind !== 'check' && op.kind !== 'update' && !op.outputs.some(wanted)) continue;
      // The stacks and the gradient ops have optional outputs; all others have one output, which is live here.
      op.outputs = op.outputs.map((id) => (wanted(id) ? id : ABSENT));
      for (const id of op.inputs) if (id !== ABSENT) live.add(id);
      keep.push(op);
    }
    this.ops = keep.reverse();
  }
}
