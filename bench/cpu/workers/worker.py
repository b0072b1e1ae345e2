"""The side of a worker written in Python: answers the questions of ../worker.ts."""

import json
import resource
import sys
import time

import numpy as np

CLASSES = 10
WARM_UP = 300  # how long warming up goes on, ms; a run that takes longer is the only one
GATES = {"simpleRnn": 1, "lstm": 4, "gru": 3}


class Unsupported(Exception):
    """What a library does not have, in words that follow its name."""


def data_of(workload):
    """x float32 [B, T, D] and labels int64 [B, T]."""
    random = np.random.default_rng(1)
    shape = (workload["B"], workload["T"])
    x = random.uniform(-1, 1, (*shape, workload["D"])).astype(np.float32)
    return x, random.integers(0, CLASSES, shape)


def timed(run):
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def times_of(run, milliseconds):
    """Times of the runs until so many milliseconds are over, one at least."""
    end = time.perf_counter() + milliseconds / 1000
    times = [timed(run)]
    while time.perf_counter() < end:
        times.append(timed(run))
    return times


def serve(start, make, check=None):
    """Answers until stdin ends.

    start(threads) gives the version; make(workload, mode) a function that does one run, and a note or None; check(ask) the answer to
    a check.
    """
    run = None

    def prepare(ask):
        nonlocal run
        run = None
        run, note = make(ask["workload"], ask["mode"])
        return {"milliseconds": times_of(run, WARM_UP)[-1], **({"note": note} if note else {})}

    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    answers = {
        "start": lambda ask: {"version": start(ask["threads"])},
        "prepare": prepare,
        "run": lambda ask: {"times": times_of(run, ask["milliseconds"])},
        "check": check,
        "memory": lambda ask: {"peak": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss},
    }
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            answer = answers[ask["do"]](ask)
        except Unsupported as error:
            answer = {"error": str(error)}
        except Exception as error:  # what one workload cannot do must not end the others
            answer = {"error": f"{type(error).__name__}: {error}".split("\n")[0]}
        print(json.dumps(answer), flush=True)
