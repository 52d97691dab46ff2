"""Where jobs run: in this process, on processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

from byoc.errors import ToolchainError, UsageError
from byoc.pareto.evaluate import Job, Outcome, evaluate


class Workers(Protocol):
    """Runs jobs; leaving the context stops what still runs."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Outcomes in the order in which they are ready."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class ThisProcess:
    """One job after the other."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        return map(evaluate, jobs)

    def __enter__(self) -> ThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class DaskWorkers:
    """A Dask cluster; a job whose worker is lost runs again on another one.

    `scheduler`: ``"local"`` starts `count` processes here; ``"tcp://host:port"`` is a scheduler that runs already,
    whose workers see the model's folder and the tasks' files under the same paths.
    """

    def __init__(self, scheduler: str, count: int = 0) -> None:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise ToolchainError(
                "--scheduler needs the package distributed", "it is not installed", 'pip install "byoc[pareto]"'
            ) from None
        self._cluster: Any = None
        self._threads = 0
        if scheduler == "local":
            cores = os.cpu_count() or 1
            count = count or cores
            self._threads = max(cores // count, 1)
            self._cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
            )
        try:
            self._client = Client(self._cluster or scheduler, timeout=20)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the scheduler {scheduler} cannot be reached", str(error), "start it with: dask scheduler"
            ) from None

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers."""
        return sorted(self._client.run(os.getpid).values())

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        from distributed import KilledWorker, as_completed

        if self._threads:
            jobs = [replace(job, study=replace(job.study, threads=job.study.threads or self._threads)) for job in jobs]
        futures = {self._client.submit(evaluate, job, pure=False, retries=2): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield future.result()
            except KilledWorker:
                yield Outcome(futures[future].configuration, error="its workers were lost", lost=True)

    def __enter__(self) -> DaskWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def workers_of(scheduler: str, count: int) -> Workers:
    """By ``--scheduler``: empty for this process.  Raises :class:`UsageError`, :class:`ToolchainError`."""
    if not scheduler:
        return ThisProcess()
    if scheduler != "local" and not scheduler.startswith(("tcp://", "tls://")):
        raise UsageError(f'"{scheduler}" is no scheduler', "", "write local, or an address such as tcp://host:8786")
    return DaskWorkers(scheduler, count)
