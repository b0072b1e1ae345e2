/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  // Both cores: the event-loop test retries, and no test asserts a time otherwise.
  maxWorkers: '100%',
  testTimeout: 60_000,
  testMatch: ['**/*.test.ts'],
  // These need the emulated device of scripts/test-emulator.mjs.
  testPathIgnorePatterns: process.env.DEEPRNN_TEST_DEVICE === 'cuda' ? [] : ['<rootDir>/test/unit/cuda/'],
  moduleNameMapper: {
    '^deeprnn$': '<rootDir>/lib/index.ts',
    // What is imported lazily is named as it is when compiled.
    '^(\\.{1,2}/.+)\\.js$': ['$1.js', '$1.ts'],
  },
  transform: {
    '\\.m?[jt]s$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
};
