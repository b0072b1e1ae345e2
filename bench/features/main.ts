// Writes docs/features.md: `npm run features`. Every feature is run on every engine that this process can load, from the same weights and
// data as on the float64 reference.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { devices } from 'deeprnn';
import { type Feature, groups, type PlainFeature } from './list';
import { type Difference, differenceOf, oracleOf } from './measure';

const root = path.resolve(__dirname, '../../..');
/** Float32 after sums of a few dozen terms, and gradients through some steps; far above what is measured, far below a mistake. */
const LIMITS = { values: 2e-5, gradients: 1e-4 };

const shown = (difference: number) => (difference === 0 ? '0' : difference.toExponential(0));
const both = ({ values, gradients }: Difference) => `${shown(values)} / ${shown(gradients)}`;

async function oracleCell(feature: Feature): Promise<string> {
  if (feature.oracle) {
    const found = await oracleOf(...feature.oracle);
    if (!(found.values <= 1e-10 && found.gradients <= 1e-10))
      throw new Error(`${feature.name}: far from ${found.by}`);
    return `${found.by}, ${found.count} model${found.count > 1 ? 's' : ''}: ${both(found)}`;
  }
  return feature.otherOracle ? `${feature.otherOracle} (in the test of its ops)` : '–';
}

async function row(feature: Feature | PlainFeature, engines: readonly string[]): Promise<string> {
  if (!existsSync(path.join(root, feature.test))) throw new Error(`${feature.name}: no ${feature.test}`);
  const test = feature.test.replace(/^test\//, '');
  if (!('layers' in feature))
    return `| ${feature.name} | ${engines.map(() => 'yes').join(' | ')} | – | ${test} |`;
  const cells: string[] = [];
  for (const device of engines) {
    const difference = await differenceOf(feature, device);
    if (!(difference.values <= LIMITS.values && difference.gradients <= LIMITS.gradients))
      throw new Error(`${feature.name}: ${device} is ${both(difference)} from the reference`);
    cells.push(both(difference));
  }
  return `| ${feature.name} | ${cells.join(' | ')} | ${await oracleCell(feature)} | ${test} |`;
}

async function main(): Promise<void> {
  const cuda = devices().find(({ device }) => device.startsWith('cuda'));
  const engines = ['cpu', ...(cuda?.available ? ['cuda'] : [])];
  const emulated = process.env['DEEPRNN_ADDON_DIR']?.includes('emulator') ?? false;
  const heads = engines.map((engine) => (engine === 'cuda' && emulated ? 'cuda (emulated)' : engine));
  const sections: string[] = [];
  for (const { title, features } of groups) {
    const rows: string[] = [];
    for (const feature of features) rows.push(await row(feature, engines));
    sections.push(
      [
        `## ${title}`,
        '',
        `| feature | ${heads.join(' | ')} | outside oracle | test |`,
        `|---|${heads.map(() => '---|').join('')}---|---|`,
        ...rows,
      ].join('\n'),
    );
    console.log(title);
  }
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  const text = `# Features

Written by \`npm run features\`${heads.includes('cuda (emulated)') ? ' with the emulator of the CUDA engine (docs/gpu-testing.md)' : ''}, deeprnn ${version}; do not edit.

Every feature runs on every engine: the float64 reference, the CPU engine, the CUDA engine. The columns of engines have the largest difference to the
reference, of values / of gradients (of training: of the weights after five steps), as a share of the largest number, from the same weights and data in
float32. The column of oracles has the largest difference of the reference to what others compute in float64 for the same weights.
${heads.includes('cuda (emulated)') ? '' : '\nThe CUDA engine was not there when this was written.\n'}
${sections.join('\n\n')}
`;
  const file = path.join(root, 'docs', 'features.md');
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  console.log('docs/features.md');
}

main().catch((error: unknown) => {
  console.error(`features: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
