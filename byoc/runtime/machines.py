"""TVM's virtual machines: each serves one call at a time, so a session keeps several over one library."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from byoc.errors import ArtifactError, SessionError
from byoc.runtime.native import message_of

if TYPE_CHECKING:
    from tvm_ffi import Function, Module

_CPU, _POOLED_ALLOCATOR = 1, 2
_registry_lock = threading.Lock()

Instrument = Callable[..., Any]


class Machine:
    """One virtual machine."""

    def __init__(self, library: Module, python_functions: Mapping[str, Callable[..., Any]]) -> None:
        with _registry_lock, _registered(python_functions):
            # External functions are looked up once, here; the registry matters only for as long as this takes.
            try:
                self.module = library["vm_load_executable"]()
                self.module["vm_initialization"](_CPU, 0, _POOLED_ALLOCATOR)
            except Exception as error:
                raise ArtifactError(
                    "the artifact's library cannot be started",
                    message_of(error),
                    "a function that it calls is absent: compile the model again, or load the codegen's package",
                ) from error
        self.functions: dict[str, Function] = {}
        self.instrument: Instrument | None = None

    def function(self, name: str) -> Function:
        found = self.functions.get(name)
        if found is None:
            found = self.functions[name] = self.module[name]
        return found

    def set_instrument(self, instrument: Instrument | None) -> None:
        if instrument is not self.instrument:
            self.module["set_instrument"](instrument)
            self.instrument = instrument


class _registered:  # noqa: N801 - used as a statement
    """Puts functions under their names in TVM's global registry, and back what was there before."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._functions = functions
        self._before: dict[str, Any] = {}

    def __enter__(self) -> None:
        import tvm_ffi

        for name, function in self._functions.items():
            self._before[name] = tvm_ffi.get_global_func(name, allow_missing=True)
            tvm_ffi.register_global_func(name, function, override=True)

    def __exit__(self, *_: object) -> None:
        import tvm_ffi

        for name, before in self._before.items():
            if before is None:
                tvm_ffi.registry.remove_global_func(name)
            else:
                tvm_ffi.register_global_func(name, before, override=True)


class MachinePool:
    """Machines over one library, made when they are needed; callers wait when as many as processors are busy."""

    def __init__(self, create: Callable[[], Machine]) -> None:
        self._create = create
        self._limit = max(2, os.cpu_count() or 1)
        self._made = 0
        self._closed = False
        self._lock = threading.Lock()
        self._free: queue.SimpleQueue[Machine | None] = queue.SimpleQueue()
        self.give_back(self._new())  # at once, so that what is wrong with the library shows when it is loaded

    def _new(self) -> Machine:
        self._made += 1
        try:
            return self._create()
        except BaseException:
            self._made -= 1
            raise

    def take(self) -> Machine:
        """A machine for the caller alone; raises :class:`SessionError` once the pool is closed."""
        try:
            machine = self._free.get_nowait()
        except queue.Empty:
            machine = self._one_more() or self._free.get()
        if machine is None:
            self._free.put(None)
            raise SessionError("the session is closed", "close() was called on it", "load the artifact again")
        return machine

    def _one_more(self) -> Machine | None:
        with self._lock:
            return self._new() if self._made < self._limit and not self._closed else None

    def give_back(self, machine: Machine) -> None:
        self._free.put(machine)

    def replace(self, machine: Machine) -> None:
        """Give back a new machine for one that a failed call may have left in disorder."""
        with self._lock:
            if not self._closed:
                with contextlib.suppress(ArtifactError):
                    machine = self._create()
        self.give_back(machine)

    def close(self) -> None:
        """Wait for running calls to end, then free every machine; calls after this fail."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        while self._made:
            if self._free.get() is not None:
                self._made -= 1
        self._free.put(None)
