export { losses, type LossSpec } from './loss';
