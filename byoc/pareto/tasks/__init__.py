"""Accuracy tasks, found by name: those that ship, and those of installed packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from byoc.errors import PluginLoadError, UsageError, did_you_mean
from byoc.pareto.tasks.task import Subject, Task

ENTRY_POINTS = "byoc.pareto_tasks"
_SHIPPED = {
    "perplexity": "byoc.pareto.tasks.perplexity:Perplexity",
    "needle": "byoc.pareto.tasks.needle:Needle",
    "recall": "byoc.pareto.tasks.recall:Recall",
    "choice": "byoc.pareto.tasks.choice:Choice",
    "exact-match": "byoc.pareto.tasks.exact_match:ExactMatch",
    "long-qa": "byoc.pareto.tasks.long_qa:LongQA",
    "lm-eval": "byoc.pareto.tasks.lm_eval:LMEval",
}


def make_task(name: str, options: Mapping[str, Any], subject: Subject) -> Task:
    """A task by its name.

    Raises :class:`UsageError` for an unknown name or option, :class:`PluginLoadError` where a package's task fails.
    """
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in _SHIPPED:
        module, _, attribute = _SHIPPED[name].partition(":")
        factory = getattr(importlib.import_module(module), attribute)
    elif name in installed:
        try:
            factory = installed[name].load()
        except Exception as error:
            raise PluginLoadError(f'the task "{name}" cannot be loaded', f"{type(error).__name__}: {error}") from error
    else:
        raise UsageError(f'there is no task "{name}"', "", did_you_mean(name, {*_SHIPPED, *installed}))
    task: Task = factory(options, subject)
    return task
