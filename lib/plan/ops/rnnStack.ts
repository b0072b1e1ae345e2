import { refuse } from '../../errors';
import { splitSeed } from '../../tensors/random';
import { sameShape } from '../../tensors/tensor';
import { activationCodes, cellCodes, gatesOf, reserveOf } from '../codes';
import { ABSENT, type RnnLayerAttrs, type RnnStackAttrs, type ValueId, type ValueSpec } from '../types';
import { need, type OpRow, type OutputSpec, present } from './row';

/** Positions of a layer's inputs and outputs, so that the planner's passes never count by hand. */
export const stackLayout = {
  /** Inputs of a layer that both ops begin with: kernel, recurrentKernel, bias?, h0?, c0?, peephole?. */
  layerInputs: 6,
  /** rnnStack inputs: step, x, valid?, then per layer those. */
  forwardInput: (layer: number) => 3 + 6 * layer,
  /** rnnStack outputs: reserve?, then per layer y?, hT?, cT?. */
  forwardOutput: (layer: number) => 1 + 3 * layer,
  /** rnnStackGrad inputs: step, x, valid?, reserve, then per layer those, dy?, dhT?, dcT?. */
  gradInput: (layer: number) => 4 + 9 * layer,
  /** rnnStackGrad outputs: dx?, stepNorms?, then per layer dKernel?, dRecurrentKernel?, dBias?, dh0?, dc0?, dPeephole?. */
  gradOutput: (layer: number) => 2 + 6 * layer,
};

export function inputSizeOf(attrs: RnnStackAttrs, layer: number): number {
  return layer === 0 ? attrs.inputSize : (attrs.layers[layer - 1] as RnnLayerAttrs).units;
}

/** Steps of the arrays that hold sequences, and where the op's own begin in them: in the order of processing, and in that of x. */
export function wholeOf({ steps, goBackwards, part }: RnnStackAttrs): {
  readonly whole: number;
  readonly processed: number;
  readonly lies: number;
} {
  const whole = part?.of ?? steps;
  const processed = part?.first ?? 0;
  return { whole, processed, lies: goBackwards ? whole - processed - steps : processed };
}

function biasShape(layer: RnnLayerAttrs): number[] {
  const width = gatesOf(layer) * layer.units;
  return layer.cell === 'gru' && layer.resetAfter ? [2, width] : [width];
}

/** One row for each gate but the candidate, in their order. */
function peepholeShape(layer: RnnLayerAttrs): number[] {
  return [gatesOf(layer) - 1, layer.units];
}

function checkSequence(attrs: RnnStackAttrs, op: string, x: ValueSpec, valid?: ValueSpec) {
  const { steps, batch, inputSize } = attrs;
  const { whole, processed } = wholeOf(attrs);
  if (processed < 0 || processed + steps > whole)
    refuse('ERR_VALUE', op, `steps of a sequence of ${whole}`, `${steps} from ${processed} on`);
  need(
    x.dtype === 'real' && sameShape(x.shape, [whole, batch, inputSize]),
    op,
    `x [${whole}, ${batch}, ${inputSize}]`,
    x,
  );
  need(
    !valid || (valid.dtype === 'int32' && sameShape(valid.shape, [whole, batch])),
    op,
    `valid int32 [${whole}, ${batch}]`,
    valid,
  );
}

function checkLayer(attrs: RnnStackAttrs, l: number, own: readonly (ValueSpec | undefined)[]): void {
  const layer = attrs.layers[l] as RnnLayerAttrs;
  const subject = `layer '${layer.name}'`;
  const width = gatesOf(layer) * layer.units;
  const fits = (i: number, what: string, shape: number[], required: boolean) => {
    const v = own[i];
    need(
      v ? v.dtype === 'real' && sameShape(v.shape, shape) : !required,
      subject,
      `${what} [${shape.join(', ')}]`,
      v,
    );
  };
  fits(0, 'kernel', [inputSizeOf(attrs, l), width], true);
  fits(1, 'recurrentKernel', [layer.units, width], true);
  fits(2, 'bias', biasShape(layer), layer.useBias);
  fits(3, 'initial state h', [attrs.batch, layer.units], false);
  fits(4, 'initial state c', [attrs.batch, layer.units], false);
  need(layer.cell === 'lstm' || !own[4], subject, 'no cell state (only an LSTM has one)', own[4]);
  for (const option of ['cellClip', 'peepholes', 'coupledGates', 'cellZoneout'] as const) {
    if (layer[option] !== undefined && layer.cell !== 'lstm')
      refuse('ERR_VALUE', `${subject}: ${option}`, 'an LSTM, which alone has it', layer.cell);
  }
  if (layer.peepholes) fits(5, 'peephole', peepholeShape(layer), true);
  else need(!own[5], subject, 'no peephole weights', own[5]);
}

function encodeStack(attrs: RnnStackAttrs) {
  const { steps, batch, inputSize, returnSequences, goBackwards, seed, layers } = attrs;
  const { whole, processed } = wholeOf(attrs);
  const ints = [
    layers.length,
    steps,
    batch,
    inputSize,
    Number(returnSequences),
    Number(goBackwards),
    ...splitSeed(seed),
    processed,
    whole,
  ];
  const floats: number[] = [];
  for (const l of layers) {
    ints.push(
      cellCodes[l.cell],
      l.units,
      activationCodes[l.activation.kind],
      activationCodes[l.recurrentActivation.kind],
      Number(l.resetAfter),
      Number(l.useBias),
      l.inputDropout.mode === 'element' ? 0 : 1,
      l.inputDropout.stream,
      l.recurrentDropout.stream,
      (l.peepholes ? 1 : 0) + (l.coupledGates ? 2 : 0),
      l.recurrentDropout.mode === 'element' ? 0 : 1,
      Number(l.zoneoutExpected ?? false),
      l.zoneout?.stream ?? 0,
      l.cellZoneout?.stream ?? 0,
    );
    floats.push(
      l.activation.alpha,
      l.recurrentActivation.alpha,
      l.inputDropout.rate,
      l.recurrentDropout.rate,
      l.cellClip ?? 0,
      l.zoneout?.rate ?? 0,
      l.cellZoneout?.rate ?? 0,
    );
  }
  return { ints, floats };
}

export const rnnStack: OpRow<'rnnStack'> = {
  infer(inputs, attrs) {
    const x = present(inputs[1], 'rnnStack', 'x');
    checkSequence(attrs, 'rnnStack', x, inputs[2]);
    const { steps, batch, layers } = attrs;
    let reserve = 0;
    const outputs: OutputSpec[] = [];
    layers.forEach((layer, l) => {
      const first = stackLayout.forwardInput(l);
      checkLayer(attrs, l, inputs.slice(first, first + stackLayout.layerInputs));
      reserve += steps * batch * layer.units * reserveOf(layer);
      const state = { dtype: 'real', shape: [batch, layer.units] } as const;
      const sequence = { dtype: 'real', shape: [wholeOf(attrs).whole, batch, layer.units] } as const;
      const last = l === layers.length - 1;
      outputs.push(last && !attrs.returnSequences ? state : sequence, state, state);
    });
    return [{ dtype: 'real', shape: [reserve] }, ...outputs];
  },
  encode: encodeStack,
  grad(op, c) {
    const { layers } = op.attrs;
    const reserve = op.outputs[0] === ABSENT ? c.addOutput(0) : (op.outputs[0] as ValueId);
    const inputs = [...op.inputs.slice(0, 3), reserve];
    const want = [c.needs(1), c.stepNorms];
    layers.forEach((_, l) => {
      const first = stackLayout.forwardInput(l);
      const out = stackLayout.forwardOutput(l);
      inputs.push(
        ...op.inputs.slice(first, first + stackLayout.layerInputs),
        c.outGrad(out),
        c.outGrad(out + 1),
        c.outGrad(out + 2),
      );
      for (let i = 0; i < stackLayout.layerInputs; i++)
        want.push(op.inputs[first + i] !== ABSENT && c.needs(first + i));
    });
    const grads = c.emit('rnnStackGrad', inputs, op.attrs, want);
    if (c.stepNorms) c.noteStepNorms(grads[1] as ValueId);
    return [ABSENT, grads[0] as ValueId, ABSENT, ...grads.slice(2)];
  },
};

export const rnnStackGrad: OpRow<'rnnStackGrad'> = {
  infer(inputs, attrs) {
    const x = present(inputs[1], 'rnnStackGrad', 'x');
    checkSequence(attrs, 'rnnStackGrad', x, inputs[2]);
    const outputs: OutputSpec[] = [
      { dtype: 'real', shape: x.shape },
      { dtype: 'float64', shape: [attrs.layers.length, wholeOf(attrs).whole] },
    ];
    attrs.layers.forEach((layer, l) => {
      const first = stackLayout.gradInput(l);
      checkLayer(attrs, l, inputs.slice(first, first + stackLayout.layerInputs));
      const width = gatesOf(layer) * layer.units;
      for (const shape of [
        [inputSizeOf(attrs, l), width],
        [layer.units, width],
        biasShape(layer),
        [attrs.batch, layer.units],
        [attrs.batch, layer.units],
        peepholeShape(layer),
      ]) {
        outputs.push({ dtype: 'real', shape });
      }
    });
    return outputs;
  },
  encode: encodeStack,
};
