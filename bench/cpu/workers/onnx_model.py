"""Writes a workload, given as JSON on stdin, as an ONNX model with random weights to the file named by the first argument.

Batch-major as everywhere: x [B, T, D] to probabilities [B, T, 10]. Between, the model is time-major, as onnxruntime wants it.
"""

import json
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from worker import CLASSES, GATES

OPS = {"simpleRnn": "RNN", "lstm": "LSTM", "gru": "GRU"}

workload = json.load(sys.stdin)
random = np.random.default_rng(1)
nodes, weights = [], []


def weight(name, *shape):
    values = random.uniform(-1, 1, shape).astype(np.float32) / np.sqrt(shape[-1])
    weights.append(numpy_helper.from_array(values.astype(np.float32), name))
    return name


def node(op, inputs, output, **attributes):
    nodes.append(helper.make_node(op, inputs, [output], **attributes))
    return output


gates = GATES[workload["cell"]]
options = {"linear_before_reset": int(workload["resetAfter"])} if workload["cell"] == "gru" else {}
weights.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "directions"))
below = node("Transpose", ["x"], "x time-major", perm=[1, 0, 2])
inputs = workload["D"]
for l, units in enumerate(workload["H"]):
    arrays = [
        weight(f"W{l}", 1, gates * units, inputs),
        weight(f"R{l}", 1, gates * units, units),
        weight(f"B{l}", 1, 2 * gates * units),
    ]
    y = node(OPS[workload["cell"]], [below, *arrays], f"y{l} by direction", hidden_size=units, **options)
    below = node("Squeeze", [y, "directions"], f"y{l}")
    inputs = units
logits = node("MatMul", [below, weight("kernel", inputs, CLASSES)], "products")
logits = node("Add", [logits, weight("bias", CLASSES)], "logits")
node("Transpose", [node("Softmax", [logits], "probabilities", axis=-1)], "y", perm=[1, 0, 2])

batch, steps = workload["B"], workload["T"]
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, steps, workload["D"]])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, steps, CLASSES])
graph = helper.make_graph(nodes, "workload", [x], [y], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
