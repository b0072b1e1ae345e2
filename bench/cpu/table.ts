// Results as Markdown.
import { ours, peers } from './contenders';
import { noteOnLoad } from './machine';
import type { CpuResults, Row } from './results';
import type { Outcome } from './rounds';

export const percent = (part: number) => `${Math.round(100 * part)} %`;

/** Three figures that count: 0.0312, 1.05, 52.3, 1230. */
export function figures(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** How many times as long as ours a peer took; undefined where either has no time. */
export function ratioOf({ outcomes }: Row, peer: string): number | undefined {
  const [own, theirs] = [outcomes[ours.name], outcomes[peer]];
  return own && theirs && 'median' in own && 'median' in theirs ? theirs.median / own.median : undefined;
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const left = [...head].fill('---:').with(0, '---');
  return [head, left, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function timeOf(outcome: Outcome | undefined): string {
  if (!outcome || 'reason' in outcome) return '–';
  return `${figures(outcome.median)} [${figures(outcome.min)}–${figures(outcome.max)}]`;
}

/** Peers that have a time in any row. */
export const measuredPeers = (rows: readonly Row[]) =>
  peers.filter(({ name }) => rows.some((row) => ratioOf(row, name) !== undefined));

export const cpuHead = (shown: readonly { readonly title: string }[]) => [
  'network',
  '',
  'deeprnn, ms',
  ...shown.map(({ title }) => `${title}, ms`),
  'GFLOP/s',
  'of the peak',
];

/** One row of the table: our time, each peer's with its ratio to ours, and the rate of the products. */
export function cpuRow(
  row: Row,
  shown: readonly { readonly name: string }[],
  peak: number | undefined,
): string[] {
  const own = row.outcomes[ours.name];
  const rate = own && 'median' in own ? row.flops / (own.median * 1e6) : undefined;
  const cells = shown.map(({ name }) => {
    const outcome = row.outcomes[name];
    const ratio = ratioOf(row, name);
    return outcome && 'median' in outcome && ratio !== undefined
      ? `${figures(outcome.median)} (${ratio.toFixed(2)}×)`
      : '–';
  });
  return [
    row.workload.name,
    row.mode,
    timeOf(own),
    ...cells,
    rate === undefined ? '–' : figures(rate),
    rate === undefined || peak === undefined ? '–' : percent(rate / peak),
  ];
}

/** Where it ran, what ran, and the table. */
export function cpuSection(results: CpuResults): string {
  const { machine, threads, contenders, rows, fmaPeak, difference, rounds, date } = results;
  const peak = typeof fmaPeak === 'number' ? fmaPeak : undefined;
  const shown = measuredPeers(rows);
  const note = noteOnLoad(machine);
  const versions = [ours, ...peers].flatMap(({ name, title }) => {
    const found = contenders[name];
    if (!found) return [];
    return [`${title} ${'version' in found ? found.version : `(not measured: ${found.reason})`}`];
  });
  const peakText = peak === undefined ? 'not known' : `${figures(peak)} GFLOP/s`;
  const same =
    typeof difference === 'number'
      ? `The same weights gave the same outputs and losses in PyTorch to ${difference.toExponential(0)}.`
      : `Outputs were not compared with PyTorch's: ${difference.reason}.`;
  return `${date.slice(0, 10)}, commit ${machine.commit}, ${machine.cpu} (${machine.processors} processors, ${machine.memory} GiB), ${threads} threads,
Node ${machine.node}, ${rounds} rounds.${note && ` ${note}`} Peak of fused multiply-adds: ${peakText}.
${versions.join('; ')}.
${same}

${markdownTable(
  cpuHead(shown),
  rows.map((row) => cpuRow(row, shown, peak)),
)}

${reasons(rows, [ours, ...shown])}`;
}

/** What stands behind the dashes, each reason once. */
function reasons(
  rows: readonly Row[],
  shown: readonly { readonly name: string; readonly title: string }[],
): string {
  const found = new Map<string, string[]>();
  for (const { outcomes, workload, mode } of rows) {
    for (const { name, title } of shown) {
      const outcome = outcomes[name];
      if (!outcome || !('reason' in outcome)) continue;
      const reason = outcome.reason.startsWith(title) ? outcome.reason : `${title}: ${outcome.reason}`;
      found.set(reason, [...(found.get(reason) ?? []), `${workload.name} ${mode}`]);
    }
  }
  const lines = [...found].map(([reason, where]) =>
    where.length > 3 ? `- ${reason}.` : `- ${reason} (${where.join('; ')}).`,
  );
  return lines.length === 0 ? '' : `Dashes:\n\n${lines.join('\n')}`;
}

/** `text` with what stands between the markers of `name` replaced. @throws Error when it has no such markers */
export function between(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`expected '${begin}' and then '${end}', found no such pair`);
  return `${text.slice(0, from + begin.length)}\n${content.trim()}\n${text.slice(to)}`;
}
