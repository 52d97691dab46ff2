"""Run the partition in this folder on its inputs and compare it with the golden outputs.

    python run.py [TOLERANCE]

Needs byoc and the codegen's runtime, if it has one.  Exit code 9 when a result is beyond tolerance.
"""

import sys
from pathlib import Path

import numpy as np

import byoc
from byoc.difference import difference


def arrays_in(folder: Path) -> list[np.ndarray]:
    """The arrays of a folder, in order."""
    return [np.load(file) for file in sorted(folder.glob("*.npy"))]


def main() -> int:
    """Print one line for each result."""
    here = Path(__file__).resolve().parent
    asked = float(sys.argv[1]) if len(sys.argv) > 1 else None
    with byoc.load(here / "partition.byoc") as session:
        names = [spec.name for spec in session.entry_functions[0].inputs]
        results = session.run(dict(zip(names, arrays_in(here / "inputs"), strict=True)))
    wrong = 0
    for (name, got), want in zip(results.items(), arrays_in(here / "golden"), strict=True):
        found = difference(name, got, want)
        bad = not found.max_rel <= found.tolerance(asked)
        wrong += bad
        print(f"{name}: max abs {found.max_abs:.3g}, max rel {found.max_rel:.3g} {'DIFFERS' if bad else 'ok'}")
    return 9 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
