import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createEngine, devices } from '../../lib/engines/devices';
import type { Engine } from '../../lib/engines/engine';
import { resolveLoss } from '../../lib/losses/loss';
import { resolveMetric } from '../../lib/metrics/metric';
import { emitScore, type ScoreFunction } from '../../lib/ops/rowFunction';
import { resolveOptimizer } from '../../lib/optimizers/optimizer';
import { PlanBuilder } from '../../lib/plan/builder';
import { type ActivationKind, activationsFromInput, type ConstraintKind } from '../../lib/plan/codes';
import { fuseStacks } from '../../lib/plan/fuseStacks';
import { gradients } from '../../lib/plan/gradients';
import { stackLayout } from '../../lib/plan/ops/rnnStack';
import { PARAMETER_INPUTS, slotShape } from '../../lib/plan/ops/update';
import { ABSENT, type LossAttrs, type MetricAttrs, type ValueId } from '../../lib/plan/types';
import { type Shape, sizeOf } from '../../lib/tensors/tensor';
import { type Arg, ints, loadOp, real, runOp, scalar, variable } from '../unit/reference/runOp';
import {
  type LayerChoice,
  type StackChoice,
  stackAttrs,
  stackGradArgs,
  stackOutputs,
} from '../unit/reference/stacks';
import { relativeError, tolerance } from './harness';

/*
 * What PyTorch, Keras, TensorFlow and ONNX Runtime compute, from test/fixtures, against every engine that this machine has. The fixtures hold 14
 * digits, so that the reference has to agree to far more than float32 could.
 */
const REFERENCE_LIMIT = 1e-11;

function fixture<Case>(file: string): Case[] {
  return JSON.parse(readFileSync(join(__dirname, '..', 'fixtures', `${file}.json`), 'utf8')) as Case[];
}

const usable = new Set(devices().flatMap(({ device, available }) => (available ? [device] : [])));
const asked = process.env['DEEPRNN_TEST_DEVICE'];

describe.each(['reference', asked ?? 'cpu'])('%s', (device) => {
  // A device that was asked for is not skipped: 'cuda' names one that is listed as 'cuda:0'.
  const runs = usable.has(device) || device === asked;
  const onDevice = runs ? test : test.skip;
  let engine: Engine;
  beforeAll(() => {
    if (runs) engine = createEngine(device);
  });

  /**
   * `length`: the number of terms that sums accumulate over, for the float32 engine. `exactLimit`: the reference's limit,
   * wider where Keras itself is rounded; the fixture says so.
   */
  function expectClose(
    what: string,
    actual: ArrayLike<number> | undefined,
    expected: ArrayLike<number>,
    length: number,
    exactLimit = REFERENCE_LIMIT,
  ): void {
    const limit = device === 'reference' ? exactLimit : Math.max(tolerance(length), exactLimit);
    const error = relativeError(actual ?? [], expected);
    if (!(error <= limit)) throw new Error(`${what}: relative error ${error} is above ${limit}`);
  }

  describe('recurrent layers', () => {
    interface Layer extends Omit<LayerChoice, 'activation' | 'recurrentActivation'> {
      readonly activation: ActivationKind;
      readonly recurrentActivation: ActivationKind;
      readonly inputs: (number[] | null)[];
      readonly outputs: (number[] | null)[];
      readonly outputGradients: (number[] | null)[];
      readonly gradients: (number[] | null)[];
    }
    interface Case extends StackChoice {
      readonly name: string;
      readonly x: number[];
      /** Left out where there are no gradients. */
      readonly dx?: number[];
      /** The reference's, where values are rounded. */
      readonly limit?: number;
      readonly layers: readonly Layer[];
    }

    const cases = [
      'pytorch-rnn',
      'pytorch-zoneout',
      'keras-rnn',
      'keras-masks',
      'tensorflow-lstm',
      'onnx-lstm',
    ].flatMap((file) => fixture<Case>(file));
    onDevice.each(cases)('$name', (c) => {
      const { T, N, D } = c;
      const attrs = stackAttrs(c);
      const args: (Arg | undefined)[] = [scalar(0), real(c.x, [T, N, D]), c.valid && ints(c.valid, [T, N])];
      for (const shape of attrs.layers.map((_, l) => weightShapes(c, l))) {
        const { inputs } = c.layers[(args.length - 3) / stackLayout.layerInputs] as Layer;
        args.push(...shape.map((s, i) => (inputs[i] ? real(inputs[i], s) : undefined)));
      }
      const outputs = runOp('rnnStack', attrs, args, { engine, want: stackOutputs(c) });
      const dOut: (number[] | undefined)[] = [undefined];
      c.layers.forEach((layer, l) => {
        const first = stackLayout.forwardOutput(l);
        layer.outputs.forEach((expected, i) => {
          if (expected) expectClose(`layer ${l} output ${i}`, outputs[first + i], expected, 60, c.limit);
        });
        dOut.push(...[0, 1, 2].map((i) => layer.outputGradients[i] ?? undefined));
      });
      if (!c.dx) return;
      const want = [true, false, ...args.slice(3).map((arg) => arg !== undefined)];
      const grads = runOp('rnnStackGrad', attrs, stackGradArgs(c, args, outputs, dOut), { engine, want });
      expectClose('dx', grads[0], c.dx, 150);
      c.layers.forEach((layer, l) => {
        layer.gradients.forEach((expected, i) => {
          if (expected)
            expectClose(`layer ${l} gradient ${i}`, grads[stackLayout.gradOutput(l) + i], expected, 150);
        });
      });
    });

    function weightShapes({ N, D, layers }: Case, l: number): Shape[] {
      const { cell, units, resetAfter, coupledGates } = layers[l] as Layer;
      const gates = { simpleRnn: 1, lstm: coupledGates ? 3 : 4, gru: 3 }[cell];
      const width = gates * units;
      const inputSize = l === 0 ? D : (layers[l - 1] as Layer).units;
      return [
        [inputSize, width],
        [units, width],
        cell === 'gru' && resetAfter ? [2, width] : [width],
        [N, units],
        [N, units],
        [gates - 1, units],
      ];
    }
  });

  describe('activations', () => {
    interface Case {
      readonly name: ActivationKind;
      readonly alpha: number;
      readonly limit?: number;
      readonly x: number[];
      readonly y: number[];
      readonly dy: number[];
      readonly dx: number[];
    }
    onDevice.each(fixture<Case>('keras-activations'))(
      '$name',
      ({ name: kind, alpha, limit, x, y, dy, dx }) => {
        const shape = [6, 5];
        const from = activationsFromInput.has(kind)
          ? [real(x, shape), undefined]
          : [undefined, real(y, shape)];
        expectClose('y', runOp('activation', { kind, alpha }, [real(x, shape)], { engine })[0], y, 5, limit);
        expectClose(
          'dx',
          runOp('activationGrad', { kind, alpha }, [...from, real(dy, shape)], { engine })[0],
          dx,
          5,
          limit,
        );
      },
    );
  });

  interface Scored {
    readonly name: string;
    readonly R: number;
    readonly C: number;
    readonly pred: number[];
    readonly target: number[];
    readonly weight?: number[];
  }

  /** Predictions, targets and weights of the rows from `begin` to `end`. */
  function scoredArgs(
    { C, pred, target, weight }: Scored,
    sparse: boolean,
    begin: number,
    end: number,
  ): (Arg | undefined)[] {
    const rows = end - begin;
    return [
      real(pred.slice(begin * C, end * C), [rows, C]),
      sparse ? ints(target.slice(begin, end)) : real(target.slice(begin * C, end * C), [rows, C]),
      weight && real(weight.slice(begin, end), [rows]),
    ];
  }

  describe('losses', () => {
    interface Case extends Scored, LossAttrs {
      readonly limit?: number;
      readonly value: number;
      readonly gradient: number[];
    }
    onDevice.each(fixture<Case>('keras-losses'))('$name', (c) => {
      const { kind, fromLogits, parameter, gamma, alpha, R } = c;
      const attrs = { kind, fromLogits, parameter, gamma, alpha };
      const args = scoredArgs(c, kind === 'sparseCategoricalCrossentropy', 0, R);
      // In float32 a probability of 1 − 1e-7 is 1 − 2⁻²³, and its logarithm that much off.
      expectClose('value', runOp('loss', attrs, args, { engine })[0], [c.value], 30, c.limit);
      expectClose('gradient', runOp('lossGrad', attrs, args, { engine })[0], c.gradient, 30, c.limit);
    });
  });

  describe('metrics', () => {
    interface Case extends Scored {
      readonly metric: { readonly type: string };
      readonly loss: { readonly type: string };
      readonly half: number;
      readonly result: number[];
      readonly limit?: number;
      /** Whether the metric is a score of rows that programs compute. */
      readonly byScore?: boolean;
    }

    /** The sums of a metric that is a function of rows, as models have it computed. */
    function sumsOfScore(score: ScoreFunction, attrs: MetricAttrs, args: (Arg | undefined)[]): Float64Array {
      const builder = new PlanBuilder('score');
      const [p, y, weight] = args.map((arg, i) =>
        arg ? builder.input(`in${i}`, 'real', arg.shape) : ABSENT,
      ) as [ValueId, ValueId, ValueId];
      const own = emitScore(builder, score, [y, p], weight, false, 'score');
      builder.output('sums', builder.emit('metric', [own, own, weight], attrs, 'metric')[0] as ValueId);
      const session = engine.createSession();
      try {
        const executable = session.load(builder.finish());
        args.forEach((arg, i) => {
          if (arg) executable.input(`in${i}`).set(arg.data);
        });
        executable.runSync();
        return Float64Array.from(executable.output('sums'));
      } finally {
        session.dispose();
      }
    }

    onDevice.each(fixture<Case>('keras-metrics'))('$name', (c) => {
      const { attrs, result, score } = resolveMetric(c.metric, { loss: resolveLoss(c.loss), classes: c.C });
      expect(score !== undefined).toBe(c.byScore === true);
      const sumsOf = (begin: number, end: number) => {
        const args = scoredArgs(c, attrs.sparse, begin, end);
        return score
          ? sumsOfScore(score, attrs, args)
          : (runOp('metric', attrs, args, { engine })[0] as Float64Array);
      };
      const second = sumsOf(c.half, c.R);
      const total = sumsOf(0, c.half).map((v, i) => v + (second[i] as number));
      expectClose('result', [result(total)].flat(), c.result, 60, c.limit);
    });
  });

  describe('optimizers', () => {
    interface Case {
      readonly name: string;
      readonly optimizer: { readonly type: string };
      readonly decay: boolean[];
      /** By which groups know the parameters. */
      readonly names?: string[];
      readonly start: number[][];
      readonly gradients: number[][][];
      readonly trace: number[][][];
      readonly averages?: number[][][];
      readonly limit?: number;
    }
    const shapes = [[3, 4], [4]];

    onDevice.each([...fixture<Case>('keras-optimizers'), ...fixture<Case>('pytorch-optimizers')])(
      '$name',
      (c) => {
        const optimizer = resolveOptimizer(c.optimizer);
        const steps = optimizer.gradientAccumulationSteps;
        const place = (p: number, operand: number) => 1 + PARAMETER_INPUTS * p + operand;
        const args: (Arg | undefined)[] = [{ data: optimizer.hyper(0), shape: [8], dtype: 'float64' }];
        shapes.forEach((shape, p) => {
          const start = c.start[p] as number[];
          args.push(variable(start, shape), real(start, shape));
          for (let s = 0; s < 3; s++) {
            const slot = optimizer.slots[s];
            const own = slotShape(optimizer.updateAttrs([]).kind, s, shape);
            args.push(slot && own ? variable(Array(sizeOf(own)).fill(slot.initial), own) : undefined);
          }
          const zeros = variable(Array(start.length).fill(0), shape);
          args.push(steps > 1 ? zeros : undefined, optimizer.ema ? zeros : undefined);
        });
        const op = loadOp('update', optimizer.updateAttrs(c.decay, c.names), args, { engine });
        c.gradients.forEach((step, t) => {
          op.input(0).set(optimizer.hyper(t));
          step.forEach((g, p) => {
            op.input(place(p, 1)).set(g);
          });
          const [norms] = op.run();
          const summed = c.gradients.slice(t - (t % steps), t + 1);
          const each = step.map((g, p) =>
            Math.hypot(...g.map((_, k) => summed.reduce((s, of) => s + of[p]![k]!, 0) / summed.length)),
          );
          expectClose(`norms of step ${t}`, norms, [...each, Math.hypot(...each)], 12);
          step.forEach((_, p) => {
            const expected = c.trace[t]?.[p] as number[];
            expectClose(
              `parameter ${p} after step ${t}`,
              op.variable(place(p, 0)),
              expected,
              12 * (t + 1),
              c.limit,
            );
            const average = c.averages?.[t]?.[p];
            if (average)
              expectClose(
                `average ${p} after step ${t}`,
                op.variable(place(p, 6)),
                average,
                12 * (t + 1),
                c.limit,
              );
          });
        });
      },
    );
  });

  describe('constraints', () => {
    interface Case {
      readonly name: string;
      readonly kind: ConstraintKind;
      readonly axis: number;
      readonly limit: number;
      readonly shape: number[];
      readonly before: number[];
      readonly after: number[];
    }
    onDevice.each(fixture<Case>('keras-constraints'))(
      '$name',
      ({ kind, axis, limit, shape, before, after }) => {
        const op = loadOp('constraint', { kind, axis, limit }, [variable(before, shape)], {
          engine,
          into: 0,
        });
        op.run();
        expectClose('variable', op.variable(0), after, 7);
      },
    );
  });

  describe('a whole model, differentiated by the plan', () => {
    interface Case {
      readonly name: string;
      readonly N: number;
      readonly T: number;
      readonly V: number;
      readonly E: number;
      readonly C: number;
      readonly ids: number[];
      readonly maskZero?: boolean;
      readonly labels: number[];
      readonly sampleWeights: number[];
      readonly predictions: number[];
      readonly loss: number;
      readonly weights: number[][];
      readonly gradients: number[][];
    }

    onDevice.each(
      ['keras-model', 'keras-masked-model'].flatMap(fixture<Case>).flatMap((c) => [
        { ...c, fused: false },
        { ...c, fused: true },
      ]),
    )('$name, fused: $fused', (c) => {
      const { N, T, V, E, C } = c;
      const b = new PlanBuilder('train');
      const only = (ids: ValueId[]) => ids[0] as ValueId;
      const toTime = (id: ValueId) => only(b.emit('batchToTime', [id], {}, 'input'));
      const layers: LayerChoice[] = [
        { cell: 'simpleRnn', units: 7 },
        { cell: 'lstm', units: 5 },
        { cell: 'gru', units: 3, resetAfter: true },
      ];
      const shapes = [
        [V, E],
        [E, 7],
        [7, 7],
        [7],
        [7, 20],
        [5, 20],
        [20],
        [5, 9],
        [3, 9],
        [2, 9],
        [3, C],
        [C],
      ];
      const w = shapes.map((shape, i) => b.variable(`w${i}`, 'real', shape));
      const weight = (i: number) => w[i] as ValueId;
      const step = b.input('step', 'float64', [1]);
      const ids = toTime(b.input('ids', 'int32', [N, T]));
      const mask = c.maskZero ? only(b.emit('stepMask', [ids], { value: 0 }, 'embedding')) : ABSENT;
      let h = only(b.emit('embedding', [ids, weight(0)], {}, 'embedding'));
      layers.forEach((layer, l) => {
        const attrs = stackAttrs({
          T,
          N,
          D: l === 0 ? E : (layers[l - 1] as LayerChoice).units,
          layers: [layer],
        });
        const inputs = [step, h, mask, ...[1, 2, 3].map((k) => weight(3 * l + k)), ABSENT, ABSENT, ABSENT];
        h = b.emit('rnnStack', inputs, attrs, layer.cell, [false, true, false, false])[1] as ValueId;
      });
      const logits = only(b.emit('dense', [h, weight(10), weight(11)], {}, 'dense'));
      const p = only(b.emit('activation', [logits], { kind: 'softmax', alpha: 0 }, 'dense'));
      b.output('predictions', only(b.emit('timeToBatch', [p], {}, 'output')));
      if (c.fused) fuseStacks(b);
      const weights = toTime(b.input('sampleWeights', 'real', [N, T]));
      const rowWeights = c.maskZero
        ? only(b.emit('maskWeights', [mask, weights], { normalize: true }, 'mask'))
        : weights;
      const scores = [p, toTime(b.input('labels', 'int32', [N, T])), rowWeights];
      const lossAttrs = { kind: 'sparseCategoricalCrossentropy', fromLogits: false, parameter: 0 } as const;
      const penalty = (i: number, l1: number, l2: number) =>
        only(b.emit('penalty', [weight(i)], { l1, l2, scale: 1 }, 'penalty'));
      const roots = [
        only(b.emit('loss', scores, lossAttrs, 'loss')),
        penalty(1, 0, 2 ** -5),
        penalty(5, 2 ** -6, 0),
        penalty(9, 2 ** -7, 2 ** -4),
      ];
      const grads = gradients(b, roots, w);
      b.output('loss', only(b.emit('sumScalars', roots, {}, 'loss')));
      w.forEach((id, i) => {
        b.output(`dw${i}`, grads.of.get(id) as ValueId);
      });
      const plan = b.finish();
      expect(plan.ops.filter((op) => op.kind === 'rnnStack')).toHaveLength(c.fused ? 1 : 3);

      const session = engine.createSession();
      shapes.forEach((shape, i) => {
        session.declare(`w${i}`, 'real', shape);
        session.write(`w${i}`, c.weights[i] as number[]);
      });
      const executable = session.load(plan);
      for (const name of ['ids', 'labels', 'sampleWeights'] as const) executable.input(name).set(c[name]);
      executable.runSync();
      expectClose('predictions', executable.output('predictions'), c.predictions, 100);
      expectClose('loss', executable.output('loss'), [c.loss], 100);
      shapes.forEach((_, i) => {
        expectClose(`gradient of weight ${i}`, executable.output(`dw${i}`), c.gradients[i] as number[], 200);
      });
      session.dispose();
    });
  });
});
