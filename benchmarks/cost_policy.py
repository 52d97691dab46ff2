"""Whether the cost policy cuts better than priorities: the same codegens, in both orders and by cost, side by side.

    python -m benchmarks.cost_policy
    python -m benchmarks.cost_policy --targets csource --models mobilenet_v2,shufflenet --threads 2
    python -m benchmarks.cost_policy --prepare                  compile only, for measuring later

Each cut is compiled, and run in a process of its own, in alternating rounds (benchmarks/zoo).  The host takes what no
codegen gets, so that one codegen leaves a choice as well.  A table of medians in milliseconds: for each model a column
for each order of priority and one for the cost policy; how often as fast the cost policy is as the order given and as
the better of the orders (medians of the ratios within rounds); and who has how many ops.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.zoo.compile_artifact import artifact_file
from benchmarks.zoo.models import MODELS, SHARED, model_file
from benchmarks.zoo.report import ratio
from benchmarks.zoo.rounds import Effort, Row, measure
from benchmarks.zoo.spec import parse


def runners_of(targets: list[str]) -> list[str]:
    """Each order of priority, and the cost policy, as runners of the zoo."""
    given, turned = "+".join(targets), "+".join(reversed(targets))
    return [*dict.fromkeys((given, turned)), f"{given}@cost"]


def line(model: str, rows: list[Row]) -> str:
    """One line of the table; a runner that failed says so."""
    failed = [f"{row.runner}: {row.error or 'not measured'}" for row in rows if row.median_ms is None]
    if failed:
        return f"{model:16} {'; '.join(failed)}"
    *orders, cost = rows
    gains = [ratio(cost, order) or 0.0 for order in orders]
    times = "".join(f"{row.median_ms:12.3f}" for row in rows)
    return f"{model:16}{times}{gains[0]:9.2f}{min(gains):9.2f}   {cost.summary.partition(' - ')[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=lambda text: text.split(","), default=["dnnl", "csource"])
    parser.add_argument("--models", type=lambda text: text.split(","), default=[*MODELS, *SHARED])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prepare", action="store_true", help="compile, measure nothing")
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"), help="where models and artifacts are kept")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.models) - {*MODELS, *SHARED})
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join((*MODELS, *SHARED))}")
    names = runners_of(arguments.targets)
    if not arguments.prepare:
        print(f"{'':16}{''.join(f'{name[-11:]:>12}' for name in names)}{'/ first':>9}{'/ better':>9}")
    for model in arguments.models:
        runners = [parse(name) for name in names]
        if arguments.prepare:
            file = model_file(arguments.folder / "models", model, 1)
            summaries = [artifact_file(arguments.folder / "artifacts", r, file)[1]["summary"] for r in runners]
            print(f"{model}: {summaries[-1]}", flush=True)
            continue
        effort = Effort(rounds=arguments.rounds)
        print(line(model, measure(arguments.folder, model, runners, 1, arguments.threads, effort)), flush=True)


if __name__ == "__main__":
    main()
