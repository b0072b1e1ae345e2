"""Models of one Scan whose body is random: a few operators that numpy allows on shapes that broadcast, batch and rows often of one length."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

STEPS = 3
BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Max": np.maximum}
UNARY = {"Tanh": np.tanh, "Identity": np.array, "Relu": lambda a: np.maximum(a, 0)}
OTHERS = ["Where", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Expand", "ReduceSum", "ReduceSum", "Gather", "Slice", "Split"]
OPERATORS = [*BINARY, *UNARY, *OTHERS, "Concat", "Softmax", "Clip", "MatMul", "Gemm", "Gemm"]


class Body:
    """Nodes of the body, and an example of each value: what numpy refuses does not get in."""

    def __init__(self, rng):
        self.rng = rng
        self.batch = self.pick([1, 2, 3, 4])
        self.width = self.pick([self.batch, self.batch, 1, 2, 3, 4])
        self.nodes, self.values, self.made = [], {}, []
        self.outer, self.inner, self.given = [], [], {}

    def pick(self, choices):
        return choices[int(self.rng.integers(len(choices)))]

    def random(self, *shape):
        return np.asarray(self.rng.standard_normal(shape), np.float32)

    def axis(self, a):
        return int(self.rng.integers(-a.ndim, a.ndim))

    def constant(self, value, dtype=np.int64, name=None):
        """Of the graph around the body, or of the body's own."""
        name = name or f"i{len(self.outer) + len(self.inner)}"
        self.pick([self.outer, self.inner]).append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def captures(self):
        """Values that a body may read of the graph around it: constants, and inputs of the graph."""
        n, d = self.batch, self.width
        shapes = [(), (1,), (d,), (n,), (n, 1), (1, d), (n, d), (d, d), (1, 1, d), (2, d), (n, 1, 1), (n, n), (n, n, 1), (n, 2, 1)]
        for k in range(4):
            name, value = f"c{k}", self.random(*self.pick(shapes))
            self.values[name] = value
            if value.ndim > 0 and self.rng.random() < 0.3:
                self.given[name] = value
            else:
                self.constant(value, np.float32, name)

    def step(self, op, a, b, c):
        """Inputs, attributes and result of an operator; a ValueError where it does not go with the shapes."""
        x, y, z = self.values[a], self.values[b], self.values[c]
        n, d = self.batch, self.width
        if op in BINARY:
            return ([a, b], {}, BINARY[op](x, y)) if self.rng.random() < 0.5 else ([b, a], {}, BINARY[op](y, x))
        if op in UNARY:
            return [a], {}, UNARY[op](x)
        if op == "Clip":
            return [a, "least", "most"], {}, x.clip(-0.5, 0.5)
        if op == "Where":
            self.nodes.append(helper.make_node("Greater", [c, "zero"], [f"{len(self.nodes)} is more"]))
            return [self.nodes[-1].output[0], a, b], {}, np.where(z > 0, x, y)
        if op == "Reshape":
            shape = self.pick([(n, -1), (-1, d), (n, d, 1), (n, 1, d), (n, -1, 1), (-1,), (n, n), (1, -1), (n, 2, -1)])
            return [a, self.constant(shape)], {}, x.reshape(shape)
        if op == "Expand":
            shape = self.pick([(n, d), (1, d), (n, 1, 1), (d,)])
            return [a, self.constant(shape)], {}, x * np.ones(shape, np.float32)
        if op == "Unsqueeze":
            axis = int(self.rng.integers(-x.ndim - 1, x.ndim + 1))
            return [a, self.constant([axis])], {}, np.expand_dims(x, axis)
        if op == "MatMul":
            return [a, b], {}, np.matmul(x, y)
        if x.ndim == 0:
            raise ValueError("a number has no axes")
        axis = self.axis(x)
        length = x.shape[axis]
        if op == "Squeeze":
            return [a, self.constant([axis])], {}, np.squeeze(x, axis)
        if op == "Flatten":
            axis = abs(axis)
            return [a], {"axis": axis}, x.reshape(int(np.prod(x.shape[:axis])), -1)
        if op == "ReduceSum":
            axis = self.pick([-1, axis])
            keep = self.pick([0, 1])
            return [a, self.constant([axis])], {"keepdims": keep}, x.sum(axis, keepdims=bool(keep))
        if op == "Gather":
            at = self.rng.integers(-length, length, self.pick([(), (1,), (2,), (3,)]))
            return [a, self.constant(at)], {"axis": axis}, np.take(x, at, axis)
        if op == "Slice":
            first = int(self.rng.integers(0, length))
            end, step = int(self.rng.integers(first + 1, length + 1)), self.pick([1, 1, 1, 2])
            ends = [self.constant([v]) for v in (first - length, end, axis, step)]
            return [a, *ends], {}, np.take(x, np.arange(first, end, step), axis)
        if op == "Split":
            at = int(self.rng.integers(0, length))
            if at == 0:
                raise ValueError("no part may be empty")
            return [a, self.constant([at, length - at])], {"axis": axis}, np.split(x, [at], axis)
        if op == "Concat":
            return [a, b], {"axis": axis}, np.concatenate([x, y], axis)
        if op == "Softmax":
            e = np.exp(x - x.max(axis, keepdims=True))
            return [a], {"axis": axis}, e / e.sum(axis, keepdims=True)
        if x.ndim != 2 or y.ndim != 2:
            raise ValueError("Gemm is of matrices")
        turns = [int(self.rng.random() < 0.1), self.pick([0, 1])]
        attrs = {"transA": turns[0], "transB": turns[1], "alpha": self.pick([1.0, 0.5]), "beta": self.pick([1.0, 2.0, 0.0])}
        product = attrs["alpha"] * (x.T if turns[0] else x) @ (y.T if turns[1] else y)
        if self.rng.random() < 0.3:
            return [a, b], attrs, product
        return [a, b, c], attrs, product + attrs["beta"] * np.broadcast_to(z, product.shape)

    def grow(self):
        """One more node, if what was drawn goes together."""
        names = list(self.values)
        first = self.pick(self.made) if self.made and self.rng.random() < 0.6 else self.pick(names)
        op = self.pick(OPERATORS)
        nodes, outer, inner = len(self.nodes), len(self.outer), len(self.inner)
        try:
            inputs, attrs, results = self.step(op, first, self.pick(names), self.pick(names))
        except ValueError:
            results = []
        results = results if isinstance(results, list) else [results]
        if not results or any(not 0 < r.size <= 400 for r in results):
            del self.nodes[nodes:], self.outer[outer:], self.inner[inner:]
            return
        outputs = [f"v{len(self.made) + i}" for i in range(len(results))]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attrs))
        self.values.update(zip(outputs, (np.asarray(r, np.float32) for r in results)))
        self.made.extend(outputs)


def scan(seed):
    """A model, its inputs, and what its body is."""
    rng = np.random.default_rng(seed)
    while True:
        body = Body(rng)
        n, d = body.batch, body.width
        read = {"s": (n, d), "x": (n, d), "z": (n, 2, d), "w": (n, 1, 1)}
        body.values.update({name: body.random(*shape) for name, shape in read.items()})
        body.captures()
        count = int(rng.integers(1, 6))
        for _ in range(60):
            if len(body.made) < count:
                body.grow()
        last = body.made[-1] if body.made else "x"
        shape = body.values[last].shape
        into = all(p in (1, q) for p, q in zip(shape[::-1], (d, n))) and len(shape) <= 2
        shows = len(shape) >= 2 and shape[0] == n
        if body.made and (into or shows):
            break
    for name, value in {"half": 0.5, "zero": 0, "least": -0.5, "most": 0.5}.items():
        body.constant(value, np.float32, name)
    nodes = [
        *body.nodes,
        helper.make_node("Mul", ["s", "half"], ["less"], name="less"),
        helper.make_node("Add", ["less", last if into else "x"], ["next"], name="next"),
        *([helper.make_node("Identity", [last], ["shown"])] if shows else []),
    ]
    info = lambda name, dims=None: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
    outputs = ["next", "shown"] if shows else ["next"]
    graph = helper.make_graph(
        nodes, "body", [info(name, dims) for name, dims in read.items()], [info(o) for o in outputs], body.inner
    )
    inputs = {"S": body.random(n, d), **{k.upper(): body.random(STEPS, *read[k]) for k in "xzw"}, **body.given}
    names = ["END", "ALL"] if shows else ["END"]
    node = helper.make_node("Scan", ["S", "X", "Z", "W"], names, name="steps", body=graph, num_scan_inputs=3)
    outer = helper.make_graph(
        [node], "scan", [info(k, v.shape) for k, v in inputs.items()], [info(o) for o in names], body.outer
    )
    model = helper.make_model(outer, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, inputs, [f"{v.op_type}({', '.join(v.input)})" for v in nodes]
