import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { Callback, GradientReport } from './callback';
import {
  diagnose,
  type Finding,
  type GradientSummary,
  summarizeReports,
  type Thresholds,
} from './gradientDiagnosis';

export interface GradientHealthOptions extends Partial<Thresholds> {
  /** Look at every n-th step of a fit, starting with its first. Default 20. */
  every?: number;
  /** Where findings go at the end of an epoch: the console (default), a function, or nowhere. */
  report?: 'console' | 'none' | ((text: string, findings: readonly Finding[]) => void);
  /** Reports kept; older ones go. Default 200. */
  keep?: number;
}

export interface GradientHealth extends Callback {
  /** What the gradients looked like over the reports kept. */
  summary(): GradientSummary;
  /** What is wrong with them, the worst first; one `healthy` finding when nothing is, one `unknown` before any was seen. */
  findings(): Finding[];
}

const SUBJECT = 'callbacks.gradientHealth';

/**
 * Records the norms of the gradients per weight, per recurrent layer and per time step, and says in words when they vanish or explode
 * (Bengio et al., 1994; Pascanu et al., 2013), where, and what to try.
 */
export function gradientHealth(options: GradientHealthOptions = {}): GradientHealth {
  const known = ['every', 'report', 'keep', 'vanishing', 'exploding', 'largest'] as const;
  const o = readConfig(options, known, SUBJECT) as GradientHealthOptions;
  const { every = 20, keep = 200, report = 'console' } = o;
  for (const [name, value] of [
    ['every', every],
    ['keep', keep],
  ] as const) {
    if (!Number.isSafeInteger(value) || value < 1)
      refuse('ERR_VALUE', `${SUBJECT}: ${name}`, 'a positive integer', quoted(value));
  }
  const thresholds: Thresholds = {
    vanishing: o.vanishing ?? 1e-3,
    exploding: o.exploding ?? 1e3,
    largest: o.largest ?? 1e3,
  };
  for (const [name, value] of Object.entries(thresholds)) {
    if (!(typeof value === 'number' && value > 0))
      refuse('ERR_VALUE', `${SUBJECT}: ${name}`, 'a number above 0', quoted(value));
  }
  let reports: GradientReport[] = [];
  const summary = () => summarizeReports(reports);
  const findings = () => diagnose(summary(), thresholds);
  return {
    gradientsEvery: every,
    summary,
    findings,
    onTrainBegin() {
      reports = [];
    },
    onGradients(r) {
      reports.push(r);
      if (reports.length > keep) reports.shift();
    },
    onEpochEnd(epoch) {
      if (report === 'none') return;
      const found = findings();
      const text = [`epoch ${epoch + 1}: gradients`, ...found.map(sentence)].join('\n');
      if (typeof report === 'function') report(text, found);
      else if (found.some(({ kind }) => kind !== 'healthy' && kind !== 'unknown')) console.warn(text);
    },
  };
}

function sentence({ message, advice }: Finding): string {
  return [`  ${message}`, ...advice.map((line) => `    – ${line}`)].join('\n');
}
