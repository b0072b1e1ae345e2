"""PyTorch, eager, as fast as its own modules are."""

import numpy as np
import torch
from torch import nn
from worker import CLASSES, Unsupported, data_of, serve

CELLS = {"simpleRnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Network(nn.Module):
    def __init__(self, workload):
        super().__init__()
        cell, inputs, units = CELLS[workload["cell"]], workload["D"], workload["H"]
        if len(set(units)) == 1:
            self.stack = nn.ModuleList([cell(inputs, units[0], len(units), batch_first=True)])
        else:
            pairs = zip([inputs, *units], units)
            self.stack = nn.ModuleList([cell(below, own, batch_first=True) for below, own in pairs])
        self.head = nn.Linear(units[-1], CLASSES)

    def forward(self, x):
        """Logits [B, T, 10] of x [B, T, D]."""
        for layer in self.stack:
            x, _ = layer(x)
        return self.head(x)


def start(threads):
    torch.set_num_threads(threads)
    return torch.__version__


def make_step(network, x, labels):
    # `fused` is the fastest of PyTorch's ways to run Adam.
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7, fused=True)
    targets = labels.reshape(-1)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(network(x).reshape(-1, CLASSES), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1)
        optimizer.step()
        return loss.item()

    return step


def make(workload, mode):
    if not workload["resetAfter"]:
        raise Unsupported("has no GRU with the reset gate before the product")
    x, labels = map(torch.from_numpy, data_of(workload))
    network = Network(workload)
    if mode == "train":
        return make_step(network, x, labels), None
    network.eval()

    def infer():
        with torch.inference_mode():
            return torch.softmax(network(x), -1)

    return infer, None


@torch.no_grad()
def load(network, weights):
    """Sets the weights of a network that has a module a layer; ours are stored as [in, out], gates in the same order."""
    arrays = [torch.tensor(w["data"]).reshape(w["shape"]) for w in weights.values()]
    for l, layer in enumerate(network.stack):
        kernel, recurrent, bias = arrays[3 * l : 3 * l + 3]
        layer.weight_ih_l0.copy_(kernel.T)
        layer.weight_hh_l0.copy_(recurrent.T)
        rows = bias if bias.dim() == 2 else torch.stack([bias, torch.zeros_like(bias)])
        layer.bias_ih_l0.copy_(rows[0])
        layer.bias_hh_l0.copy_(rows[1])
    kernel, bias = arrays[-2:]
    network.head.weight.copy_(kernel.T)
    network.head.bias.copy_(bias)


def check(ask):
    workload, given = ask["workload"], ask["given"]
    shape = (workload["B"], workload["T"])
    x = torch.tensor(given["x"]).reshape(*shape, workload["D"])
    labels = torch.from_numpy(np.array(given["labels"])).reshape(shape)
    network = Network(workload)
    load(network, given["weights"])
    with torch.inference_mode():
        y = torch.softmax(network(x), -1)
    step = make_step(network, x, labels)
    return {"y": y.flatten().tolist(), "losses": [step() for _ in range(ask["steps"])]}


serve(start, make, check)
