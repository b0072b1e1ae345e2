// What the compiler made of the CUDA kernels, as a table: registers, stack, spills, and from the machine code, where cuobjdump is
// at hand, tensor-core instructions, 16-byte loads and traffic with local memory. Fails when a kernel spills registers or keeps
// arrays in local memory.
//
//   node scripts/build-native.mjs --cuda --clean | tee build.log
//   node scripts/cuda-report.mjs build.log [--objects build/cuda] [--cuobjdump PATH] [--architecture sm_90] [--kernels persistent]

import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    objects: { type: 'string' },
    cuobjdump: { type: 'string', default: 'cuobjdump' },
    architecture: { type: 'string', default: 'sm_90' },
    kernels: { type: 'string', default: '' },
  },
});
const [log] = positionals;
if (!log) {
  console.error('cuda-report: expected the log of a CUDA build');
  process.exit(2);
}

/** Names without namespaces and arguments; precisions as compile() calls them. */
function readable(symbols) {
  const precisions = ['fp32', 'tf32', 'bf16'];
  const named = execFileSync('c++filt', { input: symbols.join('\n'), encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  return new Map(
    symbols.map((symbol, i) => [
      symbol,
      named[i]
        .replace(/\(anonymous namespace\)::|deeprnn::cuda::|^void /g, '')
        .replace(/\(Precision\)(\d)/g, (_, code) => precisions[code])
        .replace(/\(.*/, ''),
    ]),
  );
}

/** [{ symbol, architecture, stack, spills, registers }] from what ptxas prints under -v. */
function compiled(text) {
  const kernels = [];
  let kernel;
  for (const line of text.split('\n')) {
    const entry = /Compiling entry function '(\S+)' for '(\S+)'/.exec(line);
    if (entry) {
      kernel = { symbol: entry[1], architecture: entry[2], stack: 0, spills: 0, registers: 0 };
      kernels.push(kernel);
    }
    const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (memory && kernel?.registers === 0) {
      kernel.stack = Number(memory[1]);
      kernel.spills = Number(memory[2]) + Number(memory[3]);
    }
    const registers = /Used (\d+) registers/.exec(line);
    if (registers && kernel) kernel.registers = Number(registers[1]);
  }
  return kernels;
}

/** Instructions of each kernel in the object files, by kind. */
function disassembled(folder) {
  const counts = new Map();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.cu.o'),
  )) {
    const { status, stdout } = spawnSync(
      options.cuobjdump,
      ['-sass', '-arch', options.architecture, path.join(folder, name)],
      { encoding: 'utf8', maxBuffer: 2 ** 30 },
    );
    if (status !== 0) return undefined;
    let own;
    for (const line of stdout.split('\n')) {
      const begins = /Function : (\S+)/.exec(line);
      if (begins) {
        own = { all: 0, mma: 0, wide: 0, async: 0, local: 0 };
        counts.set(begins[1], own);
      }
      const instruction = /^\s+\/\*[0-9a-f]+\*\/\s+(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9_.]+)/.exec(line)?.[1];
      if (!own || !instruction) continue;
      own.all++;
      if (/^HG?MMA/.test(instruction)) own.mma++;
      if (/^LD[GS]\S*\.128/.test(instruction)) own.wide++;
      if (/^LDGSTS/.test(instruction)) own.async++;
      if (/^(LDL|STL)/.test(instruction)) own.local++;
    }
  }
  return counts;
}

const kernels = compiled(readFileSync(log, 'utf8'));
if (kernels.length === 0) {
  console.error(`cuda-report: ${log} names no kernel: build from nothing (--clean), with ptxas -v`);
  process.exit(2);
}
const instructions = options.objects && disassembled(options.objects);
const names = readable([...new Set(kernels.map((k) => k.symbol))]);
const wanted = kernels.filter(
  (k) => k.architecture === options.architecture && names.get(k.symbol).includes(options.kernels),
);
const head = ['kernel', 'registers', 'stack', 'spills'];
if (instructions) head.push('instructions', 'tensor core', '16-byte loads', 'copies ahead', 'local memory');
console.log(`| ${head.join(' | ')} |\n|${'---|'.repeat(head.length)}`);
for (const k of wanted) {
  const row = [
    `\`${names
      .get(k.symbol)
      .replace(/^void /, '')
      .replace(/\(.*/, '')}\``,
    k.registers,
    k.stack,
    k.spills,
  ];
  const own = instructions?.get(k.symbol);
  if (own) row.push(own.all, own.mma, own.wide, own.async, own.local);
  console.log(`| ${row.join(' | ')} |`);
}
const faults = kernels.filter((k) => k.stack > 0 || k.spills > 0);
for (const k of faults)
  console.error(
    `${names.get(k.symbol)} for ${k.architecture}: ${k.stack} bytes of stack, ${k.spills} of spills`,
  );
const architectures = [...new Set(kernels.map((k) => k.architecture))];
console.log(
  `\n${kernels.length / architectures.length} kernels for ${architectures.join(', ')}: ${faults.length} with stack or spills`,
);
if (faults.length > 0) process.exitCode = 1;
