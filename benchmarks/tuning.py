"""What tuning the host's kernels brings to whole models, and how long it takes.

    python -m benchmarks.tuning --models squeezenet,mobilenet_v2 --trials 16

For each model: seconds of tuning, the most trials there could be, and milliseconds of a run with the default
cuts and with the chosen ones, in alternating rounds; medians, and the median of the ratios within rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import byoc
from benchmarks.zoo.models import MODELS, inputs_of, model_file
from byoc.runtime import aligned_copy
from byoc.runtime.threads import prepare_pool


def alternating(sessions: list[byoc.Session], inputs: dict, rounds: int, seconds: float) -> list[list[float]]:
    """Milliseconds of a run in each round, by session."""
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds):
        for session, medians in zip(sessions, times, strict=True):
            session.run(inputs)
            runs, end = [], time.perf_counter() + seconds
            while time.perf_counter() < end or len(runs) < 3:
                begin = time.perf_counter()
                session.run(inputs)
                runs.append((time.perf_counter() - begin) * 1e3)
            medians.append(median(runs))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=lambda text: text.split(","), default=["squeezenet", "mobilenet_v2"])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"), help="where models are kept")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.models) - set(MODELS))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(MODELS)}")
    prepare_pool(arguments.threads)
    print(f"{'':14} {'tuning s':>8} {'trials':>6} {'default ms':>10} {'tuned ms':>9} {'speed-up':>8}")
    for name in arguments.models:
        model = model_file(arguments.folder / "models", name, 1)
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "tuning.db"
            plain = byoc.compile(model, use_cache=False)
            seconds: list[float] = []
            counts = [0]

            def note(stage: str, done: int, total: int, seconds: list = seconds, counts: list = counts) -> None:
                if stage == "tune":
                    seconds.append(time.perf_counter())
                    counts[0] = total

            tuned = byoc.compile(model, tune=arguments.trials, tune_db=database, use_cache=False, progress=note)
            inputs = {key: aligned_copy(array) for key, array in inputs_of(model).items()}
            with plain.session(arguments.threads) as first, tuned.session(arguments.threads) as second:
                default, chosen = alternating([first, second], inputs, arguments.rounds, 0.15)
        ratio = median(a / b for a, b in zip(default, chosen, strict=True))
        print(
            f"{name:14} {seconds[-1] - seconds[0]:8.0f} {counts[0]:6} {median(default):10.2f} "
            f"{median(chosen):9.2f} {ratio:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
