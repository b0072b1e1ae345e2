import { quoted, refuse } from '../../errors';
import { toCamelCase } from '../../names';

/** What a module of PyTorch is called and what it was made with, `name` being the prefix of its arrays in the state dict. */
export type TorchModule = { readonly name?: string } & (
  | {
      readonly module: 'RNN' | 'LSTM' | 'GRU';
      readonly inputSize?: number;
      readonly hiddenSize?: number;
      readonly numLayers?: number;
      readonly bidirectional?: boolean;
      readonly bias?: boolean;
      /** Of nothing but how PyTorch lays sequences out: here they are always `[N, T, D]`. */
      readonly batchFirst?: boolean;
      /** Dropout between the layers, in training. Default 0. */
      readonly dropout?: number;
      /** RNN only. Default `'tanh'`. */
      readonly nonlinearity?: 'tanh' | 'relu';
      /** LSTM only. */
      readonly projSize?: number;
      /**
       * Whether what comes next reads the output of every step (true, the default), or the last state of each direction of the top layer,
       * side by side: `h_n[-1]`, or `torch.cat([h_n[-2], h_n[-1]], 1)`.
       */
      readonly returnSequences?: boolean;
    }
  | {
      readonly module: 'Linear';
      readonly inFeatures?: number;
      readonly outFeatures?: number;
      readonly bias?: boolean;
    }
  | {
      readonly module: 'Embedding';
      readonly numEmbeddings?: number;
      readonly embeddingDim?: number;
      /** PyTorch never trains this row; here it is trained, unless its steps are left out by `maskZero`. */
      readonly paddingIdx?: number;
      /** Recurrent layers above pass over steps whose id is 0, as over those behind the end of a packed sequence. Default false. */
      readonly maskZero?: boolean;
    }
  | {
      readonly module: 'LayerNorm';
      readonly normalizedShape?: number | readonly number[];
      readonly eps?: number;
      readonly elementwiseAffine?: boolean;
      readonly bias?: boolean;
    }
  | {
      readonly module: 'BatchNorm1d';
      readonly numFeatures?: number;
      readonly eps?: number;
      readonly momentum?: number;
      readonly affine?: boolean;
    }
  | { readonly module: 'Dropout'; readonly p?: number }
  | { readonly module: 'LeakyReLU'; readonly negativeSlope?: number }
  | { readonly module: 'ELU' | 'CELU'; readonly alpha?: number }
  | { readonly module: 'Softshrink' | 'Hardshrink'; readonly lambd?: number }
  | { readonly module: 'GELU'; readonly approximate?: 'none' | 'tanh' }
  | { readonly module: 'Softmax' | 'LogSoftmax' | 'GLU'; readonly dim?: number }
  | { readonly module: 'Flatten' | PlainActivation }
);

/** Activations without parameters, with their names here. */
export const plainActivations = {
  Identity: 'linear',
  Tanh: 'tanh',
  Sigmoid: 'sigmoid',
  ReLU: 'relu',
  ReLU6: 'relu6',
  SELU: 'selu',
  SiLU: 'silu',
  Mish: 'mish',
  Softplus: 'softplus',
  Softsign: 'softsign',
  Hardsigmoid: 'hardSigmoid',
  Hardswish: 'hardSilu',
  Hardtanh: 'hardTanh',
  LogSigmoid: 'logSigmoid',
  Tanhshrink: 'tanhShrink',
} as const;
export type PlainActivation = keyof typeof plainActivations;

/** The modules in the order in which the forward pass uses them, each one's output the next one's input. */
export type TorchDescription = readonly TorchModule[];

/** A module's options as they were given, name and kind apart. */
export interface Entry {
  /** For messages. */
  readonly subject: string;
  readonly name: string;
  readonly module: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Prefix of a module's arrays. */
export function prefixOf({ name }: Pick<Entry, 'name'>): string {
  return name === '' ? '' : `${name}.`;
}

/** PyTorch's spelling of options in ours; one that is given in both stays, to be refused. */
function inCamelCase(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => {
      const name = toCamelCase(key);
      return [Object.hasOwn(options, name) ? key : name, value];
    }),
  );
}

/** @throws ERR_VALUE for what is no list of `{ module, name? }`, or where two have one name */
export function readEntries(description: unknown, caller: string): Entry[] {
  const subject = `${caller}: description`;
  if (!Array.isArray(description) || description.length === 0)
    refuse('ERR_VALUE', subject, 'an array of { name, module, … }', quoted(description));
  const entries = (description as readonly unknown[]).map((entry, i): Entry => {
    const at = `${subject}[${i}]`;
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
      refuse('ERR_VALUE', at, '{ name, module, … }', quoted(entry));
    const { name = '', module, ...options } = entry as Record<string, unknown>;
    if (typeof module !== 'string') refuse('ERR_VALUE', `${at}: module`, "a name as 'LSTM'", quoted(module));
    if (typeof name !== 'string' || /[\s/]/.test(name))
      refuse('ERR_VALUE', `${at}: name`, "a prefix of the state dict as 'encoder.lstm'", quoted(name));
    const shown = name === '' ? `${at} (${module})` : `${caller}: module '${name}' (${module})`;
    return { subject: shown, name: name as string, module: module as string, options: inCamelCase(options) };
  });
  const names = entries.map(({ name }) => name).filter((name) => name !== '');
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) refuse('ERR_VALUE', subject, 'every name once', `'${twice}' twice`);
  return entries;
}
