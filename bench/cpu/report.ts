// Puts the newest results into docs/performance.md and draws the charts: `npm run bench:report`.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type CostResults, costSection, growthChart } from '../cost/report';
import { ratioChart, svgOf } from './chart';
import { root } from './paths';
import { type CpuResults, newestResults, writeWhole } from './results';
import { between, cpuSection } from './table';

const docs = path.join(root, 'docs');

/** Each kind of results that there are; at least one. @throws Error when there are none */
export async function updateDocuments(): Promise<void> {
  const cpu = newestResults<CpuResults>('cpu');
  const cost = newestResults<CostResults>('cost');
  if (!cpu && !cost)
    throw new Error('expected results in bench/results, found none: npm run bench makes them');
  const page = path.join(docs, 'performance.md');
  let text = readFileSync(page, 'utf8');
  if (cpu) {
    text = between(text, 'results: cpu', cpuSection(cpu));
    writeWhole(path.join(docs, 'images', 'bench-cpu.svg'), await svgOf(ratioChart(cpu.rows)));
  }
  if (cost) {
    text = between(text, 'results: cost', costSection(cost));
    writeWhole(path.join(docs, 'images', 'bench-growth.svg'), await svgOf(growthChart(cost.growth)));
  }
  writeWhole(page, text);
  console.log('docs/performance.md and its charts are up to date.');
}

if (require.main === module)
  updateDocuments().catch((error: unknown) => {
    console.error(`bench:report: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  });
