import {
  layers,
  minMaxScaler,
  preprocessorFromJSON,
  type Scaler,
  sequential,
  slidingWindows,
  standardScaler,
  tensor,
} from '../../../lib';

const again = <T>(p: { toJSON(): unknown }): T =>
  preprocessorFromJSON(JSON.parse(JSON.stringify(p.toJSON()))) as T;

describe('forecasting, from a table to what the forecast means', () => {
  const table = Array.from({ length: 40 }, (_, t) => [Math.sin(t / 3) * 10 + 50, t % 7]);

  test('windows of one step ahead are what a dense layer gives, and go back by their column', async () => {
    const scaler = standardScaler();
    const { x, y } = slidingWindows(scaler.fitTransform(table), { inputSteps: 12, targetColumns: [0] });
    expect([x.shape, y.shape]).toEqual([
      [28, 12, 2],
      [28, 1],
    ]);
    const model = sequential([layers.gru({ units: 4, inputShape: [12, 2] }), layers.dense({ units: 1 })]);
    model.compile({ loss: 'mse' });
    await model.fit(x, y);
    const forecast = scaler.inverseTransform(await model.predict(x), { columns: [0] });
    expect(forecast.shape).toEqual([28, 1]);
    const known = scaler.inverseTransform(y, { columns: [0] });
    known.data.forEach((v, n) => {
      expect(v).toBeCloseTo(table[n + 12]?.[0] as number, 4);
    });
    expect(() => scaler.inverseTransform(y)).toThrow(
      'standardScaler.inverseTransform: expected shape [N, 2] or [N, T, 2], got [28, 1]. Say which of the features these are, e.g. { columns: [0] }.',
    );
    expect(() => scaler.inverseTransform(y, { columns: [2] })).toThrow(
      'standardScaler.inverseTransform: columns: expected numbers of features from 0 to 1, got [2].',
    );
  });

  test('a plain series all the way', () => {
    const scaler = minMaxScaler().fit([10, 20, 30]);
    expect(scaler.transform([10, 25]).toArray()).toEqual([0, 0.75]);
    expect(scaler.inverseTransform([0, 0.75]).toArray()).toEqual([10, 25]);
  });

  test('targets of another shape with as many values', async () => {
    const model = sequential([layers.gru({ units: 4, inputShape: [12, 2] }), layers.dense({ units: 1 })]);
    model.compile({ loss: 'mse' });
    const x = tensor(new Float32Array(3 * 24), [3, 12, 2]);
    await expect(model.fit(x, tensor(new Float32Array(3), [3, 1, 1]))).rejects.toThrow(
      'fit: y: expected shape [3, 1] for meanSquaredError, got [3, 1, 1]. As many values: give them that shape, e.g. tensor(y).reshape([3, 1]).',
    );
  });
});

describe('large numbers keep their differences', () => {
  const times = [1700000000, 1700000060, 1700000120];

  test('in scalers, from nested arrays and back', () => {
    const scaler = standardScaler();
    const scaled = scaler.fitTransform(times.map((t) => [t]));
    [-Math.sqrt(1.5), 0, Math.sqrt(1.5)].forEach((v, i) => {
      expect(scaled.data[i]).toBeCloseTo(v, 6);
    });
    expect(Array.from(scaler.inverseTransform([[0]]).data)).toEqual([1700000060]);
    expect(scaler.inverseTransform([[0]], { dtype: 'float32' }).dtype).toBe('float32');
    expect(scaler.transform([[1700000060]], { dtype: 'float64' }).dtype).toBe('float64');
    expect(
      minMaxScaler()
        .fitTransform([[16777216], [16777217], [16777218]])
        .toArray(),
    ).toEqual([[0], [0.5], [1]]);
    expect(
      minMaxScaler()
        .fitTransform(Uint32Array.of(16777216, 16777217, 16777218))
        .toArray(),
    ).toEqual([0, 0.5, 1]);
  });

  test('in windows of float64', () => {
    const { x, y } = slidingWindows(tensor(Float64Array.from(times), [3, 1]), { inputSteps: 2 });
    expect([x.toArray(), y.toArray()]).toEqual([[[[1700000000], [1700000060]]], [[1700000120]]]);
  });
});

describe('scalers', () => {
  const x = [
    [1, 10, 5],
    [2, 20, 5],
    [6, 60, 5],
  ];

  test('standardScaler: mean 0, population deviation 1; a constant feature is only shifted', () => {
    const scaler = standardScaler().fit(x);
    const deviation = Math.sqrt(14 / 3);
    const [[a, b, c]] = scaler.transform([[6, 10, 7]]).toArray() as [[number, number, number]];
    expect(a).toBeCloseTo(3 / deviation, 6);
    expect(b).toBeCloseTo(-20 / (10 * deviation), 6);
    expect(c).toBe(2);
  });

  test('minMaxScaler: the range asked for', () => {
    const scaler = minMaxScaler({ featureRange: [-1, 1] });
    expect(scaler.fitTransform(x).toArray()).toEqual([
      [-1, -1, -1],
      [-0.6000000238418579, -0.6000000238418579, -1],
      [1, 1, -1],
    ]);
  });

  test.each([standardScaler, minMaxScaler])(
    '%p: back and forth, in pieces, through JSON, on sequences',
    (make: () => Scaler) => {
      const whole = make().fit(x);
      const pieces = make().partialFit(x.slice(0, 1)).partialFit(x.slice(1));
      const loaded = again<Scaler>(whole);
      const values = tensor([
        [
          [3, 1, 4],
          [1, 5, 9],
        ],
      ]);
      for (const scaler of [pieces, loaded]) {
        scaler.transform(values).data.forEach((v, i) => {
          expect(v).toBeCloseTo(whole.transform(values).data[i] as number, 6);
        });
      }
      loaded.inverseTransform(whole.transform(values)).data.forEach((v, i) => {
        expect(v).toBeCloseTo(values.data[i] as number, 5);
      });
    },
  );

  test('a large mean does not eat the deviation', () => {
    const scaler = standardScaler().fit(tensor(Float64Array.of(1e9 + 1, 1e9 + 2, 1e9 + 3), [3, 1]));
    expect(scaler.transform(tensor(Float64Array.of(1e9 + 3), [1, 1])).data[0]).toBeCloseTo(
      1 / Math.sqrt(2 / 3),
      5,
    );
  });

  test('refusals; a failed fit leaves the scaler as it was', () => {
    const scaler = standardScaler().fit(x);
    expect(() => scaler.partialFit([[1, Number.NaN, 2]])).toThrow(
      'standardScaler.fit: expected finite numbers, got NaN in feature 1, row 0.',
    );
    expect(scaler.toJSON()).toEqual(standardScaler().fit(x).toJSON());
    expect(() => scaler.transform([[1, 2]])).toThrow(
      'standardScaler.transform: expected shape [N, 3] or [N, T, 3], got [1, 2].',
    );
    expect(() => minMaxScaler().transform(x)).toThrow(
      'minMaxScaler.transform: expected a fitted scaler. Call fit with training data first.',
    );
    expect(() => minMaxScaler({ featureRange: [1, 1] })).toThrow(
      'minMaxScaler: featureRange: expected two rising numbers, got [1, 1].',
    );
  });
});
