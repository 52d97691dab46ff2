"""Whether the cost policy cuts better than priorities: the same codegens, in both orders and by cost, side by side.

    python -m benchmarks.cost_policy
    python -m benchmarks.cost_policy --targets csource --models mobilenet_v2,shufflenet --threads 2
    python -m benchmarks.cost_policy --prepare                  compile only, for measuring later
    python -m benchmarks.cost_policy --json costs.json --add    keep the figures, beside those of other models

Each cut is compiled, and run in a process of its own, in alternating rounds (benchmarks/zoo); the host alone runs
beside them.  The host takes what no codegen gets, so that one codegen leaves a choice as well.  A table of medians in
milliseconds: for each model a column for each order of priority, the cost policy and the host; what the cost model
expects of the cost policy's cut; how often as fast that cut is as each order and as the best of them (medians of the
ratios within rounds); and the cut itself.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.zoo.compile_artifact import artifact_file
from benchmarks.zoo.models import MODELS, QUANTISED, SHARED, model_file
from benchmarks.zoo.report import ratio
from benchmarks.zoo.rounds import Effort, Row, measure
from benchmarks.zoo.spec import parse


def orders_of(targets: list[str]) -> list[str]:
    """Each order of priority, as a runner of the zoo: the one given, and it reversed."""
    return list(dict.fromkeys(("+".join(targets), "+".join(reversed(targets)))))


def runners_of(targets: list[str]) -> list[str]:
    """The orders, the cost policy, and the host alone."""
    return [*orders_of(targets), f"{'+'.join(targets)}@cost", "host"]


@dataclass(frozen=True)
class Comparison:
    """What was measured of one model."""

    model: str
    orders: tuple[Row, ...]
    cost: Row
    host: Row

    @property
    def rows(self) -> tuple[Row, ...]:
        return (*self.orders, self.cost, self.host)

    @property
    def gains(self) -> list[float]:
        """How often as fast the cost policy's cut is as each order of priority."""
        return [ratio(self.cost, order) or 0.0 for order in self.orders]

    def line(self) -> str:
        """One line of the table; a runner that failed says so."""
        failed = [f"{row.runner}: {row.error or 'not measured'}" for row in self.rows if row.median_ms is None]
        if failed:
            return f"{self.model:18} {'; '.join(failed)}"
        times = "".join(f"{row.median_ms:10.3f}" for row in self.rows)
        expected = f"{self.cost.estimate_ms or 0:10.3f}"
        gains = "".join(f"{gain:9.2f}" for gain in [*self.gains, min(self.gains)])
        return f"{self.model:18}{times}{expected}{gains}   {self.cost.summary.partition(' - ')[0]}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "times_as_fast_as": dict(zip((row.runner for row in self.orders), self.gains, strict=True)),
            "times_as_fast_as_best": min(self.gains),
            "runners": [row.to_dict() for row in self.rows],
        }


def header(targets: list[str]) -> str:
    orders = orders_of(targets)
    columns = [*orders, "by cost", "host", "expected", *(f"/ {order.partition('+')[0]}" for order in orders), "/ best"]
    widths = [10] * (len(orders) + 3) + [9] * (len(orders) + 1)
    return f"{'':18}" + "".join(f"{c[: w - 1]:>{w}}" for c, w in zip(columns, widths, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=lambda text: text.split(","), default=["dnnl", "csource"])
    parser.add_argument("--models", type=lambda text: text.split(","), default=[*MODELS, *SHARED])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-ms", type=float, default=150.0, help="how long one turn of a runner takes, about")
    parser.add_argument("--prepare", action="store_true", help="compile, measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--add", action="store_true", help="keep what FILE has of other models")
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"), help="where models and artifacts are kept")
    arguments = parser.parse_args()
    known = (*MODELS, *QUANTISED, *SHARED)
    unknown = sorted(set(arguments.models) - set(known))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(known)}")
    runners = [parse(name) for name in runners_of(arguments.targets)]
    kept = json.loads(arguments.json.read_text()) if arguments.add and arguments.json.exists() else []
    if not arguments.prepare:
        print(header(arguments.targets))
    for model in arguments.models:
        if arguments.prepare:
            file = model_file(arguments.folder / "models", model, 1)
            summaries = [artifact_file(arguments.folder / "artifacts", r, file)[1]["summary"] for r in runners]
            print(f"{model}: {summaries[-2]}", flush=True)
            continue
        effort = Effort(rounds=arguments.rounds, turn_ms=arguments.turn_ms)
        *orders, cost, host = measure(arguments.folder, model, runners, 1, arguments.threads, effort)
        found = Comparison(model, tuple(orders), cost, host)
        print(found.line(), flush=True)
        kept = [*(other for other in kept if other["model"] != model), found.to_dict()]
        if arguments.json:
            arguments.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
