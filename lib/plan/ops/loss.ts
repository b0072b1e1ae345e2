import { sameShape } from '../../tensors/tensor';
import { lossCodes, metricCodes } from '../codes';
import { ABSENT, type LossAttrs, type MetricAttrs, type ValueSpec } from '../types';
import { lastOf, need, type OpRow, present } from './row';

function checkTargets(kind: string, sparse: boolean, inputs: readonly (ValueSpec | undefined)[]): ValueSpec {
  const pred = present(inputs[0], kind, 'predictions');
  const target = present(inputs[1], kind, 'targets');
  const rows = pred.shape.slice(0, -1);
  need(pred.dtype === 'real' && pred.shape.length >= 2, kind, 'real predictions […, C]', pred);
  need(
    sparse
      ? target.dtype === 'int32' && sameShape(target.shape, rows)
      : target.dtype === 'real' && sameShape(target.shape, pred.shape),
    kind,
    sparse ? `int32 targets [${rows.join(', ')}]` : `real targets [${pred.shape.join(', ')}]`,
    target,
  );
  need(!inputs[2] || sameShape(inputs[2].shape, rows), kind, `weights [${rows.join(', ')}]`, inputs[2]);
  return pred;
}

const encodeLoss = (a: LossAttrs) => ({
  ints: [lossCodes[a.kind], Number(a.fromLogits)],
  floats: [a.parameter, a.gamma ?? 0, a.alpha ?? -1, a.lossWeight ?? 1],
});

export const loss: OpRow<'loss'> = {
  infer(inputs, attrs) {
    checkTargets('loss', attrs.kind === 'sparseCategoricalCrossentropy', inputs);
    return [{ dtype: 'float64', shape: [1] }];
  },
  encode: encodeLoss,
  grad: (op, c) => [c.emit('lossGrad', op.inputs, op.attrs)[0] as number, ABSENT, ABSENT],
};

export const lossGrad: OpRow<'lossGrad'> = {
  infer(inputs, attrs) {
    const pred = checkTargets('lossGrad', attrs.kind === 'sparseCategoricalCrossentropy', inputs);
    return [{ dtype: 'real', shape: pred.shape }];
  },
  encode: encodeLoss,
};

/** Shape of the sums that a metric op writes. */
function sumsShape(attrs: MetricAttrs, classes: number): number[] {
  if (attrs.kind === 'r2') return [classes, 4];
  if (attrs.kind === 'confusion') return [Math.max(attrs.thresholds?.length ?? 0, 1), classes, 4];
  if (attrs.kind === 'histogram') return [2, attrs.bins as number];
  return [2];
}

export const metric: OpRow<'metric'> = {
  infer(inputs, attrs) {
    const pred = checkTargets('metric', attrs.sparse, inputs);
    return [{ dtype: 'float64', shape: sumsShape(attrs, lastOf(pred.shape)) }];
  },
  encode(attrs) {
    const ints = [metricCodes[attrs.kind], Number(attrs.sparse)];
    const floats: number[] = [];
    const thresholds = attrs.thresholds ?? [];
    if (attrs.kind === 'binaryAccuracy') floats.push(thresholds[0] as number);
    if (attrs.kind === 'topK') ints.push(attrs.k as number);
    if (attrs.kind === 'confusion') {
      ints.push(Number(attrs.argmax ?? false), thresholds.length);
      floats.push(...thresholds);
    }
    if (attrs.kind === 'histogram') ints.push(attrs.bins as number);
    if (attrs.kind === 'crossentropy') ints.push(Number(attrs.fromLogits ?? false));
    return { ints, floats };
  },
};
