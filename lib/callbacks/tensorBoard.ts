import path from 'node:path';
import { flagOption, readConfig } from '../config';
import { oneOf, quoted, refuse } from '../errors';
import type { EventFile, EventValue, HparamValue } from '../io/eventFile';
import type { Inputs } from '../models/batches';
import type { Tensor } from '../tensors/tensor';
import type { Callback, CallbackModel, Logs } from './callback';

// Loaded when one is written.
const events = () => require('../io/eventFile') as typeof import('../io/eventFile');

export interface TensorBoardOptions {
  /** Where `train` and `validation` with event files are made: `tensorboard --logdir` on it or above. */
  logDir: string;
  /** Scalars at the end of epochs (`'epoch'`, the default), also of every batch (`'batch'`), or of every n-th step. */
  updateFreq?: 'epoch' | 'batch' | number;
  /** Histograms of all weights at the end of every n-th epoch. Default 0: none. */
  histograms?: number;
  /** A batch on which the gradients are worked out for histograms of theirs, beside those of weights. */
  gradientBatch?: { readonly x: Inputs; readonly y: Inputs };
  /** Norms of the gradients of every n-th step, as scalars by weight. Default 0: none. */
  gradientNorms?: number;
  /** `model.summary()` as a text. Default true. */
  summary?: boolean;
  /** Texts (Markdown) by tag. */
  text?: Readonly<Record<string, string>>;
  /** Of this run, for the page that compares runs. */
  hparams?: Readonly<Record<string, HparamValue>>;
}

const SUBJECT = 'callbacks.tensorBoard';
const known = [
  ...['logDir', 'updateFreq', 'histograms', 'gradientBatch', 'gradientNorms', 'summary', 'text', 'hparams'],
] as const;

/** What a model has beside what all callbacks may use. */
type Shown = CallbackModel & {
  summary?(): string;
  computeGradients?(x: Inputs, y: Inputs): Promise<{ gradients: ReadonlyMap<string, Tensor> }>;
};

/** Writes TensorBoard event files: scalars `epoch_<name>`, as Keras does, and on request more. */
export function tensorBoard(options: TensorBoardOptions): Callback {
  const o = readConfig<string>(options, known, SUBJECT) as unknown as TensorBoardOptions;
  const { logDir, updateFreq = 'epoch', histograms = 0, gradientNorms = 0, gradientBatch } = o;
  if (typeof logDir !== 'string' || logDir === '')
    refuse('ERR_VALUE', `${SUBJECT}: logDir`, 'a folder', quoted(logDir));
  const isCount = (v: unknown, least: number) => Number.isSafeInteger(v) && (v as number) >= least;
  if (updateFreq !== 'epoch' && updateFreq !== 'batch' && !isCount(updateFreq, 1))
    refuse(
      'ERR_VALUE',
      `${SUBJECT}: updateFreq`,
      `${oneOf(['epoch', 'batch'])}, or a positive integer`,
      quoted(updateFreq),
    );
  for (const [name, value] of Object.entries({ histograms, gradientNorms }))
    if (!isCount(value, 0))
      refuse('ERR_VALUE', `${SUBJECT}: ${name}`, 'an integer, 0 or more', quoted(value));
  if (
    gradientBatch !== undefined &&
    (histograms === 0 || Object(gradientBatch).x === undefined || Object(gradientBatch).y === undefined)
  )
    refuse('ERR_VALUE', `${SUBJECT}: gradientBatch`, '{ x, y } beside histograms', quoted(gradientBatch));
  const summary = flagOption(o.summary, true, `${SUBJECT}: summary`);
  const text = recordOption(o.text, 'text', ['string']) as Record<string, string>;
  const hparams = recordOption(o.hparams, 'hparams', ['string', 'number', 'boolean']) as Record<
    string,
    HparamValue
  >;
  let model: Shown;
  let train: EventFile;
  let validation: EventFile;

  const histogramsOf = (kind: string, arrays: ReadonlyMap<string, Tensor>): EventValue[] =>
    [...arrays].flatMap(([name, { data }]): EventValue[] => {
      const value = events().histogramOf(data);
      return value ? [{ kind: 'histogram', tag: `${kind}/${name}`, value }] : [];
    });
  const every = updateFreq === 'epoch' ? 0 : updateFreq === 'batch' ? 1 : updateFreq;
  return {
    ...(gradientNorms > 0 ? { gradientsEvery: gradientNorms } : {}),
    async onTrainBegin(trained) {
      model = trained;
      const { EventFile } = events();
      train = new EventFile(path.join(logDir, 'train'));
      validation = new EventFile(path.join(logDir, 'validation'));
      const shown = summary && model.summary ? { summary: fenced(model.summary()), ...text } : text;
      const first: EventValue[] = Object.entries(shown).map(([tag, value]) => ({ kind: 'text', tag, value }));
      if (Object.keys(hparams).length > 0) first.push({ kind: 'hparams', value: hparams });
      if (first.length > 0) await train.append(model.step, first);
    },
    async onBatchEnd(_, logs) {
      if (every > 0 && model.step % every === 0)
        await train.append(model.step, scalars('batch_', logs, false));
    },
    async onGradients({ globalNorm, weights }) {
      const norms = Object.entries({ global: globalNorm, ...weights });
      await train.append(
        model.step,
        norms.map(([name, value]) => ({ kind: 'scalar', tag: `gradient_norm/${name}`, value })),
      );
    },
    async onEpochEnd(epoch, logs) {
      const values = scalars('epoch_', logs, false);
      if (!('learningRate' in logs))
        values.push({ kind: 'scalar', tag: 'epoch_learningRate', value: model.learningRate });
      if (histograms > 0 && (epoch + 1) % histograms === 0) {
        values.push(...histogramsOf('weights', await model.getWeights()));
        if (gradientBatch && model.computeGradients)
          values.push(
            ...histogramsOf(
              'gradients',
              (await model.computeGradients(gradientBatch.x, gradientBatch.y)).gradients,
            ),
          );
      }
      await train.append(epoch, values);
      const validated = scalars('epoch_', logs, true);
      if (validated.length > 0) await validation.append(epoch, validated);
    },
    async onTrainEnd(_, error) {
      if (train && Object.keys(hparams).length > 0)
        await train.append(model.step, [{ kind: 'sessionEnd', succeeded: error === undefined }]);
    },
  };
}

/** Logs as scalars: those of validation without the `val_` in front, as Keras writes them, or the others. */
function scalars(prefix: string, logs: Logs, validated: boolean): EventValue[] {
  return Object.entries(logs)
    .filter(([name]) => name.startsWith('val_') === validated)
    .map(([name, value]) => ({ kind: 'scalar', tag: `${prefix}${validated ? name.slice(4) : name}`, value }));
}

/** As it stands, in Markdown. */
function fenced(text: string): string {
  return text.replace(/^/gm, '    ');
}

function recordOption(value: unknown, option: string, types: readonly string[]): Record<string, unknown> {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (value !== undefined && !isRecord)
    refuse('ERR_VALUE', `${SUBJECT}: ${option}`, 'an object', quoted(value));
  for (const [name, v] of Object.entries((value as object | undefined) ?? {}))
    if (!types.includes(typeof v))
      refuse('ERR_VALUE', `${SUBJECT}: ${option}.${name}`, `a ${types.join(' or ')}`, quoted(v));
  return { ...(value as Record<string, unknown> | undefined) };
}
