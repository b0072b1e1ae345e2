export { type LossSpec, losses } from './loss';
