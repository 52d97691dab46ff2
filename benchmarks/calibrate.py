"""At which rate a target and the host do each family of ops: the figures that `Peaks` declares.

    python -m benchmarks.calibrate csource --models resnet50,minilm

Every op and composite of the models is timed by itself, as ``byoc profile --save-costs`` does it.  For each owner and
family: how many, the median of their rates in 10^9 operations and 10^9 bytes per second (that of all their time, not of
each), and how the estimate of the cost model compares: quartiles of estimate / time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import numpy as np

import byoc
from benchmarks.zoo.models import MODELS, model_file
from byoc.artifact import EntryFunction
from byoc.graph import Node
from byoc.partitioner.cost import CostModel
from byoc.partitioner.match import find_matches
from byoc.partitioner.measured import MeasuredCosts
from byoc.partitioner.target import find_targets
from byoc.partitioner.work import bytes_of, family_of, flops_of, value_bytes
from byoc.profile.costs import measure_costs

NOMINAL = 128


class Timed(NamedTuple):
    """What one op or composite did in which time, and what the cost model expects."""

    owner: str
    family: str
    flops: int
    nbytes: int
    seconds: float
    estimate: float


def inputs_of(entry: EntryFunction) -> dict[str, np.ndarray]:
    """Random images; token ids that any vocabulary has."""
    rng = np.random.default_rng(0)
    made = {}
    for value in entry.inputs:
        shape = [d if isinstance(d, int) else NOMINAL for d in value.shape]
        floating = np.issubdtype(np.dtype(value.dtype), np.floating)
        array = rng.standard_normal(shape) if floating else rng.integers(0, 2, shape)
        made[value.name] = array.astype(value.dtype)
    return made


def timed(model: Path, targets: Sequence[str], runs: int, threads: int) -> Iterator[Timed]:
    """Every op of the model on the host, and every composite on each target."""
    costs = measure_costs(model, targets, inputs_of, runs=runs, threads=threads)
    plan, estimates = byoc.partition(model, targets), CostModel(NOMINAL)
    for graph in plan.model.graphs.values():
        for node in graph.nodes:
            yield from _row("host", [node], costs, estimates.on_host(node), bytes_of(node, NOMINAL))
        for target in find_targets(targets):
            for candidate in find_matches(graph, target).select(lambda _: True):
                match = candidate.match
                nbytes = sum(value_bytes(v, NOMINAL) for v in (*match.inputs, *match.outs))
                estimate = estimates.on_target(target, match)
                yield from _row(target.name, list(match.nodes), costs, estimate, nbytes)


def _row(owner: str, nodes: list[Node], costs: MeasuredCosts, estimate: float, nbytes: int) -> Iterator[Timed]:
    seconds = costs.on_host(nodes[0]) if owner == "host" else costs.on_target(owner, nodes)
    if seconds and estimate:
        heaviest = max(nodes, key=lambda n: flops_of(n, NOMINAL))
        flops = sum(flops_of(n, NOMINAL) for n in nodes)
        yield Timed(owner, family_of(heaviest), flops, nbytes, seconds, estimate)


def table(rows: Sequence[Timed]) -> str:
    """One line for each owner and family."""
    lines = [f"{'':10} {'family':16} {'count':>5} {'ms':>8} {'GFLOP/s':>8} {'GB/s':>7}   estimate / time: quartiles"]
    for owner, family in sorted({(r.owner, r.family) for r in rows}):
        own = [r for r in rows if (r.owner, r.family) == (owner, family)]
        total = sum(r.seconds for r in own)
        ratios = [r.estimate / r.seconds for r in own]
        low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        lines.append(
            f"{owner:10} {family:16} {len(own):5} {total * 1e3:8.2f} {sum(r.flops for r in own) / total / 1e9:8.1f} "
            f"{sum(r.nbytes for r in own) / total / 1e9:7.1f}   {low:.2f} {middle:.2f} {high:.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", type=lambda text: text.split(","), help="codegens, joined by commas")
    parser.add_argument("--models", type=lambda text: text.split(","), default=["squeezenet", "mobilenet_v2", "minilm"])
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"), help="where models are kept")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.models) - set(MODELS))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(MODELS)}")
    rows: list[Timed] = []
    for name in arguments.models:
        model = model_file(arguments.folder / "models", name, 1)
        rows += timed(model, arguments.targets, arguments.runs, arguments.threads)
        print(f"{name}: {len(rows)} timed so far", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
