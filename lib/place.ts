/**
 * The folder that holds the library's own files, at whose paths threads are started: lib/, dist/ once it is compiled. The bundle that users load
 * is dist/index.js, which stands where this file does when it is compiled by itself.
 */
export const libraryFolder = __dirname;
