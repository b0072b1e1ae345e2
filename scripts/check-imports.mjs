// Fails on any import between folders that the map in CONTRIBUTING.md does not draw: TypeScript imports in lib/, bench/
// and examples/, and C++ includes in native/. Usage: node scripts/check-imports.mjs [root folder]

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseSync } from '@swc/core';

const root = path.resolve(process.argv[2] ?? '.');
const base = ['errors', 'names', 'config', 'place'];
const plan = ['plan', 'tensors', ...base];
const emitters = ['layers', 'optimizers', 'losses', 'metrics'];
/** What each part of lib/ may import beside its own files; `type:x` stands for types of x only. */
const allowed = {
  errors: [],
  names: ['errors'],
  config: ['errors', 'names'],
  place: [],
  tensors: base,
  data: ['io', 'tensors', ...base],
  io: ['tensors', ...base],
  plan: ['tensors', ...base],
  ops: plan,
  layers: ['ops', ...plan],
  optimizers: plan,
  losses: ['ops', ...plan],
  metrics: ['ops', ...plan],
  engines: ['engines/reference', ...plan],
  'engines/reference': ['type:engines', ...plan],
  callbacks: ['type:models', 'type:tensors', 'io', ...base],
  models: [...emitters, 'ops', 'engines', 'data', 'callbacks', 'io', ...plan],
  formats: ['models', 'engines', 'data', 'io', ...emitters, 'ops', ...plan],
  plots: ['models', 'io', 'layers', ...base],
  tuning: ['models', ...base],
};
const includes = { core: [], cpu: ['core'], napi: ['core', 'cpu'] };
const problems = [];

/** All files under the given folders whose names end as asked, as paths from the root; not those in hidden folders. */
function filesIn(folders, ending) {
  return folders
    .filter((folder) => existsSync(path.join(root, folder)))
    .flatMap((folder) =>
      readdirSync(path.join(root, folder), { recursive: true }).map((name) => path.join(folder, name)),
    )
    .filter((name) => ending.test(name) && !/[\\/]\./.test(name));
}

/** `lib/engines/reference/x.ts` → `engines/reference`, `lib/errors.ts` → `errors`. */
function partOf(file) {
  const inside = path.relative(path.join(root, 'lib'), file).replaceAll(path.sep, '/').replace(/\.ts$/, '');
  return inside.startsWith('engines/reference') ? 'engines/reference' : inside.split('/')[0];
}

function* importsOf(file) {
  const text = readFileSync(file, 'utf8');
  for (const [, to] of text.matchAll(/\b(?:import|require)\(\s*['"]([^'"]+)/g)) yield { to, typeOnly: false };
  const { body } = parseSync(text, { syntax: 'typescript', target: 'es2022' });
  const isIndex = file === path.join(root, 'lib', 'index.ts');
  for (const node of body) {
    if (node.type === 'ExportAllDeclaration') yield { to: node.source.value, typeOnly: false };
    else if (node.type === 'ImportDeclaration' || (node.type === 'ExportNamedDeclaration' && node.source)) {
      const typeOnly = 'typeOnly' in node && node.typeOnly === true;
      const types = node.specifiers.filter((name) => 'isTypeOnly' in name && name.isTypeOnly);
      yield {
        to: node.source.value,
        typeOnly: typeOnly || (types.length > 0 && types.length === node.specifiers.length),
      };
    } else if (isIndex) problems.push(`lib/index.ts: may re-export only, holds a ${node.type}`);
  }
}

for (const relative of filesIn(['lib', 'bench', 'examples'], /\.ts$/)) {
  const file = path.join(root, relative);
  for (const { to, typeOnly } of importsOf(file)) {
    if (!to.startsWith('.')) continue;
    const target = path.resolve(path.dirname(file), to);
    if (!relative.startsWith('lib')) {
      if (target.startsWith(path.join(root, 'lib')))
        problems.push(`${relative}: imports ${to} instead of 'deeprnn'`);
      continue;
    }
    const [from, part] = [partOf(file), partOf(target)];
    if (from === part || from === 'index') continue;
    const edges = allowed[from] ?? [];
    if (edges.includes(part) || (typeOnly && edges.includes(`type:${part}`))) continue;
    problems.push(
      `${relative}: lib/${from} may not import ${typeOnly ? 'types of ' : ''}lib/${part} ('${to}')`,
    );
  }
}

for (const relative of filesIn(['native/core', 'native/cpu', 'native/napi'], /\.(h|cpp)$/)) {
  const from = relative.split(path.sep)[1];
  for (const [, name] of readFileSync(path.join(root, relative), 'utf8').matchAll(
    /^\s*#\s*include\s*[<"](.+)[>"]/gm,
  )) {
    const part = name.startsWith('..')
      ? path.join(path.dirname(relative), name).split(path.sep)[1]
      : name.split('/')[0];
    const napiHeader = /^(napi|node_api|js_native_api)/.test(name) && from !== 'napi';
    const foreign = part in includes && part !== from && !includes[from].includes(part);
    if (napiHeader || foreign) problems.push(`${relative}: native/${from} may not include ${name}`);
  }
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log('imports: every edge is allowed');
