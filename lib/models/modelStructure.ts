import type { FunctionalConfig } from './functional';
import type { SequentialConfig } from './sequential';

/** What `getConfig` of a model gives: its layers, and how they are connected. */
export type ModelStructure = SequentialConfig | FunctionalConfig;
