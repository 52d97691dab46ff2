"""Whether long use costs memory or changes results: many runs, many threads, many sessions, of one small model.

python -m benchmarks.soak [--runs 1000000] [--threads 16] [--runs-per-thread 10000] [--loads 1000] [--target csource]

The resident set is measured at ten points of each part; its growth is that from the second to the last.  Every result
is compared with the first, bit for bit.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.runtime import Session
from byoc.text_table import table

PAGE = os.sysconf("SC_PAGE_SIZE")


def model() -> onnx.ModelProto:
    """A convolution, a pool, a product and a softmax, float32[1, 2, 12, 12] to float32[1, 10]."""
    weights = {"w": (8, 2, 3, 3), "v": (8 * 36, 10)}
    generator = np.random.default_rng(0)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["c"], ["d"]),
        node("MatMul", ["d", "v"], ["e"]),
        node("Softmax", ["e"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    constants = [numpy_helper.from_array(generator.standard_normal(s, "float32"), n) for n, s in weights.items()]
    x, y = info("x", TensorProto.FLOAT, [1, 2, 12, 12]), info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "small", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


X = np.random.default_rng(1).standard_normal((1, 2, 12, 12), "float32")


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def run(session: Session) -> bytes:
    return session.run({"x": X})["y"].tobytes()


def runs(path: Path, count: int) -> tuple[int, list[int], int]:
    """One session, called `count` times: calls, the resident set in between, wrong results."""
    with byoc.load(path) as session:
        wanted, wrong, sizes = run(session), 0, []
        for _ in range(10):
            for _ in range(count // 10):
                wrong += run(session) != wanted
            sizes.append(resident())
    return count, sizes, wrong


def threads(path: Path, count: int, each: int) -> tuple[int, list[int], int]:
    """One session, called from `count` threads at a time."""
    with byoc.load(path) as session:
        wanted, wrong, sizes = run(session), [0] * count, []
        together = threading.Barrier(count + 1)

        def work(index: int) -> None:
            for _ in range(10):
                together.wait()
                for _ in range(each // 10):
                    wrong[index] += run(session) != wanted
                together.wait()

        workers = [threading.Thread(target=work, args=(i,)) for i in range(count)]
        for worker in workers:
            worker.start()
        for _ in range(10):
            together.wait()
            together.wait()
            sizes.append(resident())
        for worker in workers:
            worker.join()
    return count * each, sizes, sum(wrong)


def loads(path: Path, count: int) -> tuple[int, list[int], int]:
    """Loaded, run and closed `count` times, one session after the other."""
    wanted, wrong, sizes = None, 0, []
    for _ in range(10):
        for _ in range(count // 10):
            with byoc.load(path) as session:
                result = run(session)
            wanted = wanted or result
            wrong += result != wanted
        sizes.append(resident())
    return count, sizes, wrong


def together(path: Path, count: int) -> tuple[int, list[int], int]:
    """Ten times: `count` sessions in the process at once, all run, all closed."""
    wanted, wrong, sizes = None, 0, []
    for _ in range(10):
        sessions = [byoc.load(path) for _ in range(count)]
        for session in sessions:
            result = run(session)
            wanted = wanted or result
            wrong += result != wanted
        for session in sessions:
            session.close()
        sizes.append(resident())
    return 10 * count, sizes, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--runs-per-thread", type=int, default=10_000)
    parser.add_argument("--loads", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--target", default="csource")
    chosen = parser.parse_args()
    rows, bad = [], 0
    targets = [] if chosen.target == "host" else [chosen.target]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.byoc"
        byoc.compile(model().SerializeToString(), targets).save(path)
        parts: dict[str, Callable[[], tuple[int, list[int], int]]] = {
            "runs of one session": lambda: runs(path, chosen.runs),
            f"{chosen.threads} threads on one session": lambda: threads(path, chosen.threads, chosen.runs_per_thread),
            "loads, one after the other": lambda: loads(path, chosen.loads),
            f"{chosen.sessions} sessions at once": lambda: together(path, chosen.sessions),
        }
        for name, part in parts.items():
            start = time.perf_counter()
            count, sizes, wrong = part()
            seconds = time.perf_counter() - start
            growth = sizes[-1] - sizes[1]
            rows.append(
                (name, f"{count:,}", wrong, f"{seconds:.1f}", *(f"{s / 2**20:.1f}" for s in (sizes[1], sizes[-1])))
            )
            bad += wrong + (growth > 2**20)
    print(table(["part", "count", "wrong", "seconds", "MiB at 20%", "MiB at the end"], rows, "lrrrrr"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
