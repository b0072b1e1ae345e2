import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { History, plotHistory, plotModel, sequential } from '../../lib';
import { optional } from '../../lib/io/optional';

const root = resolve(__dirname, '../..');

/** The packages that draw are ES modules, which Node loads and the test runner does not: plots are made in a process of their own. */
function drawn(script: string): { out: string; error: string } {
  const text = `
    const d = require(${JSON.stringify(root)});
    const run = async () => { ${script} };
    run().then((svg) => process.stdout.write(svg), (e) => { process.stderr.write(e.message); process.exitCode = 1; });`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', text], { encoding: 'utf8', cwd: root });
  return { out: stdout, error: stderr };
}

describe('plots', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'deeprnn-plots-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('a model: a box for every use of a layer, with its shape, and the connections', () => {
    const file = join(folder, 'model.svg');
    const { out, error } = drawn(`
      const x = d.input({ shape: [null, 4], name: 'se<ries' });
      const shared = d.layers.lstm({ units: 8, returnSequences: true, name: 'shared' });
      const up = shared.apply(d.layers.dense({ units: 4, name: 'widen' }).apply(x));
      const sum = d.layers.add({ name: 'sum' }).apply([shared.apply(x), up]);
      const model = d.model({ inputs: x, outputs: [sum, d.layers.gru({ units: 3, name: 'end' }).apply(sum)] });
      return d.plotModel(model, { file: ${JSON.stringify(file)}, direction: 'right' });`);
    expect(error).toBe('');
    expect(out).toBe(readFileSync(file, 'utf8'));
    const titles = [...out.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) =>
      text?.replaceAll('&#160;', ' '),
    );
    expect(titles.filter((text) => text === 'shared (lstm)')).toHaveLength(2);
    for (const text of [
      'se&lt;ries',
      '[N, any, 4]',
      'widen (dense)',
      'sum (add)',
      '[N, any, 8]',
      'end (gru)',
      '[N, 3]',
      'output 2',
    ])
      expect(titles).toContain(text);
    // x → widen, x → shared, widen → shared, both → sum, sum → end, and to the outputs.
    expect(out.match(/class="edge"/g)).toHaveLength(8);
  });

  test('training curves: training and validation of every metric', () => {
    const file = join(folder, 'curves.svg');
    const { out, error } = drawn(`
      const history = new d.History();
      for (let epoch = 0; epoch < 4; epoch++)
        history.record(epoch, { loss: 2 - epoch / 4, val_loss: 2.2 - epoch / 5, mae: epoch === 2 ? NaN : 1, ...(epoch % 2 ? { val_mae: 1.5 } : {}) });
      return d.plotHistory(history, { file: ${JSON.stringify(file)} });`);
    expect(error).toBe('');
    expect(out).toBe(readFileSync(file, 'utf8'));
    expect(out).toMatch(/^<svg/);
    for (const text of ['loss', 'mae', 'training', 'validation', 'epoch'])
      expect(out).toContain(`>${text}</text>`);
    // Points are told in words: those of numbers that are there.
    const points = out.match(/aria-roledescription="point"/g) ?? [];
    expect(points).toHaveLength(4 + 4 + 3 + 2);
  });

  test('without a package it says which to install', async () => {
    const missing = () => Promise.reject(Object.assign(new Error('none'), { code: 'ERR_MODULE_NOT_FOUND' }));
    await expect(optional('vega vega-lite', missing, 'plotHistory')).rejects.toThrow(
      'plotHistory: expected vega vega-lite to be installed: npm install vega vega-lite.',
    );
    const broken = () => Promise.reject(new Error('a fault of its own'));
    await expect(optional('vega', broken, 'plotHistory')).rejects.toThrow('a fault of its own');
  });

  test('what is wrong is refused', async () => {
    const history = new History();
    history.record(0, { loss: 1, val_loss: 2 });
    await expect(plotHistory(history, { metrics: ['acc'] })).rejects.toThrow(
      "plotHistory: metrics: expected some of loss, got 'acc'.",
    );
    await expect(plotHistory({} as never)).rejects.toThrow(
      'plotHistory: history: expected what fit gives, got an object.',
    );
    await expect(plotHistory(history, { color: 'red' } as never)).rejects.toThrow(
      "plotHistory: unknown option 'color'",
    );
    await expect(plotModel(sequential([]))).rejects.toThrow('plotModel');
    const model = sequential([]);
    await expect(plotModel(model, { direction: 'up' as never })).rejects.toThrow(
      "plotModel: direction: expected 'down' or 'right', got up.",
    );
  });
});
