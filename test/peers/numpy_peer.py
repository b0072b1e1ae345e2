"""NumPy at the other end of .npy and .npz files: one JSON line in, one answer a line out. Wants `pip install numpy`."""
import json
import sys

import numpy as np

ORDERS = {"C": np.ascontiguousarray, "F": np.asfortranarray}


def told(array):
    # Through strings: JSON has neither 64-bit integers nor NaN.
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": [repr(v) for v in array.astype("f8").reshape(-1).tolist()]}


def read(path, **_):
    found = np.load(path, allow_pickle=False)
    return {name: told(found[name]) for name in found.files} if path.endswith(".npz") else {"array": told(found)}


def write(path, seed, compressed, **_):
    """Arrays of every kind that we read, in either byte order, C and Fortran order, none to three axes."""
    random = np.random.default_rng(seed)
    arrays = {}
    for code in ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "|i1", "<i2", ">i4", "<i8", ">i8", "|u1", ">u2", "<u4", "<u8", "|b1"):
        for order, ordered in ORDERS.items():
            shape = tuple(random.integers(0, 4, size=random.integers(0, 4)))
            values = random.integers(0, 100, size=shape) if code[1] in "iub" else random.normal(size=shape)
            array = np.asarray(values > 50 if code[1] == "b" else values).astype(code)
            arrays[f"{code[1:]}/{'big' if code[0] == '>' else 'little'} {order}"] = ordered(array) if array.ndim else array
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return {name: told(array) for name, array in arrays.items()}


for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = {"read": read, "write": write}[command["do"]](**{k: v for k, v in command.items() if k != "do"})
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
