"""One trial: compile a configuration once, ask the session the items of all tasks that are wanted, measure memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from byoc.cache import Cache
from byoc.errors import ByocError
from byoc.llm.calibration_text import read_calibration
from byoc.llm.config import read_config
from byoc.llm.model import TOKENIZER, language_model
from byoc.llm.session import LanguageSession
from byoc.llm.tokenizer import Tokenizer
from byoc.pareto.configuration import Configuration
from byoc.pareto.memory import Memory, measure
from byoc.pareto.tasks import make_task
from byoc.pareto.tasks.task import Subject, Task

Pairs = list[tuple[float, float]]


@dataclass(frozen=True)
class Study:
    """What stays the same for all trials; a worker needs nothing else.

    Attributes
    ----------
    folder: of the model.  tasks: (name, options as JSON-like values frozen by `freeze`).  targets: for ``compile``.
    threads: of a session; 0 for the machine's.  calibrate: file of the calibration text, or empty.
    """

    folder: str
    tasks: tuple[tuple[str, Any], ...]
    context: int
    targets: tuple[str, ...] = ("csource",)
    seed: int = 0
    threads: int = 0
    cache_dir: str = ""
    calibrate: str = ""


@dataclass(frozen=True)
class Job:
    """A configuration, and for every task the items [begin, end) that are wanted."""

    study: Study
    configuration: Configuration
    items: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Outcome:
    """What a job found: (total, weight) of every item, by task; or why it could not be.

    `first` is the place of the first of these items in each task, 0 where it is not named.  `lost` is an error that
    says nothing about the configuration: the next search tries it again.
    """

    configuration: Configuration
    items: Mapping[str, Pairs] = field(default_factory=dict)
    memory: Memory | None = None
    error: str = ""
    seconds: float = 0.0
    lost: bool = False
    first: Mapping[str, int] = field(default_factory=dict)


def freeze(value: Any) -> Any:
    """Lists and mappings as tuples, which can be hashed and compared."""
    if isinstance(value, Mapping):
        return ("map", *((str(k), freeze(v)) for k, v in sorted(value.items())))
    return ("list", *(freeze(v) for v in value)) if isinstance(value, (list, tuple)) else value


def thaw(value: Any) -> Any:
    """What :func:`freeze` was given."""
    if isinstance(value, tuple) and value and value[0] == "map":
        return {k: thaw(v) for k, v in value[1:]}
    return [thaw(v) for v in value[1:]] if isinstance(value, tuple) else value


@lru_cache(maxsize=4)
def tasks_of(study: Study) -> tuple[Task, ...]:
    """The tasks of a study, made once in a process.  Raises :class:`UsageError`."""
    config, folder = read_config(study.folder), Path(study.folder)
    tokenizer = Tokenizer((folder / TOKENIZER).read_bytes()) if (folder / TOKENIZER).is_file() else None
    subject = Subject(tokenizer, study.context, config.begin, study.seed)
    return tuple(make_task(name, thaw(options), subject) for name, options in study.tasks)


def compile_configuration(study: Study, configuration: Configuration) -> Any:
    """The artifact, from the compile cache where it is there."""
    import byoc

    settings = configuration.settings(read_config(study.folder), study.context)
    if study.calibrate:
        settings = replace(settings, calibration=_calibration(study.calibrate, study.folder))
    model = language_model(study.folder, settings, Cache(study.cache_dir or None))
    return byoc.compile(model, study.targets, cache_dir=study.cache_dir or None)


@lru_cache(maxsize=2)
def _calibration(file: str, folder: str) -> tuple[int, ...]:
    return read_calibration(file, folder)


def evaluate(job: Job) -> Outcome:
    """Run a job.  What byoc refuses is an outcome; other errors are raised."""
    begin = time.monotonic()
    study = job.study
    try:
        artifact = compile_configuration(study, job.configuration)
        with artifact.session(threads=study.threads or None) as running:
            session = LanguageSession(running)
            items = {
                name: [task.run(session, i) for i in range(first, end)]
                for (name, _), task, (first, end) in zip(study.tasks, tasks_of(study), job.items, strict=True)
            }
            memory = measure(session, sum(a.nbytes for a in artifact.arrays))
    except ByocError as error:
        return Outcome(job.configuration, error=str(error), seconds=time.monotonic() - begin)
    first = {name: start for (name, _), (start, _) in zip(study.tasks, job.items, strict=True)}
    return Outcome(job.configuration, items, memory, seconds=time.monotonic() - begin, first=first)
