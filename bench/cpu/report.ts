// Puts the newest results into docs/performance.md and draws the charts: `npm run bench:report`.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ratioChart, svgOf } from './chart';
import { root } from './paths';
import { type CpuResults, newestResults, writeWhole } from './results';
import { between, cpuSection } from './table';

const docs = path.join(root, 'docs');

export async function updateDocuments(): Promise<void> {
  const cpu = newestResults<CpuResults>('cpu');
  writeWhole(path.join(docs, 'images', 'bench-cpu.svg'), await svgOf(ratioChart(cpu.rows)));
  const page = path.join(docs, 'performance.md');
  writeWhole(page, between(readFileSync(page, 'utf8'), 'results: cpu', cpuSection(cpu)));
  console.log('docs/performance.md and docs/images/ are up to date.');
}

if (require.main === module)
  updateDocuments().catch((error: unknown) => {
    console.error(`bench:report: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  });
