export { type Optimizer, type OptimizerSpec, optimizers } from './optimizer';
export { type Schedule, schedules } from './schedules';
