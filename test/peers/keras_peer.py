"""Keras on the other side of test/peers/keras.mjs: one JSON command a line in, one JSON answer a line out.

    make   { kind, seed, path, compile?, steps? }  builds a model with random weights, trains it for some steps, saves it; answers with data
                                                  and what it then predicts, and with the losses of the steps after the save
    assign { kind, path, x }                       builds a model, gives its variables the arrays of a safetensors file, by their paths, and predicts
    open   { path, x, y?, steps? }                 opens a model, predicts, and trains it further
    evaluate { path, x, y }                        opens a model and answers with its scores

Arrays are { shape, data }. Needs Keras 3 with any backend, and safetensors for files of that kind.
"""

import json
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras  # noqa: E402
import numpy as np  # noqa: E402

L = keras.layers
N, T, D = 4, 6, 3


def sequence():
    return keras.Input((T, D))


def ids():
    return keras.Input((T,), dtype="int32")


def chain(start, *layers):
    return keras.Sequential([start, *layers])


def residual():
    x = sequence()
    below = L.LSTM(4, return_sequences=True)(x)
    above = L.Add()([below, L.LSTM(4, return_sequences=True)(below)])
    return keras.Model(x, L.GRU(3)(above))


def shared():
    a, b = sequence(), sequence()
    read = L.GRU(4)
    dense = L.Dense(3)
    return keras.Model([a, b], L.Dense(2)(L.Concatenate()([dense(read(a)), dense(read(b))])))


def states():
    a, b = sequence(), sequence()
    _, h, c = L.LSTM(4, return_state=True)(a)
    y = L.LSTM(4, return_sequences=True)(b, initial_state=[h, c])
    return keras.Model([a, b], [L.Dense(2)(y), L.GRU(4)(y, initial_state=h)])


def both_directions():
    x = sequence()
    y, h1, c1, h2, c2 = L.Bidirectional(L.LSTM(2, return_sequences=True, return_state=True))(x)
    z = L.Bidirectional(L.LSTM(2), merge_mode="sum")(y, initial_state=[h1, c1, h2, c2])
    return keras.Model(x, z)


def merged(name, **options):
    x = sequence()
    parts = [L.LSTM(4, return_sequences=True)(x), L.GRU(4, return_sequences=True)(x)]
    return keras.Model(x, getattr(L, name)(**options)(parts))


def attention():
    x = sequence()
    y = L.GRU(4, return_sequences=True)(x)
    scores = L.Softmax()(L.Dot(axes=-1)([y, y]))
    return keras.Model(x, L.Dot(axes=[2, 1])([scores, y]))


def concatenated(both):
    x = sequence()
    masked = L.Masking()(x)
    y = L.GRU(2, return_sequences=True)(masked)
    return keras.Model(x, L.LSTM(3)(L.Concatenate()([y, L.Dense(3)(masked if both else x)])))


def half_frozen():
    both = L.Bidirectional(L.LSTM(3, kernel_regularizer="l2", return_sequences=True))
    both.forward_layer.trainable = False
    return chain(sequence(), both, L.Dense(2))


def stacked_models():
    encoder = keras.Sequential([L.LSTM(4, return_sequences=True), L.BatchNormalization(), L.Dense(3)], name="encoder")
    x = keras.Input((T, 3))
    decoder = keras.Model(x, L.GRU(2, return_sequences=True)(L.Dense(3)(x)), name="decoder")
    return chain(sequence(), encoder, L.Dense(3), decoder, keras.Sequential([decoder_head()], name="head"))


def decoder_head():
    return keras.Sequential([keras.Input((T, 2)), L.Dense(2), L.SimpleRNN(3)], name="inner")


def models_used_twice():
    x = keras.Input((T, D))
    y = L.GRU(4, return_sequences=True)(x)
    reader = keras.Model(x, [y, L.Dense(3)(y)], name="reader")
    end = keras.Sequential([keras.Input((T, 4)), L.Bidirectional(L.LSTM(3)), L.Dense(2)], name="end")
    a, b = sequence(), sequence()
    (ya, za), (yb, zb) = reader(a), reader(b)
    pooled = L.LSTM(2)(L.Add()([za, zb]))
    return keras.Model([a, b], [L.Concatenate()([end(ya), end(yb), pooled]), end(L.Average()([ya, yb]))])


def branched_inside():
    x = keras.Input((T, D))
    y = L.LSTM(3, return_sequences=True)(x)
    block = keras.Model(x, L.Add()([x, y]), name="block")
    return chain(sequence(), block, L.GRU(3))


def masks_inside():
    words = keras.Sequential([ids(), L.Embedding(9, 4, mask_zero=True), L.LSTM(3, return_sequences=True)], name="words")
    x = ids()
    return keras.Model(x, L.GRU(2)(L.Dense(3)(words(x))))


def masks_handed_in():
    x = ids()
    y = L.Embedding(9, 4, mask_zero=True)(x)
    above = keras.Sequential([keras.Input((T, 4)), L.LSTM(3, return_sequences=True), L.GRU(2)], name="above")
    return keras.Model(x, above(y))


def spaces():
    return chain(sequence(), L.LSTM(3, name="the first layer", return_sequences=True), L.Dense(2, name="head\t2"))


def masked_branches():
    x = ids()
    y = L.Embedding(9, 4, mask_zero=True)(x)
    z = L.Bidirectional(L.GRU(2, return_sequences=True))(y)
    return keras.Model(x, L.SimpleRNN(3)(L.Add()([y, z])))


def masked_decoder(names_mask):
    a, b = ids(), ids()
    words = L.Embedding(9, 4, mask_zero=True)
    _, h, c = L.LSTM(4, return_state=True)(words(a))
    mask = {"mask": words.compute_mask(b)} if names_mask else {}
    y = L.LSTM(4, return_sequences=True)(words(b), initial_state=[h, c], **mask)
    return keras.Model([a, b], L.Dense(2)(y))


def masked_directions():
    a, b = ids(), ids()
    words = L.Embedding(9, 4, mask_zero=True)
    _, h = L.GRU(3, return_state=True)(words(a))
    read = L.Bidirectional(L.GRU(3, return_sequences=True, return_state=True), merge_mode="sum")
    y, *states = read(words(b), initial_state=[h, h])
    return keras.Model([a, b], [L.Dense(2)(y), L.Concatenate()(states)])


def stacked_decoder():
    a, b = ids(), ids()
    words = L.Embedding(9, 4)
    _, state, other = L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_state=True)(words(a))
    decoder = L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True)
    return keras.Model([a, b], L.Dense(2)(decoder(words(b), initial_state=[state, other])))


def a_decoder_used_twice():
    a, b = ids(), ids()
    words = L.Embedding(9, 4, mask_zero=True)
    read = L.GRU(3, return_sequences=True, return_state=True)
    y, h = read(words(a))
    z, _ = read(words(b), initial_state=h)
    return keras.Model([a, b], [L.Dense(2)(y), L.Dense(2)(z)])


def a_functional_output():
    x, y = sequence(), sequence()
    inner = keras.Model(x, L.GRU(x.shape[-1], return_sequences=True)(x), name="inner")
    z = inner(y)
    return keras.Model(y, [z, L.LSTM(2)(inner(z))])


def merged_masks(name, masked):
    x, other = ids(), ids()
    y = L.Embedding(9, 4, mask_zero=True)(x)
    z = L.GRU(4, return_sequences=True)(y) if masked else L.Embedding(9, 4)(other)
    return keras.Model([x] if masked else [x, other], L.LSTM(3)(getattr(L, name)()([y, z])))


def masked_middle():
    x = sequence()
    y = L.Masking()(x)
    return keras.Model(x, L.LSTM(4)(L.Dense(3)(y)))


KINDS = {
    "simpleRNN": lambda: chain(sequence(), L.SimpleRNN(4, return_sequences=True), L.SimpleRNN(3, use_bias=False)),
    "lstm": lambda: chain(sequence(), L.LSTM(4, return_sequences=True), L.LSTM(3, recurrent_activation="hard_sigmoid")),
    "lstm backwards": lambda: chain(sequence(), L.LSTM(4, go_backwards=True, activation="relu")),
    "gru": lambda: chain(sequence(), L.GRU(4, return_sequences=True), L.GRU(3)),
    "gru reset before": lambda: chain(sequence(), L.GRU(4, reset_after=False)),
    "bidirectional lstm": lambda: chain(sequence(), L.Bidirectional(L.LSTM(4, return_sequences=True)), L.Dense(2)),
    "bidirectional gru sum": lambda: chain(sequence(), L.Bidirectional(L.GRU(4), merge_mode="sum")),
    "bidirectional of two": lambda: chain(
        sequence(), L.Bidirectional(L.GRU(4), backward_layer=L.LSTM(3, go_backwards=True))
    ),
    "bidirectional states": both_directions,
    "a direction frozen": half_frozen,
    "rnn cell lstm": lambda: chain(sequence(), L.RNN(L.LSTMCell(4), return_sequences=True)),
    "rnn cell gru": lambda: chain(sequence(), L.RNN(L.GRUCell(4))),
    "rnn cell simpleRNN": lambda: chain(sequence(), L.RNN(L.SimpleRNNCell(4))),
    "rnn stacked": lambda: chain(
        sequence(), L.RNN([L.GRUCell(3), L.LSTMCell(4), L.GRUCell(3), L.SimpleRNNCell(2)], return_sequences=True)
    ),
    "convLSTM1D": lambda: chain(keras.Input((3, 6, 2)), L.ConvLSTM1D(3, 3, return_sequences=True)),
    "convLSTM2D": lambda: chain(keras.Input((3, 5, 4, 2)), L.ConvLSTM2D(2, 3, padding="same"), L.Flatten()),
    "timeDistributed": lambda: chain(sequence(), L.TimeDistributed(L.Dense(4, activation="gelu")), L.GRU(2)),
    "dense": lambda: chain(keras.Input((D,)), L.Dense(4, activation="softplus"), L.Dense(2, activation="softmax")),
    "embedding": lambda: chain(ids(), L.Embedding(9, 4), L.GRU(3)),
    "embedding masked": lambda: chain(ids(), L.Embedding(9, 4, mask_zero=True), L.LSTM(3)),
    "masking": lambda: chain(sequence(), L.Masking(), L.LSTM(3)),
    "masked branches": masked_branches,
    "masking functional": masked_middle,
    "masks concatenated": lambda: concatenated(True),
    "a mask beside none": lambda: concatenated(False),
    "conv1D": lambda: chain(
        sequence(), L.Conv1D(4, 3, padding="causal", activation="relu"), L.MaxPooling1D(2), L.Conv1D(2, 2, strides=2)
    ),
    "pooling": lambda: chain(sequence(), L.AveragePooling1D(2), L.GlobalAveragePooling1D()),
    "global max": lambda: chain(sequence(), L.GlobalMaxPooling1D()),
    "batchNormalization": lambda: chain(sequence(), L.BatchNormalization(), L.GRU(3)),
    "layerNormalization": lambda: chain(sequence(), L.LayerNormalization(epsilon=0.01), L.GRU(3)),
    "shapes": lambda: chain(
        sequence(), L.Permute((2, 1)), L.Reshape((9, 2)), L.Flatten(), L.RepeatVector(2), L.GRU(3)
    ),
    "activations": lambda: chain(
        sequence(),
        L.LeakyReLU(negative_slope=0.1),
        L.ELU(0.7),
        L.PReLU(shared_axes=[1]),
        L.ReLU(max_value=1.5),
        L.Activation("hard_silu"),
        L.Softmax(),
    ),
    "activations that are layers": lambda: chain(
        sequence(),
        L.LSTM(4, activation=L.LeakyReLU(negative_slope=0.1), recurrent_activation=L.Activation("hard_sigmoid"), return_sequences=True),
        L.Dense(3, activation=L.ReLU(negative_slope=0.2)),
        L.Dense(3, activation=L.ELU(0.7)),
        L.Activation(L.ReLU(max_value=6.0)),
        L.Identity(),
        L.Bidirectional(L.GRU(2, activation=L.ReLU(), return_sequences=True)),
        L.RNN(L.GRUCell(3, activation=L.ELU(0.5))),
        L.Dense(3, activation=L.Softmax()),
    ),
    "prelu per step": lambda: chain(sequence(), L.PReLU()),
    "noise and dropout": lambda: chain(
        sequence(), L.GaussianNoise(0.1), L.SpatialDropout1D(0.2), L.Dropout(0.3), L.LSTM(3, dropout=0.1, recurrent_dropout=0.2)
    ),
    "regularized": lambda: chain(
        sequence(),
        L.LSTM(4, kernel_regularizer="l2", recurrent_constraint=keras.constraints.MaxNorm(1.0)),
        L.Dense(2, kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02), bias_constraint="non_neg"),
    ),
    "models in a row": stacked_models,
    "models used twice": models_used_twice,
    "a model with branches inside": branched_inside,
    "masks inside a model": masks_inside,
    "masks handed into a model": masks_handed_in,
    "names with spaces": spaces,
    "residual": residual,
    "shared": shared,
    "states": states,
    "attention": attention,
    **{
        name.lower(): (lambda name=name: merged(name))
        for name in ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]
    },
    "dot": lambda: merged("Dot", axes=-1, normalize=True),
    "a decoder with its mask": lambda: masked_decoder(True),
    "multiply under one mask": lambda: merged_masks("Multiply", True),
    "maximum under one mask": lambda: merged_masks("Maximum", True),
    "a decoder without its mask": lambda: masked_decoder(False),
    "directions without their mask": masked_directions,
    "stacked cells beside states": stacked_decoder,
    "a decoder used twice": a_decoder_used_twice,
    "a functional model as output": a_functional_output,
}
# Models of which Keras makes something else than the library that reads them would.
REFUSED = {
    **{
        f"{name.lower()} of one mask": (lambda name=name: merged_masks(name, False))
        for name in ["Multiply", "Maximum", "Minimum"]
    },
}


def array(value):
    value = np.asarray(value)
    return {"shape": list(value.shape), "data": value.reshape(-1).tolist()}


def arrays(values):
    return [array(v) for v in (values if isinstance(values, (list, tuple)) else [values])]


def one_or_list(values):
    return values if len(values) > 1 else values[0]


def given(values, dtypes):
    return one_or_list(
        [np.asarray(v["data"], d).reshape(v["shape"]) for v, d in zip(values, dtypes)]
    )


def inputs_of(model, rng):
    values = []
    for x in model.inputs:
        shape = (N, *[n or T for n in x.shape[1:]])
        if x.dtype == "int32":
            value = rng.integers(1, 9, shape)
            value[0, 3:] = 0
        else:
            value = rng.normal(size=shape).astype("float32")
            if len(shape) == 3:
                value[0, 4:] = 0
        values.append(value)
    return values


def randomize(model, rng):
    for layer in model._flatten_layers(include_self=False):
        for weight in layer._trainable_variables + layer._non_trainable_variables:
            if "seed" in weight.path:
                continue
            value = rng.normal(scale=0.4, size=weight.shape)
            weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)


def optimizer_of(spec):
    options = dict(spec.get("options", {}))
    schedule = options.get("learning_rate")
    if isinstance(schedule, dict):
        options["learning_rate"] = getattr(keras.optimizers.schedules, schedule.pop("name"))(**schedule)
    else:
        options["learning_rate"] = float(schedule)
    return getattr(keras.optimizers, spec["name"])(**options)


def train(model, x, y, steps):
    return [float(model.train_on_batch(x, y, return_dict=True)["loss"]) for _ in range(steps)]


def make(kind, seed, path, compile=None, steps=0):
    keras.backend.clear_session()
    rng = np.random.default_rng(seed)
    model = {**KINDS, **REFUSED}[kind]()
    randomize(model, rng)
    # Faster than to trace a few steps; and TensorFlow's graphs have no names with spaces.
    model.run_eagerly = True
    x = inputs_of(model, rng)
    answer = {"x": arrays(x)}
    if compile:
        y = [rng.normal(size=(N, *out.shape[1:])).astype("float32") for out in model.outputs]
        model.compile(optimizer_of(compile), compile.get("loss", "mse"))
        model.run_eagerly = True
        train(model, one_or_list(x), one_or_list(y), steps)
        answer["y"] = arrays(y)
    answer["predicted"] = arrays(model.predict_on_batch(one_or_list(x)))
    if path.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.endswith(".safetensors"):
        from safetensors.numpy import save_file

        save_file({v.path: np.array(v) for v in model.weights}, path)
    else:
        model.save(path)
    if compile:
        answer["losses"] = train(model, one_or_list(x), one_or_list(y), steps)
        answer["after"] = arrays(model.predict_on_batch(one_or_list(x)))
    return answer


def assign(kind, path, x):
    from safetensors.numpy import load_file

    keras.backend.clear_session()
    model = KINDS[kind]()
    t = load_file(path)
    [v.assign(t[v.path]) for v in model.weights]
    assert len(t) == len(model.weights), "the file has arrays that the model has not"
    return {"predicted": arrays(model.predict_on_batch(given(x, [i.dtype for i in model.inputs])))}


def open_model(path, x, y=None, steps=0):
    keras.backend.clear_session()
    model = keras.saving.load_model(path)
    model.run_eagerly = True
    x = given(x, [i.dtype for i in model.inputs])
    answer = {"predicted": arrays(model.predict_on_batch(x))}
    if y:
        y = given(y, ["float32"] * len(y))
        answer["losses"] = train(model, x, y, steps)
        answer["after"] = arrays(model.predict_on_batch(x))
    return answer


def evaluate(path, x, y):
    keras.backend.clear_session()
    model = keras.saving.load_model(path)
    model.run_eagerly = True
    dtype = "int32" if len(y[0]["shape"]) == 1 else "float32"
    scores = model.evaluate(given(x, ["float32"]), given(y, [dtype]), batch_size=N, return_dict=True, verbose=0)
    return {"scores": {name: np.asarray(score).reshape(-1).tolist() for name, score in scores.items()}}


COMMANDS = {"make": make, "assign": assign, "open": open_model, "evaluate": evaluate, "kinds": lambda: {"kinds": list(KINDS), "version": keras.__version__}}


def main():
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = COMMANDS[command.pop("command")](**command)
        except Exception as error:  # The driver tells which model it was.
            answer = {"error": f"{type(error).__name__}: {str(error)[:1500]}"}
        print("ANSWER " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
