export { type MetricSpec, metrics } from './metric';
