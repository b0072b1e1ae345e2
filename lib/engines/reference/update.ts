import type { OptimizerKind } from '../../plan/codes';
import { hyperPlaces, PARAMETER_INPUTS } from '../../plan/ops/update';
import type { UpdateAttrs } from '../../plan/types';
import type { Shape } from '../../tensors/tensor';
import type { Kernel, Real } from './operands';
import { penaltySlope } from './penalty';

/** One parameter p with its gradient g and its slots; all but g are updated in place. */
interface Parameter {
  readonly shape: Shape;
  readonly p: Float64Array;
  readonly g: Float64Array;
  readonly slots: readonly (Float64Array | undefined)[];
}

type Rule = (parameter: Parameter, constants: readonly number[], hyper: Float64Array, flag: boolean) => void;

/** hyper, then per parameter: param, grad, slot0?, slot1?, slot2?, gradientSum?, average?. */
type UpdateInputs = [hyper: Real, ...(Real | undefined)[]];

export const update: Kernel<'update', UpdateInputs, [norms: Real | undefined]> = (
  attrs,
  [hyper, ...rest],
  [norms],
) => {
  const [share, applies, momentum, overwrites] = hyper.data.subarray(hyperPlaces.share);
  const parameters = attrs.decay.map((_, i) => {
    const operands = rest.slice(PARAMETER_INPUTS * i, PARAMETER_INPUTS * (i + 1));
    const [param, grad, ...slots] = operands as [Real, Real, ...(Real | undefined)[]];
    const [sum, average] = slots.splice(3).map((v) => v?.data);
    const penalty = attrs.penalties?.[i];
    const own = penalty ? grad.data.map((v, k) => v + penaltySlope(penalty, param.data[k]!)) : grad.data;
    if (sum) for (let k = 0; k < sum.length; k++) sum[k]! += own[k]!;
    // The mean over the steps since the last update.
    const g = sum ? sum.map((v) => v * share!) : own;
    return { shape: param.shape, p: param.data, g, slots: slots.map((s) => s?.data), sum, average };
  });
  const each = parameters.map(({ g }) => Math.sqrt(g.reduce((sum, v) => sum + v * v, 0)));
  const global = Math.sqrt(each.reduce((sum, v) => sum + v * v, 0));
  norms?.data.set([...each, global]);

  parameters.forEach((parameter, i) => {
    const { p, sum, average } = parameter;
    if (!sum || applies) {
      const clipped = clip(attrs, parameter.g, each[i]!, global);
      const own = ownHyper(attrs.kind, hyper.data, attrs.rateFactors?.[i] ?? 1);
      // Decoupled weight decay (Loshchilov & Hutter, 2019), with the parameter as it was before the rule.
      const shrink = own[0]! * attrs.decay[i]!;
      for (let k = 0; k < p.length; k++) p[k]! -= shrink * p[k]!;
      rules[attrs.kind]({ ...parameter, g: clipped }, attrs.constants, own, attrs.flag);
      sum?.fill(0);
    }
    if (!average) return;
    for (let k = 0; k < p.length; k++) average[k] = momentum! * average[k]! + (1 - momentum!) * p[k]!;
    if (overwrites) p.set(average);
  });
};

/** The rule's numbers for a parameter whose learning rate is `factor` times that of the others. */
function ownHyper(kind: OptimizerKind, hyper: Float64Array, factor: number): Float64Array {
  const own = hyper.slice();
  own[0]! *= factor;
  // Of these the second is made of the rate.
  if (kind === 'adam' || kind === 'adamax' || kind === 'adafactor') own[1]! *= factor;
  return own;
}

/** Gradient clipping after Pascanu, Mikolov & Bengio (2013): by value, or g · min(1, limit / norm). */
function clip(
  { clip: { mode, limit } }: UpdateAttrs,
  g: Float64Array,
  own: number,
  global: number,
): Float64Array {
  if (mode === 'none') return g;
  if (mode === 'value') return g.map((v) => Math.min(Math.max(v, -limit), limit));
  const norm = mode === 'norm' ? own : global;
  return Number.isFinite(norm) && norm > limit ? g.map((v) => v * (limit / norm)) : g;
}

const rules: { readonly [K in OptimizerKind]: Rule } = {
  // Sutskever et al. (2013): v ← momentum v − lr g;  p ← p + v, or with Nesterov's p ← p + momentum v − lr g.
  sgd({ p, g, slots: [v] }, [momentum], [lr], nesterov) {
    for (let k = 0; k < p.length; k++) {
      const move = -lr! * g[k]!;
      if (!v) {
        p[k]! += move;
        continue;
      }
      v[k] = momentum! * v[k]! + move;
      p[k]! += nesterov ? momentum! * v[k]! + move : v[k]!;
    }
  },

  // Tieleman & Hinton (2012): v ← rho v + (1−rho) g², u = lr g / √(v + epsilon); centered (Graves, 2013) with the
  // variance v − a² for v, where a is the running mean of g; momentum on top of u.
  rmsprop({ p, g, slots: [v, a, m] }, [rho, momentum, epsilon], [lr], centered) {
    for (let k = 0; k < p.length; k++) {
      v![k] = rho! * v![k]! + (1 - rho!) * g[k]! ** 2;
      let d = v![k]!;
      if (centered) {
        a![k] = rho! * a![k]! + (1 - rho!) * g[k]!;
        d -= a![k]! ** 2;
      }
      let u = (lr! * g[k]!) / Math.sqrt(d + epsilon!);
      if (m) {
        m[k] = momentum! * m[k]! + u;
        u = m[k]!;
      }
      p[k]! -= u;
    }
  },

  // Kingma & Ba (2015), section 2's efficient form: p ← p − alpha m / (√v + epsilon), where hyper holds
  // alpha = lr √(1−beta2^t) / (1−beta1^t). AMSGrad (Reddi et al., 2018) takes the largest v so far.
  adam({ p, g, slots: [m, v, w] }, [beta1, beta2, epsilon], [, alpha], amsgrad) {
    for (let k = 0; k < p.length; k++) {
      m![k]! += (g[k]! - m![k]!) * (1 - beta1!);
      v![k]! += (g[k]! ** 2 - v![k]!) * (1 - beta2!);
      if (amsgrad) w![k] = Math.max(w![k]!, v![k]!);
      const second = amsgrad ? w![k]! : v![k]!;
      p[k]! -= (alpha! * m![k]!) / (Math.sqrt(second) + epsilon!);
    }
  },

  // Duchi, Hazan & Singer (2011): a ← a + g², p ← p − lr g / √(a + epsilon).
  adagrad({ p, g, slots: [a] }, [epsilon], [lr]) {
    for (let k = 0; k < p.length; k++) {
      a![k]! += g[k]! ** 2;
      p[k]! -= (lr! * g[k]!) / Math.sqrt(a![k]! + epsilon!);
    }
  },

  // Dozat (2016): Adam with Nesterov's momentum, under a momentum schedule whose factors hyper holds as cM, cG, cV.
  nadam({ p, g, slots: [m, v] }, [beta1, beta2, epsilon], [lr, cM, cG, cV]) {
    for (let k = 0; k < p.length; k++) {
      m![k]! += (g[k]! - m![k]!) * (1 - beta1!);
      v![k]! += (g[k]! ** 2 - v![k]!) * (1 - beta2!);
      p[k]! -= (lr! * (cM! * m![k]! + cG! * g[k]!)) / (Math.sqrt(v![k]! * cV!) + epsilon!);
    }
  },

  // Kingma & Ba (2015), algorithm 2: u ← max(beta2 u, |g|), p ← p − alpha m / (u + epsilon), where hyper holds
  // alpha = lr / (1−beta1^t).
  adamax({ p, g, slots: [m, u] }, [beta1, beta2, epsilon], [, alpha]) {
    for (let k = 0; k < p.length; k++) {
      m![k]! += (g[k]! - m![k]!) * (1 - beta1!);
      u![k] = Math.max(beta2! * u![k]!, Math.abs(g[k]!));
      p[k]! -= (alpha! * m![k]!) / (u![k]! + epsilon!);
    }
  },

  // Chen et al. (2023): p ← p − lr sign(beta1 m + (1−beta1) g), then m ← beta2 m + (1−beta2) g.
  lion({ p, g, slots: [m] }, [beta1, beta2], [lr]) {
    for (let k = 0; k < p.length; k++) {
      p[k]! -= lr! * Math.sign(beta1! * m![k]! + (1 - beta1!) * g[k]!);
      m![k] = beta2! * m![k]! + (1 - beta2!) * g[k]!;
    }
  },

  // Zeiler (2012), algorithm 1, with a learning rate.
  adadelta({ p, g, slots: [a, d] }, [rho, epsilon], [lr]) {
    for (let k = 0; k < p.length; k++) {
      a![k] = rho! * a![k]! + (1 - rho!) * g[k]! ** 2;
      const delta = (g[k]! * Math.sqrt(d![k]! + epsilon!)) / Math.sqrt(a![k]! + epsilon!);
      d![k] = rho! * d![k]! + (1 - rho!) * delta ** 2;
      p[k]! -= lr! * delta;
    }
  },

  // Shazeer & Stern (2018), algorithms 4 and 5; hyper holds rho = min(lr, 1/√t) and beta2 = 1 − t^decay.
  // r and c are running means of g² over the columns and over the rows of a matrix, whose v is r cᵀ / mean(r).
  adafactor({ shape, p, g, slots: [r, c, v] }, [epsilon1, epsilon2, threshold], [, rho, beta2]) {
    const mean = (n: number, of: (k: number) => number) => {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += of(k);
      return sum / n;
    };
    const square = (k: number) => g[k]! ** 2 + epsilon1!;
    const blend = (old: number, now: number) => beta2! * old + (1 - beta2!) * now;
    let second: (k: number) => number;
    if (r && c) {
      const [rows, columns] = shape as [number, number];
      for (let i = 0; i < rows; i++)
        r[i] = blend(
          r[i]!,
          mean(columns, (j) => square(i * columns + j)),
        );
      for (let j = 0; j < columns; j++)
        c[j] = blend(
          c[j]!,
          mean(rows, (i) => square(i * columns + j)),
        );
      const total = mean(rows, (i) => r[i]!);
      second = (k) => (r[Math.floor(k / columns)]! / total) * c[k % columns]!;
    } else {
      for (let k = 0; k < p.length; k++) v![k] = blend(v![k]!, square(k));
      second = (k) => v![k]!;
    }
    const alpha = rho! * Math.max(epsilon2!, Math.sqrt(mean(p.length, (k) => p[k]! ** 2)));
    const u = g.map((value, k) => value / Math.sqrt(second(k)));
    const size = Math.sqrt(mean(u.length, (k) => u[k]! ** 2));
    for (let k = 0; k < p.length; k++) p[k]! -= (alpha * u[k]!) / Math.max(1, size / threshold!);
  },

  // McMahan et al. (2013), algorithm 1, with n^−power for √n. A rate of 0 leaves everything as it is, and so does a
  // weight that has never had a gradient, if n began at 0: the formula has no value there.
  ftrl({ p, g, slots: [n, z] }, [power, l1, l2, shrinkage, beta], [lr]) {
    if (lr === 0) return;
    for (let k = 0; k < p.length; k++) {
      const now = n![k]! + g[k]! ** 2;
      const [before, after] = [n![k]! ** -power!, now ** -power!];
      z![k]! += g[k]! + 2 * shrinkage! * p[k]! - ((after - before) / lr!) * p[k]!;
      const quadratic = (after + beta!) / lr! + 2 * l2!;
      n![k] = now;
      if (quadratic > 0) p[k] = (Math.min(Math.max(z![k]!, -l1!), l1!) - z![k]!) / quadratic;
    }
  },
};
