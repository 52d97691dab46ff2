"""What became of a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

PASSED, FAILED, CRASHED, HANGING, REFUSED = "passed", "failed", "crashed", "hanging", "refused"
STATUSES = (PASSED, FAILED, CRASHED, HANGING, REFUSED)


@dataclass(frozen=True)
class Outcome:
    """One case on one target.

    Attributes
    ----------
    status: ``passed``; ``failed``: a result is wrong, or byoc or the codegen raised; ``crashed``: its process died;
        ``hanging``: it did not end in time; ``refused``: the codegen said that it does not take it.
    probe: what was being tried when it did not pass: ``plan``, ``compile``, ``load``, ``run``, ...
    reason: one sentence.
    patterns: patterns of the codegen that took ops of the case.
    """

    case: str
    status: str
    probe: str = ""
    reason: str = ""
    patterns: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All outcomes on one target, in the order of the cases.

    `untried` are patterns of the codegen that no case came to use, `loses_nan` ops that were tried without NaN because
    the codegen declares that one may get lost in them.
    """

    target: str
    version: str
    outcomes: tuple[Outcome, ...]
    untried: tuple[str, ...] = ()
    loses_nan: tuple[str, ...] = ()

    def of(self, status: str) -> tuple[Outcome, ...]:
        """The outcomes with that status."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == status)

    @property
    def conforms(self) -> bool:
        """Whether the codegen took something, and everything that it took came out right."""
        return bool(self.of(PASSED)) and all(o.status in (PASSED, REFUSED) for o in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        counts = {status: len(self.of(status)) for status in STATUSES}
        return {
            "target": self.target, "version": self.version, "conforms": self.conforms, "counts": counts,
            "outcomes": [asdict(outcome) for outcome in self.outcomes], "untried_patterns": list(self.untried),
            "loses_nan": list(self.loses_nan),
        }  # fmt: skip


def refusals(outcomes: Sequence[Outcome]) -> list[tuple[str, list[str]]]:
    """Refused cases by reason, the commonest first."""
    grouped: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.status == REFUSED:
            grouped.setdefault(outcome.reason, []).append(outcome.case)
    return sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
