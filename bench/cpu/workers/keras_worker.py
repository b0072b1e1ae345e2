"""Keras 3 on TensorFlow, compiled."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from worker import CLASSES, data_of, serve, times_of

CELLS = {"simpleRnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def start(threads):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return f"{keras.__version__} on TensorFlow {tf.__version__}"


def network_of(workload):
    options = {"reset_after": workload["resetAfter"]} if workload["cell"] == "gru" else {}
    cell = CELLS[workload["cell"]]
    return keras.Sequential(
        [
            keras.Input(batch_shape=(workload["B"], workload["T"], workload["D"])),
            *(cell(units, return_sequences=True, **options) for units in workload["H"]),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def run_of(workload, mode, xla):
    x, labels = map(tf.constant, data_of(workload))
    network = network_of(workload)
    if mode == "train":
        optimizer = keras.optimizers.Adam(global_clipnorm=1)
        network.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=xla)
        return lambda: network.train_on_batch(x, labels)
    # What `predict` runs, without its loop over batches and its callbacks.
    infer = tf.function(lambda batch: network(batch, training=False), jit_compile=xla)
    return lambda: infer(x).numpy()


def make(workload, mode):
    """Compiled to a graph and by XLA; the faster one is measured."""
    keras.backend.clear_session()
    runs = {"graph": run_of(workload, mode, False), "XLA": run_of(workload, mode, True)}
    for run in runs.values():
        run()  # compiles
    taken = {name: min(times_of(run, 50)) for name, run in runs.items()}
    name = min(taken, key=taken.get)
    return runs[name], name


serve(start, make)
