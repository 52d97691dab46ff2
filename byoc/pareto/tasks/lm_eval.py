"""Any task of ``lm-eval``, asked one document at a time."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.errors import ToolchainError, UsageError
from byoc.pareto.tasks.task import Subject, known_options, shuffled

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession

# What lm-eval makes of the values of all documents, for those metrics that are a function of a sum over a sum.
_LIKELIHOODS = ("perplexity", "weighted_perplexity", "bits_per_byte")


class LMEval:
    """Options: `task`, a name that lm-eval knows, or `file`, the YAML file of a task; `metric`, else the task's first
    one; `filter`, else the first; `fewshot`, else as the task says; at most `items` documents.

    Raises :class:`ToolchainError` where lm-eval is not installed, :class:`UsageError` where it has no such task, or
    where the metric is not made of what single documents get, as a correlation is not.
    """

    cells: Sequence[tuple[str, str]] = ()

    def __init__(self, options: Mapping[str, Any], subject: Subject) -> None:
        defaults = {"task": "", "file": "", "metric": "", "filter": "", "fewshot": -1, "items": 0}
        chosen = known_options("lm-eval", options, defaults)
        self._name, self._task = _load(str(chosen["file"] or chosen["task"]), subject.seed)
        if chosen["fewshot"] >= 0:
            self._task.set_config(key="num_fewshot", value=chosen["fewshot"])
        elif self._task.get_config("num_fewshot") is None:
            self._task.set_config(key="num_fewshot", value=0)
        made_by = {name: function.__name__ for name, function in self._task.aggregation().items()}
        self._metric = chosen["metric"] or next(iter(made_by), "")
        self._filter, self._made_by = chosen["filter"], made_by.get(self._metric, "")
        if self._made_by not in ("mean", *_LIKELIHOODS):
            known = ", ".join(name for name, how in made_by.items() if how in ("mean", *_LIKELIHOODS))
            raise UsageError(
                f'the task "{self._name}" of lm-eval is not scored by "{self._metric}" document by document',
                f"its metrics that are: {known or 'none'}",
                "choose another with metric",
            )
        self.higher = bool(self._task.higher_is_better()[self._metric])
        self._documents = shuffled(len(self._task.eval_docs), subject.seed)[: chosen["items"] or None]

    def __len__(self) -> int:
        return len(self._documents)

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        value = self._asked(session, self._documents[index])[self._metric]
        if self._made_by == "mean":
            return float(value), 1.0
        likelihood, weight = value if isinstance(value, tuple) else (value, 1)
        return -float(likelihood), float(weight)

    def _asked(self, session: LanguageSession, document: int) -> Mapping[str, Any]:
        """Metrics of one document, as lm-eval's own loop makes them before it aggregates."""
        from byoc.llm.lm_eval import ArtifactLM

        model, task = ArtifactLM(session), self._task
        with _quiet():
            task.build_all_requests(samples=[document], rank=0, world_size=1)
            requests = sorted(task.instances, key=lambda r: r.idx)
            for request in requests:
                request.resps += [getattr(model, request.request_type)([request])[0] for _ in range(request.repeats)]
            task.apply_filters()
        answers = requests[0].filtered_resps
        if self._filter and self._filter not in answers:
            raise UsageError(
                f'the task "{self._name}" of lm-eval has no filter "{self._filter}"', f"it has {', '.join(answers)}"
            )
        name = self._filter or next(iter(answers))
        found: Mapping[str, Any] = task.process_results(requests[0].doc, [r.filtered_resps[name] for r in requests])
        return found

    def score(self, ratio: float) -> float:
        if self._made_by == "mean":
            return ratio
        return ratio / float(np.log(2)) if self._made_by == "bits_per_byte" else float(np.exp(ratio))


def _load(what: str, seed: int) -> tuple[str, Any]:
    if not what:
        raise UsageError('the task "lm-eval" needs the option "task" or "file"', "", "--task lm-eval:task=hellaswag")
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise ToolchainError(
            'the task "lm-eval" runs with the package lm-eval', "it is not installed", 'pip install "byoc[eval]"'
        ) from None
    try:
        with _quiet():
            tasks = TaskManager(include_defaults=not Path(what).is_file()).load([what])["tasks"]
    except Exception as error:  # lm-eval's own, and whatever reading a data set raises
        raise UsageError(f'lm-eval cannot load the task "{what}"', f"{type(error).__name__}: {error}") from None
    if len(tasks) != 1:
        raise UsageError(
            f'"{what}" is a group of {len(tasks)} tasks', "", f"name one, such as {min(tasks, default='')}"
        )
    name, task = next(iter(tasks.items()))
    task.set_fewshot_seed(seed)
    return name, task


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines and bars that lm-eval writes to stderr at every call."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
