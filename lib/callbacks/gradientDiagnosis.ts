import type { GradientReport } from './callback';

/** Bounds beyond which gradients count as ill. */
export interface Thresholds {
  /**
   * Ratio of the gradient at the first step to that at the last, or of the bottom layer's to the top's, below which it has vanished.
   * Default 1e-3: what is smaller moves its weights a thousand times less than the rest.
   */
  vanishing: number;
  /** The same ratio upwards. Default 1e3. */
  exploding: number;
  /** Global norm above which a step is an explosion whatever its shape. Default 1e3. */
  largest: number;
}

/** Geometric means over reports, which one outlier does not move. */
export interface GradientSummary {
  readonly reports: number;
  /** Reports in which some norm was NaN or infinite. */
  readonly notFinite: number;
  readonly globalNorm: { readonly typical: number; readonly largest: number };
  readonly weights: Readonly<Record<string, number>>;
  /** Per recurrent layer, bottom first, the typical norm at every step. */
  readonly steps: Readonly<Record<string, readonly number[]>>;
  /** The same for the loss of the last step alone: what the recurrence carries back. */
  readonly carried: Readonly<Record<string, readonly number[]>>;
  /** Whether the optimizer clips. */
  readonly clipped: boolean;
  /** Recurrent layers whose steps were not looked at. */
  readonly unjudged: readonly string[];
}

export interface Finding {
  readonly kind: 'vanishing' | 'exploding' | 'dead' | 'healthy' | 'unknown';
  /** Along time, from layer to layer, in single weights, or overall. */
  readonly where: 'time' | 'depth' | 'weights' | 'overall';
  readonly layer?: string;
  /** The ratio or norm that decided. */
  readonly value: number;
  readonly message: string;
  readonly advice: readonly string[];
}

/** The smallest number whose logarithm is still taken; zeros count as this. */
const TINY = 1e-45;

function geometricMean(values: readonly number[]): number {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return Number.NaN;
  return Math.exp(finite.reduce((sum, v) => sum + Math.log(Math.max(v, TINY)), 0) / finite.length);
}

export function summarizeReports(reports: readonly GradientReport[]): GradientSummary {
  const norms = reports.map((r) => r.globalNorm);
  const finite = norms.filter(Number.isFinite);
  const newest = reports.at(-1);
  const weights = Object.keys(newest?.weights ?? {}).map((name) => [
    name,
    geometricMean(reports.map((r) => r.weights[name] ?? Number.NaN)),
  ]);
  const alongSteps = (of: 'steps' | 'carried') =>
    Object.fromEntries(
      Object.entries(newest?.[of] ?? {}).map(([layer, own]) => {
        // Sequences may differ in length from batch to batch; those as long as the newest are compared.
        const same = reports.map((r) => r[of][layer] ?? []).filter((s) => s.length === own.length);
        return [layer, own.map((_, t) => geometricMean(same.map((s) => s[t] as number)))];
      }),
    );
  return {
    reports: reports.length,
    notFinite: norms.length - finite.length,
    globalNorm: { typical: geometricMean(norms), largest: finite.reduce((a, b) => Math.max(a, b), 0) },
    weights: Object.fromEntries(weights),
    steps: alongSteps('steps'),
    carried: alongSteps('carried'),
    clipped: newest?.clipped ?? false,
    unjudged: newest?.unjudged ?? [],
  };
}

/** What is wrong, the worst first. */
export function diagnose(summary: GradientSummary, limits: Thresholds): Finding[] {
  if (summary.reports === 0) {
    const message = 'Nothing is known of the gradients: none was looked at yet.';
    return [{ kind: 'unknown', where: 'overall', value: Number.NaN, message, advice: [] }];
  }
  const found = [
    ...overall(summary, limits),
    ...Object.entries(summary.carried).flatMap(([layer, steps]) => alongTime(layer, steps, summary, limits)),
    ...acrossDepth(summary, limits),
    ...deadWeights(summary),
  ];
  const unjudged = summary.unjudged.map(unknownSteps);
  if (found.length > 0) return [...found, ...unjudged];
  const { typical, largest } = summary.globalNorm;
  return [
    {
      kind: 'healthy',
      where: 'overall',
      value: typical,
      message: `Gradients are healthy: norm ${format(typical)} on average, ${format(largest)} at most.`,
      advice: [],
    },
    ...unjudged,
  ];
}

function unknownSteps(layer: string): Finding {
  const message = `Whether gradients vanish or explode through time in layer '${layer}' is not known: its cell runs by a program, which gives no norms per step.`;
  return { kind: 'unknown', where: 'time', layer, value: Number.NaN, message, advice: [] };
}

const format = (v: number) => (v >= 0.01 && v < 1e4 ? v.toPrecision(3) : v.toExponential(1));

function clipAdvice({ globalNorm, clipped }: GradientSummary): string {
  if (clipped) return 'lower the limit to which the optimizer clips';
  const limit =
    Number.isFinite(globalNorm.typical) && globalNorm.typical > 0
      ? Number((2 * globalNorm.typical).toPrecision(1))
      : 1;
  return `clip the gradient: globalClipNorm: ${Math.min(limit, 5)} on the optimizer`;
}

function overall(summary: GradientSummary, { largest }: Thresholds): Finding[] {
  if (summary.notFinite > 0) {
    return [
      {
        kind: 'exploding',
        where: 'overall',
        value: Number.NaN,
        message: `Gradients explode: ${summary.notFinite} of ${summary.reports} were NaN or infinite.`,
        // Clipping leaves such gradients as they are: it can only keep a later run from getting there.
        advice: [
          'start again from weights saved before; a step with such a gradient has made them NaN',
          'lower the learning rate',
          ...(summary.clipped ? [] : [`in the new run, ${clipAdvice(summary)}`]),
          'look for extreme values in the inputs; scale them with standardScaler',
          'end such a run at once: callbacks.terminateOnNaN()',
        ],
      },
    ];
  }
  if (summary.globalNorm.largest === 0) {
    return [
      {
        kind: 'dead',
        where: 'overall',
        value: 0,
        message: 'Gradients are zero in every weight: nothing is learned.',
        advice: [
          'start from weights that differ: initializers that are all zero leave every unit the same',
          'with relu, lower the learning rate or use leakyRelu or elu: units may have died',
          'look for sample weights or inputs that are always zero',
        ],
      },
    ];
  }
  if (!(summary.globalNorm.largest > largest)) return [];
  return [
    {
      kind: 'exploding',
      where: 'overall',
      value: summary.globalNorm.largest,
      message: `Gradients explode: their norm reached ${format(summary.globalNorm.largest)}, typical is ${format(summary.globalNorm.typical)}.`,
      advice: [clipAdvice(summary), 'lower the learning rate'],
    },
  ];
}

/**
 * Compares the first steps with the last. Each end is the mean over a tenth of the sequence, so that one step of many decides nothing.
 * Only orders of magnitude count.
 */
function alongTime(
  layer: string,
  steps: readonly number[],
  summary: GradientSummary,
  limits: Thresholds,
): Finding[] {
  if (steps.length < 2) return [];
  const tenth = Math.max(1, Math.floor(steps.length / 10));
  const first = geometricMean(steps.slice(0, tenth));
  const last = geometricMean(steps.slice(-tenth));
  const ratio = first / last;
  // Nothing arrives at either end: the layer is dead or converged, which is not a matter of time.
  if (!Number.isFinite(ratio) || (first <= TINY * 10 && last <= TINY * 10)) return [];
  const perStep = ratio ** (1 / Math.max(1, steps.length - tenth));
  const numbers = `from ${format(last)} at the last of ${steps.length} steps to ${format(first)} at the first (a factor of ${perStep.toPrecision(2)} a step)`;
  if (ratio < limits.vanishing) {
    return [
      {
        kind: 'vanishing',
        where: 'time',
        layer,
        value: ratio,
        message: `Gradients vanish through time in layer '${layer}': ${numbers}. It learns little from the early steps.`,
        advice: [
          'use lstm or gru instead of simpleRNN; with lstm keep unitForgetBias: true',
          "start from recurrentInitializer: 'orthogonal' (with relu: 'identity')",
          'make the sequences shorter, or read them backwards (goBackwards) when what matters comes first',
        ],
      },
    ];
  }
  if (ratio > limits.exploding) {
    return [
      {
        kind: 'exploding',
        where: 'time',
        layer,
        value: ratio,
        message: `Gradients explode through time in layer '${layer}': ${numbers}.`,
        advice: [
          clipAdvice(summary),
          "use recurrentInitializer: 'orthogonal', and tanh rather than relu in the recurrent layers",
          "add recurrentConstraint: 'unitNorm' or an l2 recurrentRegularizer",
        ],
      },
    ];
  }
  return [];
}

/** Compares the largest gradient that reaches each layer, from the top down. */
function acrossDepth(summary: GradientSummary, limits: Thresholds): Finding[] {
  const layers = Object.entries(summary.steps).map(([name, steps]) => ({ name, norm: Math.max(...steps) }));
  const bottom = layers[0];
  const top = layers.at(-1);
  if (!bottom || !top || layers.length < 2) return [];
  const ratio = bottom.norm / top.norm;
  if (!Number.isFinite(ratio)) return [];
  const numbers = `${format(top.norm)} reaches '${top.name}' at the top, ${format(bottom.norm)} '${bottom.name}' at the bottom of ${layers.length} recurrent layers`;
  if (ratio < limits.vanishing) {
    return [
      {
        kind: 'vanishing',
        where: 'depth',
        layer: bottom.name,
        value: ratio,
        message: `Gradients vanish from layer to layer: ${numbers}.`,
        advice: [
          'use fewer or wider layers',
          "match initializer and activation: 'glorotUniform' with tanh, 'heUniform' with relu",
          'replace sigmoid activations by tanh',
        ],
      },
    ];
  }
  if (ratio > limits.exploding) {
    return [
      {
        kind: 'exploding',
        where: 'depth',
        layer: bottom.name,
        value: ratio,
        message: `Gradients explode from layer to layer: ${numbers}.`,
        advice: [clipAdvice(summary), "start from smaller kernels: kernelInitializer: 'lecunNormal'"],
      },
    ];
  }
  return [];
}

/** Weights that get no gradient at all while others do. */
function deadWeights({ weights, globalNorm }: GradientSummary): Finding[] {
  if (!(globalNorm.typical > 1e-12)) return [];
  return Object.entries(weights)
    .filter(([, norm]) => norm <= 1e-30)
    .map(([name]) => ({
      kind: 'dead' as const,
      where: 'weights' as const,
      layer: name.split('/')[0] as string,
      value: weights[name] as number,
      message: `'${name}' gets no gradient: it does not learn.`,
      advice: [
        'with relu, lower the learning rate or use leakyRelu or elu: units may have died',
        'look for inputs that are always zero',
      ],
    }));
}
