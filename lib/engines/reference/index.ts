export { referenceEngine } from './engine';
