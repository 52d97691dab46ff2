"""Finished trials in an SQLite file, so that nothing that was measured is measured again."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from byoc.errors import UsageError
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import Outcome
from byoc.pareto.memory import Memory

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    study TEXT NOT NULL, configuration TEXT NOT NULL, outcome TEXT NOT NULL, PRIMARY KEY (study, configuration)
)
"""


class Store:
    """Outcomes of one study by configuration; every one is on disk when :meth:`add` returns.

    `study` names the model's files, the tasks and their data: outcomes of others in the same file are not seen.
    Raises :class:`UsageError` where the file cannot be used.
    """

    def __init__(self, path: Path, study: str) -> None:
        self.path, self.study = path, study
        try:
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
            with self._database:
                self._database.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise UsageError(f"{path} cannot be used as a database", str(error), "name another with --db") from None

    def get(self, configuration: Configuration) -> Outcome | None:
        """What is known of a configuration."""
        key = (self.study, json.dumps(configuration.as_dict()))
        row = self._database.execute("SELECT outcome FROM trials WHERE study = ? AND configuration = ?", key).fetchone()
        return None if row is None else _outcome(configuration, json.loads(row[0]))

    def add(self, outcome: Outcome) -> None:
        """Put items in their places behind those that are known; what another search put there meanwhile stays."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            known = self.get(outcome.configuration)
            if known is not None and not known.error and not outcome.error:
                outcome = _joined(known, outcome)
            values = {
                "items": outcome.items, "memory": outcome.memory.as_dict() if outcome.memory else None,
                "error": outcome.error, "seconds": outcome.seconds,
            }  # fmt: skip
            row = (self.study, json.dumps(outcome.configuration.as_dict()), json.dumps(values))
            self._database.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?)", row)

    def close(self) -> None:
        self._database.close()


def _joined(known: Outcome, new: Outcome) -> Outcome:
    items = {}
    for name, pairs in new.items.items():
        before, first = list(known.items.get(name, [])), new.first.get(name, 0)
        longer = len(before) >= first and first + len(pairs) > len(before)
        items[name] = [*before[:first], *pairs] if longer else before
    return replace(new, items=items, seconds=known.seconds + new.seconds)


def _outcome(configuration: Configuration, values: dict[str, Any]) -> Outcome:
    items = {name: [(float(a), float(b)) for a, b in pairs] for name, pairs in values["items"].items()}
    memory = Memory.from_dict(values["memory"]) if values["memory"] else None
    return Outcome(configuration, items, memory, values["error"], values["seconds"])
