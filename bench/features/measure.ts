// Values and gradients of one model on one engine, and how far two of them lie apart.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type layers, type Model, sequential, sequentialFromConfig, type Tensor, tensor } from 'deeprnn';
import { type Feature, sizes } from './list';

type Layer = ReturnType<(typeof layers)['dense']>;

export interface Difference {
  /** Of the largest value. */
  readonly values: number;
  readonly gradients: number;
}

/** The largest difference, over the largest of what is compared with. NaN where that is not finite. */
function relative(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [most, size] = [0, 1e-6];
  for (let i = 0; i < wanted.length; i++) {
    const [a, w] = [actual[i] as number, wanted[i] as number];
    if (!Number.isFinite(a) || !Number.isFinite(w)) return Number.NaN;
    most = Math.max(most, Math.abs(a - w));
    size = Math.max(size, Math.abs(w));
  }
  return most / size;
}

/** Numbers that both engines hold exactly. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * 1.5;
  });
}

interface Found {
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly values: ArrayLike<number>;
  readonly gradients: ReadonlyMap<string, Tensor>;
}

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function modelOf(feature: Feature, shape: readonly number[]): Model<unknown> {
  if (feature.model) return feature.model();
  const model = sequential(feature.layers() as Layer[], { seed: 11 });
  // A batch size that a layer fixes is part of its shape.
  if (!model.built) model.build([...shape]);
  return model as unknown as Model<unknown>;
}

function inputOf({ ids }: Feature, shape: readonly number[], seed: number): Tensor {
  const drawn = numbers(sizeOf(shape), seed);
  if (ids === undefined) return tensor(drawn, shape);
  return tensor(
    Int32Array.from(drawn, (v) => Math.floor(Math.abs(v) * 100) % ids),
    shape,
  );
}

const isTensor = (value: unknown): value is Tensor =>
  typeof value === 'object' && value !== null && 'data' in value;

async function run(
  feature: Feature,
  device: string,
  given: ReadonlyMap<string, Tensor> | undefined,
): Promise<Found> {
  const { N, T, D } = sizes;
  const shape = feature.shape ?? [T, D];
  const model = modelOf(feature, shape);
  const compile = { loss: 'meanSquaredError', optimizer: 'sgd', ...feature.compile, device };
  model.compile(compile as Parameters<typeof model.compile>[0]);
  const weights = given ?? (await model.getWeights());
  await model.setWeights(new Map(weights));
  const inputs = Array.from({ length: feature.inputs ?? 1 }, (_, i) =>
    inputOf(feature, [N, ...shape], 1 + 10 * i),
  );
  const x = inputs.length > 1 ? inputs : (inputs[0] as Tensor);
  const options = feature.padded ? { lengths: [T, 2, 4, T, 1] } : {};
  for (let run = 1; run < (feature.runs ?? 1); run++) await model.predict(x, options);
  const predicted = await model.predict(x, options);
  const outputs = isTensor(predicted) ? [predicted] : Object.values(predicted as Record<string, Tensor>);
  const loss: unknown = feature.compile?.['loss'];
  const softmax = /^categorical/.test(typeof loss === 'string' ? loss : String(Object(loss).type));
  const targetsOf = (y: Tensor): Tensor => {
    const targets = numbers(y.size, 2).map(Math.abs);
    const classes = y.shape[y.shape.length - 1] as number;
    return tensor(softmax ? targets.map((_, i) => Number(i % classes === 0)) : targets, y.shape);
  };
  const wanted = outputs.length > 1 ? outputs.map(targetsOf) : targetsOf(outputs[0] as Tensor);
  const y = { data: outputs.flatMap(({ data }) => [...data]) };
  if (feature.fit) {
    await model.fit(x, wanted, { verbose: 0, ...feature.fit });
  } else if (feature.steps === undefined) {
    const { gradients } = await model.computeGradients(x, wanted, options);
    model.dispose();
    return { weights, values: y.data, gradients };
  }
  for (let step = 0; step < (feature.steps ?? 0); step++) await model.trainOnBatch(x, wanted, options);
  const after = await model.getWeights();
  model.dispose();
  return { weights, values: y.data, gradients: after };
}

/** How far an engine is from the float64 reference, from the same weights and data. */
export async function differenceOf(feature: Feature, device: string): Promise<Difference> {
  const given = await run(feature, device, undefined);
  const wanted = await run(feature, 'reference', given.weights);
  const names = [...wanted.gradients.keys()];
  if (names.length === 0 || names.join() !== [...given.gradients.keys()].join())
    throw new Error(`${feature.name}: other gradients on ${device} than on the reference`);
  const gradients = names.map((name) =>
    relative(given.gradients.get(name)?.data ?? [], wanted.gradients.get(name)?.data ?? []),
  );
  return { values: relative(given.values, wanted.values), gradients: Math.max(...gradients) };
}

interface Stored {
  readonly shape: number[];
  readonly data: number[];
}
interface Case {
  readonly name: string;
  readonly config: Parameters<typeof sequentialFromConfig>[0];
  readonly weights: Record<string, Stored>;
  readonly x: Stored;
  readonly target: Stored;
  readonly y: number[];
  readonly gradients: Record<string, Stored>;
}

/** How far the reference is from what somebody else has computed in float64: the models of a file whose names have a part. */
export async function oracleOf(
  file: string,
  part: string,
): Promise<Difference & { readonly by: string; readonly count: number }> {
  const text = readFileSync(path.join(__dirname, '../../../test/fixtures', `${file}.json`), 'utf8');
  const cases = (JSON.parse(text) as Case[]).filter(({ name }) => name.includes(part));
  if (cases.length === 0) throw new Error(`no model of ${file} has '${part}' in its name`);
  const differences = { values: 0, gradients: 0 };
  const real = ({ shape, data }: Stored) => tensor(Float64Array.from(data), shape);
  for (const c of cases) {
    const model = sequentialFromConfig(c.config);
    model.compile({ loss: 'meanSquaredError', device: 'reference' });
    await model.setWeights(new Map(Object.entries(c.weights).map(([name, w]) => [name, real(w)])));
    const y = await model.predict(real(c.x));
    differences.values = Math.max(differences.values, relative(y.data, c.y));
    const { gradients } = await model.computeGradients(real(c.x), real(c.target));
    for (const [name, { data }] of Object.entries(c.gradients))
      differences.gradients = Math.max(
        differences.gradients,
        relative(gradients.get(name)?.data ?? [], data),
      );
    model.dispose();
  }
  return { ...differences, by: /^keras/.test(file) ? 'Keras' : 'PyTorch', count: cases.length };
}
