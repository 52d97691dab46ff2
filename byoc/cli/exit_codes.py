"""What the command line returns.  Classes of :mod:`byoc.errors` name their own; the table here names all."""

from __future__ import annotations

OK = 0
DIFFERENT = 9
INTERNAL = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: dict[int, str] = {
    OK: "done",
    1: "an error of no other kind (a file that cannot be written, a full disk, too little memory)",
    2: "wrong call: unknown flag, target, pin, option or input",
    3: "the model cannot be taken in",
    4: "a codegen or plugin broke its contract",
    5: "the plan cannot be used",
    6: "a compiler, library or package is missing or failed",
    7: "the artifact or its session cannot be used",
    8: "the plan offloads less than --require asks for",
    DIFFERENT: "results differ by more than --tolerance, or a conformance case did not pass",
    INTERNAL: "internal error: a fault of byoc",
    INTERRUPTED: "interrupted by Ctrl-C",
    BROKEN_PIPE: "whoever read the output stopped reading",
}


def table() -> str:
    """The meanings as the lines that ``byoc --help`` shows."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
