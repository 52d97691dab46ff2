"""At which rate a target and the host do each family of ops: the figures that `Peaks` declares.

    python -m benchmarks.calibrate csource --models resnet50,minilm
    python -m benchmarks.calibrate csource,dnnl --prepare               compile only, for measuring later
    python -m benchmarks.calibrate csource,dnnl --save-costs FOLDER     keep what was measured, MODEL.json for each

Every op and composite of the models is timed as ``byoc profile --save-costs`` does it.  For each owner and family: how
many, their rate in 10^9 operations and 10^9 bytes per second (that of all their time, not of each), and how the
estimate of the cost model compares: quartiles of estimate / time.  What costs nothing by the model is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import byoc
from benchmarks.zoo.compile_artifact import code_digest
from benchmarks.zoo.models import MODELS, QUANTISED, SHARED, model_file
from benchmarks.zoo.models import inputs_of as inputs_of_model
from benchmarks.zoo.spec import parse
from byoc.artifact import Artifact, open_artifact
from byoc.graph import Node
from byoc.partitioner.cost import CostModel
from byoc.partitioner.match import find_matches
from byoc.partitioner.measured import MeasuredCosts
from byoc.partitioner.plan import HOST
from byoc.partitioner.target import find_targets
from byoc.partitioner.work import bytes_of, family_of, flops_of, value_bytes
from byoc.profile.costs import CostProbe, cost_probes, measured_costs

NOMINAL = 128


class Timed(NamedTuple):
    """What one op or composite did in which time, and what the cost model expects."""

    owner: str
    family: str
    flops: int
    nbytes: int
    seconds: float
    estimate: float


def probes_of(model: Path, targets: Sequence[str], folder: Path) -> Iterator[CostProbe]:
    """The probes of a model, compiled if `folder` has none by the present code."""
    for target in targets:
        digest = code_digest(parse(target))
        files = {part: folder / f"{model.stem}.{target}.{part}.{digest}.byoc" for part in ("host", "whole", "apart")}
        if not all(file.exists() for file in files.values()):
            folder.mkdir(parents=True, exist_ok=True)
            host, alone = cost_probes(model, [target])
            assert alone.apart is not None
            for part, artifact in (("host", host.whole), ("whole", alone.whole), ("apart", alone.apart)):
                assert isinstance(artifact, Artifact)
                artifact.save(files[part])
        if target == targets[0]:
            yield CostProbe(HOST, byoc.partition(model), open_artifact(files["host"]))
        whole, apart = open_artifact(files["whole"]), open_artifact(files["apart"])
        yield CostProbe(target, byoc.partition(model, [target]), whole, apart)


def timed(model: Path, targets: Sequence[str], costs: MeasuredCosts) -> Iterator[Timed]:
    """Every op of the model on the host, and every composite on each target."""
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
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"), help="where models and artifacts are kept")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prepare", action="store_true", help="compile, measure nothing")
    parser.add_argument("--save-costs", type=Path, metavar="FOLDER", help="keep the costs of each model")
    arguments = parser.parse_args()
    known = (*MODELS, *QUANTISED, *SHARED)
    unknown = sorted(set(arguments.models) - set(known))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(known)}")
    rows: list[Timed] = []
    for name in arguments.models:
        model = model_file(arguments.folder / "models", name, 1)
        probes = list(probes_of(model, arguments.targets, arguments.folder / "probes"))
        if arguments.prepare:
            print(f"{name}: prepared", flush=True)
            continue
        inputs = inputs_of_model(model)
        costs = measured_costs(probes, lambda _, x=inputs: x, runs=arguments.runs, threads=arguments.threads)
        if arguments.save_costs:
            arguments.save_costs.mkdir(parents=True, exist_ok=True)
            (arguments.save_costs / f"{name}.json").write_text(costs.to_json())
        rows += timed(model, arguments.targets, costs)
        print(f"{name}: {len(rows)} timed so far", flush=True)
    if rows:
        print(table(rows))


if __name__ == "__main__":
    main()
