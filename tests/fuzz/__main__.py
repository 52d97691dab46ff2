"""``python -m tests.fuzz --count 1000 [--subject NAME]... [--seed N] [--keep DIR]``: a table of what came of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from byoc.text_table import table
from tests.fuzz.drive import Tally, drive
from tests.fuzz.subjects import SUBJECTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="damaged files of each subject")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subject", action="append", choices=SUBJECTS, help="only this one (repeatable)")
    parser.add_argument("--seconds", type=float, default=60.0, help="after which a file counts as hanging")
    parser.add_argument("--keep", type=Path, help="folder for the files that were taken badly")
    chosen = parser.parse_args()
    rows, bad = [], 0
    for name in chosen.subject or SUBJECTS:
        tally = drive(name, range(chosen.first, chosen.first + chosen.count), chosen.seed, chosen.seconds, chosen.keep)
        rows.append(row(name, tally))
        bad += len(tally.faults)
        for fault in tally.faults:
            print(f"{name} {fault.number}: {fault.kind}: {fault.told}", file=sys.stderr, flush=True)
    headers = ["subject", "files", "refused", "accepted", "different", "traceback", "crash", "hang"]
    print(table(headers, rows, "lrrrrrrr"))
    return 1 if bad else 0


def row(name: str, tally: Tally) -> tuple[object, ...]:
    kinds = [fault.kind for fault in tally.faults]
    counts = [kinds.count(kind) for kind in ("different", "traceback", "crash", "hang")]
    return (name, tally.refused + tally.accepted + len(kinds), tally.refused, tally.accepted, *counts)


if __name__ == "__main__":
    sys.exit(main())
