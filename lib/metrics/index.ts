export { defineMetric, type MetricSpec, metrics } from './metric';
