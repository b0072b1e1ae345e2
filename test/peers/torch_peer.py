"""PyTorch's side of the state-dict checks: one JSON command a line in, one JSON answer a line out.

{"do": "make", "description": [...], "seed": 1, "input": [N, T, D] | {"ids": 50, "shape": [N, T]}, "state": path, "dtype": "float32"}
    random modules and their state dict, written to `state`; answers with the input and the output
{"do": "run", "description": [...], "state": path, "input": {"shape": [...], "data": [...], "ids": bool}}
    the output of modules that take the state dict, strictly

Wants `pip install torch safetensors`.
"""
import json
import re
import sys

import torch
from safetensors.torch import load_file, save_file

RECURRENT = ("RNN", "LSTM", "GRU")
# Of our description, not of PyTorch.
OWN = ("name", "module", "returnSequences", "maskZero", "batchFirst")


def snake(name):
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)


def make(entry):
    options = {snake(key): value for key, value in entry.items() if key not in OWN}
    if entry["module"] in RECURRENT:
        options["batch_first"] = True
    if entry["module"] in ("Softmax", "LogSoftmax", "GLU"):
        options.setdefault("dim", -1)
    return getattr(torch.nn, entry["module"])(**options)


class InARow(torch.nn.Module):
    """The modules of a description, registered under their names; dots lead into modules, as in anybody's own."""

    def __init__(self, description):
        super().__init__()
        self.steps = []
        for entry in description:
            module = make(entry)
            self.steps.append((entry, module))
        self.description = description

    def state(self):
        return {
            (f"{entry['name']}." if entry.get("name") else "") + key: value
            for entry, module in self.steps
            for key, value in module.state_dict().items()
        }

    def take(self, state):
        """Every array of the file has to belong to one module."""
        left = dict(state)
        for entry, module in self.steps:
            prefix = f"{entry['name']}." if entry.get("name") else ""
            own = {key[len(prefix):]: left.pop(key) for key in list(left) if key.startswith(prefix) and
                   key[len(prefix):] in module.state_dict()}
            module.load_state_dict(own, strict=True)
        if left:
            raise ValueError(f"strange arrays: {sorted(left)}")

    def forward(self, x):
        for entry, module in self.steps:
            kind = entry["module"]
            if kind in RECURRENT:
                y, end = module(x)
                h = end[0] if kind == "LSTM" else end
                if entry.get("returnSequences", True):
                    x = y
                else:
                    x = torch.cat([h[-2], h[-1]], 1) if entry.get("bidirectional") else h[-1]
            elif kind == "BatchNorm1d" and x.dim() == 3:
                x = module(x.transpose(1, 2)).transpose(1, 2)
            else:
                x = module(x)
        return x


def randomize(module, generator):
    """All weights differ; statistics of batches have a variance above 0."""
    with torch.no_grad():
        for key, value in module.state().items():
            if not value.is_floating_point():
                continue
            drawn = torch.randn(value.shape, generator=generator) * 0.3
            value.copy_(drawn.abs() + 0.5 if key.endswith("running_var") else drawn)


def plain(tensor):
    return {"shape": list(tensor.shape), "data": tensor.reshape(-1).tolist()}


def do_make(command):
    generator = torch.Generator().manual_seed(command["seed"])
    module = InARow(command["description"]).eval()
    for _, part in module.steps:
        part.eval()
    randomize(module, generator)
    dtype = getattr(torch, command.get("dtype", "float32"))
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in module.state().items()}
    save_file({key: value.contiguous() for key, value in state.items()}, command["state"])
    # What is in the file is what the modules have.
    module.take({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    given = command["input"]
    if isinstance(given, dict):
        x = torch.randint(0, given["ids"], given["shape"], generator=generator)
    else:
        x = torch.randn(given, generator=generator)
    with torch.no_grad():
        return {"input": plain(x), "output": plain(module(x)), "ids": isinstance(given, dict)}


def do_run(command):
    module = InARow(command["description"])
    for _, part in module.steps:
        part.eval()
    module.take(load_file(command["state"]))
    given = command["input"]
    x = torch.tensor(given["data"], dtype=torch.int64 if given.get("ids") else torch.float32).reshape(given["shape"])
    with torch.no_grad():
        return {"output": plain(module(x))}


if __name__ == "__main__":
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"make": do_make, "run": do_run}[command["do"]](command)
        except Exception as error:  # The driver says which case it was.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
