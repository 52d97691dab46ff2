"""How many threads a run uses.

Every library brings its threads (byoc/include/byoc_threads.h), which a session tells how many a loop may use.  TVM's
own pool serves what runs while compiling: constants that are folded, kernels that are tuned.  It has a pool of threads
for each calling thread and fixes its size at that thread's first parallel loop, to half the processors on x86; it also
binds threads, the caller's own included, to single processors.  Here it is as large as it may ever have to be, and
nothing is bound.

Vendors' libraries may bring OpenMP's pool as well.  GNU's spins for milliseconds between two parallel regions, which
takes the processor from everybody else's work; here it spins for tens of microseconds, as long as the gaps within one
partition, then sleeps.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from byoc.errors import UsageError
from byoc.runtime.native import load_runtime

if TYPE_CHECKING:
    from tvm_ffi import Function

VARIABLE = "BYOC_NUM_THREADS"
_POOL_VARIABLE = "TVM_NUM_THREADS"
_OPENMP_SPINS = "2000"  # rounds of GNU OpenMP's waiting loop before a thread sleeps
_BIG_CORES = 1  # TVM's default way of choosing processors
_applied = threading.local()


def thread_count(requested: int | None) -> int:
    """The number of threads to use: as requested, else as BYOC_NUM_THREADS or TVM_NUM_THREADS say, else one per core.

    Raises :class:`UsageError` for anything but a whole number from 1 up.
    """
    if requested is not None:
        return _checked(requested, f"threads={requested!r}")
    for variable in (VARIABLE, _POOL_VARIABLE):
        value = os.environ.get(variable, "")
        if value and variable not in _set_by_us:
            return _checked(int(value) if value.isdecimal() else value, f"{variable}={value}")
    return core_count()


_set_by_us: set[str] = set()


def _checked(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{where} is no number of threads", "it must be a whole number from 1 up", "change it")
    return value


@lru_cache(maxsize=1)
def core_count() -> int:
    """Processor cores that this process may use; two threads of one core count once."""
    processors = os.sched_getaffinity(0)
    cores = set()
    for number in processors:
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii").strip())
        except OSError:
            cores.add(str(number))
    return max(1, len(cores))


def prepare_pool(threads: int) -> None:
    """Let pools that do not exist yet be large enough for ``threads``; call it before TVM runs anything."""
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _OPENMP_SPINS)
    present = os.environ.get(_POOL_VARIABLE, "")
    wanted = max(threads, core_count())
    if not present.isdecimal() or int(present) < wanted:
        if not present:
            _set_by_us.add(_POOL_VARIABLE)
        os.environ[_POOL_VARIABLE] = str(wanted)


def use_threads(threads: int) -> None:
    """Let parallel loops that the calling thread starts in TVM's own pool from now on use this many threads."""
    if getattr(_applied, "threads", None) != threads:
        _configure()(_BIG_CORES, threads)
        _applied.threads = threads


@lru_cache(maxsize=1)
def _configure() -> Function:
    load_runtime()
    import tvm_ffi

    return tvm_ffi.get_global_func("runtime.config_threadpool")
