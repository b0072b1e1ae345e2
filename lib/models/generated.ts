import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { TensorLike } from '../tensors/tensor';
import {
  type Batch,
  type BatchGenerator,
  type DataContract,
  type ExampleOptions,
  type GeneratedBatch,
  type Inputs,
  readExamples,
  wholeBatch,
} from './batches';
import { unlessAborted } from './callOptions';

export interface GeneratorOptions extends Pick<ExampleOptions, 'classWeight' | 'initialStates'> {
  readonly signal?: AbortSignal | undefined;
}

/** @throws ERR_VALUE for what belongs to examples, beside a generator: which of it belonged to which batch would be a guess */
export function refuseUnbatched(caller: string, { sampleWeight, lengths }: ExampleOptions): void {
  const name = sampleWeight !== undefined ? 'sampleWeight' : lengths !== undefined ? 'lengths' : undefined;
  if (name === undefined) return;
  const what = name === 'lengths' ? 'lengths' : 'weights';
  refuse('ERR_VALUE', `${caller}: ${name}`, `${what} inside the batches when x is a generator`, name);
}

/** The batches that a generator gives, each proven like data in memory. */
export async function* batchesFrom(
  contract: DataContract,
  generator: BatchGenerator,
  options: GeneratorOptions = {},
): AsyncGenerator<Batch> {
  const { caller } = contract;
  const { signal, ...rest } = options;
  const source = await unlessAborted(
    caller,
    signal,
    typeof generator === 'function' ? generator() : generator,
  );
  const items = iteratorOf(caller, source);
  let waiting = false;
  try {
    for (;;) {
      waiting = true;
      const { value, done } = await unlessAborted(caller, signal, items.next());
      // The iterator of plain values may hold promises.
      const item = await unlessAborted(caller, signal, value);
      waiting = false;
      if (done) return;
      const { x, y, sampleWeight, lengths } = readItem(caller, item);
      const own = { ...rest, sampleWeight, lengths };
      const examples = readExamples(contract, x, contract.losses ? y : undefined, own);
      yield wholeBatch(examples);
    }
  } finally {
    await close(items, waiting);
  }
}

/** Tells a source that no more of it will be read. */
async function close(items: AsyncIterator<unknown> | Iterator<unknown>, waiting: boolean): Promise<void> {
  const closed = Promise.resolve(items.return?.());
  // A source that is still at work on its next batch would not answer before that one has come.
  if (waiting) closed.catch(() => undefined);
  else await closed;
}

function iteratorOf(caller: string, source: unknown): AsyncIterator<unknown> | Iterator<unknown> {
  const given = Object(source) as Partial<AsyncIterable<unknown> & Iterable<unknown>>;
  const items = given[Symbol.asyncIterator]?.() ?? given[Symbol.iterator]?.();
  if (items === undefined || typeof source === 'string')
    refuse(
      'ERR_VALUE',
      `${caller}: generator`,
      'an iterable of batches, or a function that gives one',
      quoted(source),
    );
  return items as AsyncIterator<unknown> | Iterator<unknown>;
}

interface Item {
  readonly x: Inputs;
  readonly y?: Inputs;
  readonly sampleWeight?: Inputs;
  readonly lengths?: TensorLike;
}

function readItem(caller: string, item: unknown): Item {
  const subject = `${caller}: generator`;
  const isPair = Array.isArray(item);
  if (!isPair && (typeof item !== 'object' || item === null || !('x' in item)))
    refuse('ERR_VALUE', subject, 'batches [x, y, sampleWeight?] or { x, y, sampleWeight? }', quoted(item));
  if (isPair) {
    const [x, y, sampleWeight] = item as unknown as [Inputs, Inputs, Inputs];
    return { x, y, sampleWeight };
  }
  return readConfig(item, ['x', 'y', 'sampleWeight', 'lengths'], subject) as unknown as Item;
}

/** A generator of which the first batch has been looked at. */
export interface PeekedGenerator {
  /** The inputs of the first batch. */
  readonly x: Inputs;
  /** Still gives the first batch. */
  readonly generator: BatchGenerator;
  /** Closes the source if nobody has begun to read `generator`, which would do so itself. */
  closeUnread(): Promise<void>;
}

/** Looks at a generator's first batch, from which a model may be built. */
export async function firstInputs(
  caller: string,
  generator: BatchGenerator,
  signal: AbortSignal | undefined,
): Promise<PeekedGenerator> {
  const isFunction = typeof generator === 'function';
  const source = await unlessAborted(caller, signal, isFunction ? generator() : generator);
  const items = iteratorOf(caller, source);
  let waiting = true;
  let first: GeneratedBatch;
  let x: Inputs;
  try {
    const { value, done } = await unlessAborted(caller, signal, items.next());
    first = (await unlessAborted(caller, signal, value)) as GeneratedBatch;
    waiting = false;
    if (done) refuse('ERR_VALUE', caller, 'at least one batch', 'none from the generator');
    ({ x } = readItem(caller, first));
  } catch (error) {
    await close(items, waiting).catch(() => undefined);
    throw error;
  }
  let given = false;
  const whole: AsyncIterableIterator<GeneratedBatch> = {
    async next() {
      if (given) return (await items.next()) as IteratorResult<GeneratedBatch>;
      given = true;
      return { value: first, done: false };
    },
    async return() {
      await items.return?.();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]: () => whole,
  };
  let started = false;
  const restart = (): ReturnType<Extract<BatchGenerator, () => unknown>> => {
    if (started && isFunction) return generator();
    started = true;
    return whole;
  };
  return {
    x,
    generator: isFunction ? restart : whole,
    async closeUnread() {
      if (!given) await close(items, false);
    },
  };
}
