// The ES module face: the same CommonJS instance under ESM names, so that a process never holds two copies.
export * from './index.js';
