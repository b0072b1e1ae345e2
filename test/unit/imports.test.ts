import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const script = resolve(__dirname, '../../scripts/check-imports.mjs');

describe('the import-graph check', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'deeprnn-imports-'));
  });

  afterEach(() => rmSync(root, { recursive: true }));

  function check(files: Record<string, string>) {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' });
    return { status, problems: stderr.split('\n').filter(Boolean).sort() };
  }

  test('allows the edges of the map', () => {
    const result = check({
      'lib/index.ts': "export { fit } from './models/fit';",
      'lib/models/fit.ts': "import { emit } from '../layers/dense';",
      'lib/layers/dense.ts':
        "import { refuse } from '../errors';\nimport { Tensor } from '../tensors/tensor';",
      'lib/callbacks/log.ts': "import type { Model } from '../models/fit';",
      'lib/engines/reference/run.ts': "import { type Engine } from '../engine';",
      'native/napi/addon.cpp': '#include <napi.h>\n#include "cpu/engine.h"\n#include "core/plan.h"\n',
    });
    expect(result).toEqual({ status: 0, problems: [] });
  });

  test('refuses any other, in every way to write an import', () => {
    const result = check({
      'lib/index.ts': 'export const answer = 42;',
      'lib/layers/dense.ts': "import { fit } from '../models/fit';",
      'lib/tensors/tensor.ts': "export * from '../plan/types';",
      'lib/io/file.ts': "const model = await import('../models/fit');",
      'lib/callbacks/log.ts': "import { type Model, fit } from '../models/fit';",
      'lib/engines/reference/run.ts': "import { loadAddon } from '../addon';",
      'examples/main.ts': "import { layers } from '../lib/index';",
      'native/core/plan.h': '#include "cpu/engine.h"\n#include <node_api.h>\n',
      'native/cpu/kernels/a_avx2.cpp': '#include "../../napi/handles.h"\n',
    });
    expect(result).toEqual({
      status: 1,
      problems: [
        "examples/main.ts: imports ../lib/index instead of 'deeprnn'",
        "lib/callbacks/log.ts: lib/callbacks may not import lib/models ('../models/fit')",
        "lib/engines/reference/run.ts: lib/engines/reference may not import lib/engines ('../addon')",
        'lib/index.ts: may re-export only, holds a ExportDeclaration',
        "lib/io/file.ts: lib/io may not import lib/models ('../models/fit')",
        "lib/layers/dense.ts: lib/layers may not import lib/models ('../models/fit')",
        "lib/tensors/tensor.ts: lib/tensors may not import lib/plan ('../plan/types')",
        'native/core/plan.h: native/core may not include cpu/engine.h',
        'native/core/plan.h: native/core may not include node_api.h',
        'native/cpu/kernels/a_avx2.cpp: native/cpu may not include ../../napi/handles.h',
      ],
    });
  });
});
