"""Answers lines of JSON about ONNX models with onnx and onnxruntime: one command a line in, one answer a line out.

{"check": path}                            full check of the model; {"ok": true} or {"error": …}
{"run": path, "inputs": {name: array}}     {"outputs": {name: array}} of ONNX Runtime, or {"error": …}
{"make": kind, "seed": n, "path": path}    writes a random model of a recurrent operator, or of Scan: {"inputs": …, "outputs": …, "about": …, "grown": …}
{"optimize": path, "level": name}          has ONNX Runtime save a model in its own place as it has optimized it: {"ok": true}
{"cases": [operators]}                     the conformance cases of the ONNX project for these operators

Arrays: {"type": "float32" | "int32" | "int64" | …, "shape": […], "data": base64 of the numbers, the least significant byte first}.
Needs: pip install onnx onnxruntime numpy.
"""

import base64
import json
import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from onnx_scan_peer import scan

warnings.filterwarnings("ignore")
ort.set_default_logger_severity(4)


def pack(a):
    a = np.asarray(a)
    return {"type": str(a.dtype), "shape": list(a.shape), "data": base64.b64encode(a.tobytes()).decode()}


def unpack(d):
    return np.frombuffer(base64.b64decode(d["data"]), dtype=d["type"]).reshape(d["shape"])


def run(path, inputs):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    made = session.run(names, {k: unpack(v) for k, v in inputs.items()})
    return {"outputs": {k: pack(v) for k, v in zip(names, made)}}


ACTIVATIONS = {
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "Softsign": (),
    "Softplus": (),
    "Affine": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "ScaledTanh": ("alpha", "beta"),
    "HardSigmoid": ("alpha", "beta"),
    "Elu": ("alpha",),
}


def make(kind, seed, path):
    """A model of one recurrent operator with random attributes."""
    rng = np.random.default_rng(seed)
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    funcs = {"RNN": 1, "GRU": 2, "LSTM": 3}[kind]
    T, N, D, H = (int(rng.integers(1, 6)) for _ in range(4))
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    nd = 2 if direction == "bidirectional" else 1
    attrs = {"hidden_size": H, "direction": direction}
    if rng.random() < 0.5:
        names, alphas, betas = [], [], []
        for _ in range(nd * funcs):
            name = str(rng.choice(list(ACTIVATIONS)))
            names.append(name)
            if "alpha" in ACTIVATIONS[name]:
                alphas.append(float(np.float32(rng.uniform(0.1, 0.9))))
            if "beta" in ACTIVATIONS[name]:
                betas.append(float(np.float32(rng.uniform(0.1, 0.9))))
        attrs["activations"] = names
        if alphas:
            attrs["activation_alpha"] = alphas
        if betas:
            attrs["activation_beta"] = betas
    if rng.random() < 0.3:
        attrs["clip"] = float(np.float32(rng.uniform(0.2, 1.0)))
    if kind == "GRU":
        attrs["linear_before_reset"] = int(rng.integers(0, 2))
    if kind == "LSTM" and rng.random() < 0.3:
        attrs["input_forget"] = 1
    r = lambda *s: (0.7 * rng.standard_normal(s)).astype(np.float32)
    init = [numpy_helper.from_array(r(nd, gates * H, D), "W"), numpy_helper.from_array(r(nd, gates * H, H), "R")]
    names = ["X", "W", "R", "", "", "", "", ""]
    inputs = {"X": r(T, N, D)}
    if rng.random() < 0.8:
        init.append(numpy_helper.from_array(r(nd, 2 * gates * H), "B"))
        names[3] = "B"
    if rng.random() < 0.4:
        inputs["lens"] = rng.integers(1, T + 1, N).astype(np.int32)
        names[4] = "lens"
    if rng.random() < 0.5:
        inputs["h0"] = r(nd, N, H)
        names[5] = "h0"
    if kind == "LSTM":
        if rng.random() < 0.5:
            inputs["c0"] = r(nd, N, H)
            names[6] = "c0"
        if rng.random() < 0.4:
            init.append(numpy_helper.from_array(r(nd, 3 * H), "P"))
            names[7] = "P"
    while names[-1] == "":
        names.pop()
    outs = {"Y": ["T", nd, "N", H], "Y_h": [nd, "N", H]}
    if kind == "LSTM":
        outs["Y_c"] = [nd, "N", H]
    node = helper.make_node(kind, names, list(outs), name="recurrence", **attrs)
    types = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
    free = {"X": ["T", "N", D], "lens": ["N"], "h0": [nd, "N", H], "c0": [nd, "N", H]}
    graph = helper.make_graph(
        [node],
        kind,
        [helper.make_tensor_value_info(k, types[str(v.dtype)], free[k]) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in outs.items()],
        init,
    )
    opset = int(rng.choice([7, 14, 17, 22]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    packed = {k: pack(v) for k, v in inputs.items()}
    about = {k: v for k, v in attrs.items()} | {"opset": opset, "given": list(inputs), "T": T, "N": N}
    made = run(path, packed)
    # ONNX Runtime's Softplus overflows where a recurrence grows: nothing to compare with.
    grown = any(not (np.abs(unpack(y)) < 1e3).all() for y in made["outputs"].values())
    return {"inputs": packed, "about": about, "grown": bool(grown), **made}


def make_scan(seed, path):
    """A model of one Scan with a random body."""
    model, inputs, about = scan(seed)
    onnx.save(model, path)
    packed = {k: pack(v) for k, v in inputs.items()}
    return {"inputs": packed, "about": about, "grown": False, **run(path, packed)}


def optimize(path, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.optimized_model_filepath = f"{path}.optimized"
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    os.replace(f"{path}.optimized", path)
    return {"ok": True}


def cases(operators):
    """Cases with a model of one node of these operators, as the ONNX project's backend tests give them."""
    from onnx.backend.test.case.node import collect_testcases

    found = []
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in operators or nodes[0].domain not in ("", "ai.onnx"):
            continue
        for inputs, outputs in case.data_sets:
            one = {
                "name": case.name,
                "operator": nodes[0].op_type,
                "model": base64.b64encode(case.model.SerializeToString()).decode(),
                "rtol": case.rtol,
                "atol": case.atol,
            }
            try:
                arrays = [[pack(np.asarray(v)) for v in values] for values in (inputs, outputs)]
                one |= {"inputs": arrays[0], "outputs": arrays[1]}
            except ValueError as error:  # sequences and values that are not there
                one |= {"inputs": [], "outputs": [], "odd": str(error)}
            found.append(one)
    return {"cases": found}


def answer(line):
    if "check" in line:
        onnx.checker.check_model(line["check"], full_check=True)
        return {"ok": True}
    if "run" in line:
        return run(line["run"], line["inputs"])
    if "optimize" in line:
        return optimize(line["optimize"], line["level"])
    if line.get("make") == "Scan":
        return make_scan(line["seed"], line["path"])
    if "make" in line:
        return make(line["make"], line["seed"], line["path"])
    return cases(line["cases"])


if __name__ == "__main__":
    for text in sys.stdin:
        try:
            reply = answer(json.loads(text))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)
