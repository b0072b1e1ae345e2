import type { ModelFormat } from '../formats';

// Loaded when there is such a file.
const reader = () => require('./read') as typeof import('./read');

/** Layers models of TensorFlow.js: a `model.json` with shards of weights beside it. */
export const tfjs: ModelFormat = {
  name: 'TensorFlow.js',
  endings: [],
  recognizes: (head, path) => {
    const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('utf8');
    const isJson = /^\s*\{/.test(text);
    return isJson && (path.toLowerCase().endsWith('.json') || /"(modelTopology|weightsManifest)"/.test(text));
  },
  load: async (path, options) => reader().readTfjs(path, options),
};
