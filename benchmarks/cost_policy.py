"""Whether the cost policy cuts better than priorities: the same codegens, in both orders and by cost, side by side.

    python -m benchmarks.cost_policy
    python -m benchmarks.cost_policy --targets dnnl,csource --models vgg19,zfnet512 --threads 2

Each cut is compiled, and run in a process of its own, in alternating rounds (benchmarks/zoo).  A table of medians in
milliseconds: for each model one column for each order of priority and one for the cost policy, the ratio of the cost
policy to the better of the orders and to the order given, and who has how many ops.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.zoo.models import MODELS, SHARED
from benchmarks.zoo.rounds import Effort, Row, measure
from benchmarks.zoo.spec import parse


def runners_of(targets: list[str]) -> list[str]:
    """Both orders of priority, and the cost policy, as runners of the zoo."""
    given, turned = "+".join(targets), "+".join(reversed(targets))
    return [given, turned, f"{given}@cost"]


def line(model: str, rows: dict[str, Row], runners: list[str]) -> str:
    """One line of the table; a runner that failed says so."""
    failed = [f"{name}: {rows[name].error or 'not measured'}" for name in runners if rows[name].median_ms is None]
    if failed:
        return f"{model:14} {'; '.join(failed)}"
    given, turned, cost = (rows[name].median_ms or 0.0 for name in runners)
    return (
        f"{model:14} {given:9.2f} {turned:9.2f} {cost:9.2f} {cost / given:9.2f} {cost / min(given, turned):9.2f}   "
        f"{rows[runners[2]].summary}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=lambda text: text.split(","), default=["dnnl", "csource"])
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"), help="where models and artifacts are kept")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.models) - {*MODELS, *SHARED})
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join((*MODELS, *SHARED))}")
    names = runners_of(arguments.targets)
    print(f"{'':14} {names[0]:>9} {names[1]:>9} {'cost':>9} {'/ first':>9} {'/ better':>9}")
    for model in arguments.models:
        effort = Effort(rounds=arguments.rounds)
        measured = measure(arguments.folder, model, [parse(n) for n in names], 1, arguments.threads, effort)
        print(line(model, {row.runner: row for row in measured}, names), flush=True)


if __name__ == "__main__":
    main()
