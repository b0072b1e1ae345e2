"""PyTorch's side of the benchmark (docs/gpu-testing.md): nn.RNN, nn.LSTM and nn.GRU, on a GPU through cuDNN. One JSON line for
every measured row.

    python3 bench/gpu/pytorch.py [--device cuda] [--seconds 90] [--variants eager,host,graph] [--only lstm-2x512] [--tiny]
"""
import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import torch

CLASSES = 10
MODES = ("forwardBackward", "step", "forward")
PRECISIONS = ("fp32", "bf16", "tf32")
WARM_UP, FEWEST, MOST = 5, 5, 50

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cuda")
parser.add_argument("--seconds", type=float, default=90)
parser.add_argument("--variants", default="eager,host,graph")
parser.add_argument("--only", default="")
parser.add_argument("--tiny", action="store_true")
options = parser.parse_args()
on_gpu = options.device.startswith("cuda")
deadline = time.perf_counter() + options.seconds
# What one row may take once it is warm, seconds.
row_time = 0.02 if options.tiny else 0.1


def emit(**line):
    print(json.dumps({"side": "pytorch", **line}), flush=True)


class Work:
    """One workload: layers of equal width as one module (as cuDNN likes it best), others layer after layer."""

    def __init__(self, w, mode, precision):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        make = {"simpleRnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[w["cell"]]
        self.mode, self.w = mode, w
        place = {"device": options.device, "dtype": dtype}
        units = w["H"]
        if len(set(units)) == 1:
            modules = [make(w["D"], units[0], num_layers=len(units), **place)]
        else:
            modules = [make(i, u, **place) for i, u in zip([w["D"], *units], units)]
        self.stack = torch.nn.ModuleList(modules)
        # A module in training makes cuDNN keep a reserve for a backward pass, even under no_grad.
        self.stack.train(mode != "forward")
        self.head = torch.nn.Linear(units[-1], CLASSES, **place)
        self.weights = list(self.stack.parameters())
        self.trained = [*self.weights, *self.head.parameters()]
        fused = {"fused": True, "capturable": True} if on_gpu else {}
        self.optimizer = torch.optim.Adam(self.trained, **fused)
        rows = (w["T"], w["N"])
        self.x = torch.empty(*rows, w["D"], **place)
        self.dy = torch.randn(*rows, units[-1], **place)
        self.labels = torch.empty(rows, dtype=torch.int64, device=options.device)
        self.host = (torch.empty(self.x.shape, dtype=dtype), torch.empty(rows, dtype=torch.int64))
        if on_gpu:
            self.host = tuple(t.pin_memory() for t in self.host)

    def refresh(self):
        """New inputs in the tensors that a captured graph reads too."""
        self.x.uniform_(-1, 1)
        self.labels.random_(0, CLASSES)

    def refresh_host(self):
        self.host[0].uniform_(-1, 1)
        self.host[1].random_(0, CLASSES)

    def outputs(self):
        y = self.x
        for module in self.stack:
            y, _ = module(y)
        return y

    def run(self):
        if self.mode == "forward":
            with torch.no_grad():
                return self.outputs()
        if self.mode == "forwardBackward":
            return torch.autograd.grad(self.outputs(), self.weights, self.dy)
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.head(self.outputs()).flatten(0, 1).float()
        loss = torch.nn.functional.cross_entropy(logits, self.labels.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return loss.detach()

    def run_from_host(self):
        """From arrays on the host to a number or an array on the host."""
        self.x.copy_(self.host[0], non_blocking=True)
        if self.mode == "step":
            self.labels.copy_(self.host[1], non_blocking=True)
            return self.run().item()
        with torch.no_grad():
            return self.head(self.outputs()).float().softmax(-1).cpu()


def captured(work):
    """The same work as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work.refresh()
        for _ in range(3):
            work.run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = work.run()
    return lambda: (graph.replay(), kept)


def wall_times(refresh, run):
    """From call to finished result, ms."""
    taken, end = [], time.perf_counter() + row_time
    while len(taken) < FEWEST or (len(taken) < MOST and time.perf_counter() < end):
        refresh()
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def event_times(refresh, run, runs):
    """On the device, the host free to run ahead: without what a launch costs where the device is the slower one. ms"""
    pairs = []
    for _ in range(runs):
        refresh()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        pairs.append((start, end))
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in pairs]


def measure(w, mode, precision, variant):
    torch.manual_seed(1)
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    work = Work(w, mode, precision)
    refresh = work.refresh_host if variant == "host" else work.refresh
    run = {"eager": lambda: work.run, "host": lambda: work.run_from_host, "graph": lambda: captured(work)}[variant]()
    for _ in range(WARM_UP):
        refresh()
        run()
    wall = wall_times(refresh, run)
    times = event_times(refresh, run, len(wall)) if on_gpu and variant != "host" else wall
    return {
        "medianMs": statistics.median(times),
        "fastestMs": min(times),
        "wallMs": statistics.median(wall),
        "runs": len(times),
    }


def rows(workloads):
    """The rows of the variants asked for, what decides the bars first. Graphs last: a capture that fails may leave the device
    in disorder."""
    asked = options.variants.split(",")
    hosted = [w for w in workloads if w.get("api")]
    order = [("eager", MODES, workloads), ("host", ("step", "forward"), hosted)]
    if on_gpu:
        order.append(("graph", MODES, workloads))
    for variant, modes, measured in order:
        if variant not in asked:
            continue
        for mode in modes:
            for precision in PRECISIONS:
                for w in measured:
                    yield w, mode, precision, variant


def main():
    # The switches for TF32 have newer names; the old ones work in every version.
    warnings.filterwarnings("ignore")
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no usable GPU.")
    emit(
        about={
            "device": torch.cuda.get_device_name() if on_gpu else "CPU",
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    )
    workloads = json.loads(Path(__file__).with_name("workloads.json").read_text())
    workloads = [w for w in workloads if options.only in w["name"]]
    if options.tiny:
        torch.set_num_threads(1)
        workloads = [{**w, "D": 5, "H": [units // 32 for units in w["H"]], "T": 3, "N": 2} for w in workloads]
    for w, mode, precision, variant in rows(workloads):
        row = {"workload": w["name"], "mode": mode, "precision": precision, "variant": variant}
        if precision == "tf32" and not on_gpu:
            emit(**row, reason="not available: TF32 is the GPU's")
        elif time.perf_counter() > deadline:
            emit(**row, reason="not measured: out of time")
        else:
            try:
                emit(**row, **measure(w, mode, precision, variant))
            except Exception as error:  # one row that fails must not take the others with it
                emit(**row, reason=f"{type(error).__name__}: {error}".split("\n")[0])


main()
