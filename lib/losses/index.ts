export { defineLoss, type LossSpec, losses } from './loss';
