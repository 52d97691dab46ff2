"""A loaded artifact, ready to run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from byoc.artifact import EntryFunction, Manifest, check_compatible, open_artifact, read_manifest
from byoc.artifact.interface import SYMBOL, USE_THREADS, interface_words
from byoc.errors import ArtifactError, SessionError, UsageError, did_you_mean
from byoc.runtime.failures import FailedCall, PythonFailures, failed_call, session_error
from byoc.runtime.inputs import InputBinder
from byoc.runtime.machines import Instrument, Machine, MachinePool
from byoc.runtime.native import load_library, load_runtime, message_of
from byoc.runtime.state import State, require_state_of
from byoc.runtime.tensors import numpy_from_tensor, tensor_from_numpy
from byoc.runtime.threads import prepare_pool, thread_count

if TYPE_CHECKING:
    from tvm_ffi import Module, Tensor


class Loadable(Protocol):
    """What a session needs of an artifact, be it in memory or in a file."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def plan_json(self) -> str: ...
    @property
    def library(self) -> bytes: ...
    @property
    def arrays(self) -> tuple[np.ndarray[Any, Any], ...]: ...
    @property
    def python_functions(self) -> Mapping[str, Callable[..., Any]]: ...
    @property
    def tokenizer(self) -> bytes: ...


def load(
    path: str | os.PathLike[str], *, threads: int | None = None, verify_key: str | os.PathLike[str] | None = None
) -> Session:
    """A session on the artifact in a file.

    ``threads`` is how many threads a run uses; None: as BYOC_NUM_THREADS says, else one per processor core.
    Loading runs the file's native code: load only what you trust.  ``verify_key`` is the file of an Ed25519 public key
    (PEM) whose owner must have signed the artifact.  Before any native code is loaded, raises :class:`ArtifactError` if
    the file is damaged or cannot run on this machine, :class:`SignatureError` if it is not signed with that key.
    """
    _require_compatible(os.fspath(path), read_manifest(path, verify_key=verify_key))
    return Session(open_artifact(path, verify_key=verify_key), threads=threads)


class Session:
    """Runs the entry functions of one artifact; any number of Python threads may call it at the same time.

    It is a context manager; leaving it closes it.
    """

    def __init__(self, artifact: Loadable, *, threads: int | None = None) -> None:
        self.manifest = artifact.manifest
        self.plan_json = artifact.plan_json
        self.tokenizer = artifact.tokenizer
        self._threads = thread_count(threads)
        _require_compatible("(in memory)", self.manifest)
        prepare_pool(self._threads)
        load_runtime()
        self._weights: tuple[Tensor, ...] = tuple(
            tensor_from_numpy(array, str(array.dtype)) for array in artifact.arrays
        )
        self._weight_addresses = frozenset(tensor.data_ptr() for tensor in self._weights)
        self._calls = {
            entry.name: _Call(entry, self._weights, self.manifest) for entry in self.manifest.entry_functions
        }
        self._python = PythonFailures(artifact.python_functions)
        self._library: Module | None = load_library(artifact.library)
        _require_interface(self._library, interface_words(self.manifest, artifact.arrays))
        self._library.get_function(USE_THREADS, query_imports=True)(self._threads)  # also those that binding uses
        self._bind_constants(self._library)
        self._pool = MachinePool(self._new_machine)
        self._instrument: Instrument | None = None
        self._state: State | None = None
        self._closing = threading.Lock()

    @property
    def entry_functions(self) -> tuple[EntryFunction, ...]:
        """What can be run, with inputs and outputs."""
        return self.manifest.entry_functions

    @property
    def threads(self) -> int:
        """Threads that a run uses."""
        return self._threads

    @property
    def state(self) -> State:
        """The state that runs use when they are given no other."""
        if self._state is None:
            self._state = self.new_state()
        return self._state

    def new_state(self) -> State:
        """A fresh state, all zero, for runs that shall not touch the session's own."""
        return State(self.manifest.states, self.manifest.state_digest)

    def run(
        self, inputs: Mapping[str, Any], *, entry: str | None = None, state: State | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Run one entry function and return its outputs by name.

        ``inputs`` maps each input's name to a numpy array or an object that speaks DLPack (a torch tensor, say), of
        the dtype and shape that the entry function expects.  Memory that is contiguous and 64-byte aligned (see
        :func:`byoc.runtime.aligned_empty`) is used in place, other memory is copied.  ``entry`` None means the only
        function, else ``main``.  ``state`` None means the session's own; it is updated in place.

        Outputs are numpy views on fresh memory; they stay valid after the session is closed.

        Raises :class:`InputError` for wrong names, dtypes or shapes, and :class:`SessionError` if the run fails, with
        the symbol of the partition in which it failed.
        """
        call = self._call(entry)
        given = call.binder.bind(inputs)
        if not call.entry.states:
            return self._run(call, given)
        state = self.state if state is None else state
        require_state_of(state, self.manifest.state_digest, self.manifest.states)
        with state.lock:
            return self._run(call, [*given, *state.tensors(call.states)])

    def _run(self, call: _Call, given: list[Tensor]) -> dict[str, np.ndarray[Any, Any]]:
        machine = self._pool.take()
        try:
            machine.set_instrument(self._instrument)
            result = machine.function(call.entry.name)(*given, *call.weights)
        except Exception as error:
            raise self._failure(call, given, machine, error) from error
        except BaseException:
            self._pool.replace(machine)
            raise
        self._pool.give_back(machine)
        return call.results(result, given, self._weight_addresses)

    def set_instrument(self, instrument: Instrument | None) -> None:
        """Have ``instrument(function, symbol, before, result, *arguments)`` called around every call that runs make.

        It takes effect with the next run.  It returns 1 before a call to leave that call out, else 0 or None.  None
        in place of a function ends it; while none is set, it costs nothing.
        """
        self._instrument = instrument

    def close(self) -> None:
        """Free the library, after the runs that are under way; later runs raise :class:`SessionError`."""
        with self._closing:
            self._pool.close()
            self._library = None
            self._calls = {name: _Call(call.entry, (), self.manifest) for name, call in self._calls.items()}
            self._weights = ()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, name: str | None) -> _Call:
        if name is None:
            name = next(iter(self._calls)) if len(self._calls) == 1 else "main"
        call = self._calls.get(name)
        if call is None:
            hint = did_you_mean(name, self._calls)
            raise UsageError(f'the artifact has no entry function "{name}"', "", f"name one of its own: {hint}")
        return call

    def _new_machine(self) -> Machine:
        library = self._library
        if library is None:
            raise SessionError("the session is closed", "close() was called on it", "load the artifact again")
        return Machine(library, self._python.functions)

    def _bind_constants(self, library: Module) -> None:
        """Partitions keep pointers to these weights; both live as long as the session."""
        for partition in self.manifest.partitions:
            if partition.bind is None:
                continue
            try:
                bind = library.get_function(partition.bind, query_imports=True)
                bind(*(self._weights[index] for index in partition.constants))
            except Exception as error:
                raise ArtifactError(
                    f'the constants of partition "{partition.symbol}" cannot be bound',
                    message_of(error),
                    f"compile the model again; if it recurs, the fault is in the codegen {partition.target}",
                ) from error

    def _failure(self, call: _Call, given: list[Tensor], machine: Machine, error: Exception) -> SessionError:
        """The error of a failed run, with the partition at fault, which a second run shows."""
        symbol, cause = self._python.last()
        failed = FailedCall(symbol) if symbol is not None else None
        if failed is None:
            failed = failed_call(machine, call.entry.name, [*given, *call.weights])
        self._pool.replace(machine)
        return session_error(self.manifest, call.entry, failed, cause or error)


class _Call:
    """What calling one entry function takes, worked out beforehand."""

    def __init__(self, entry: EntryFunction, weights: tuple[Tensor, ...], manifest: Manifest) -> None:
        self.entry = entry
        self.states = tuple(manifest.states[index].name for index in entry.states)
        self.binder = InputBinder(entry)
        self.weights = tuple(weights[index] for index in entry.weights) if weights else ()
        self._outputs = tuple((spec.name, spec.dtype) for spec in entry.outputs)

    def results(
        self, result: Any, given: list[Tensor], weight_addresses: frozenset[int]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays by output name; a result that is an input or a weight is copied, so that it is the caller's own."""
        tensors = (result,) if hasattr(result, "data_ptr") else tuple(result)
        borrowed = [tensor.data_ptr() for tensor in given]
        arrays = {}
        for (name, dtype), tensor in zip(self._outputs, tensors, strict=True):
            address = tensor.data_ptr()
            array = numpy_from_tensor(tensor, dtype)
            if address in borrowed or address in weight_addresses:
                array = array.copy()
            arrays[name] = array
        return arrays


def _require_compatible(path: str, manifest: Manifest) -> None:
    reasons = check_compatible(manifest)
    if reasons:
        raise ArtifactError(
            f"the artifact {path} cannot run here",
            "; ".join(reasons),
            "compile the model for this machine and these versions, or run it where it was compiled for",
        )


def _require_interface(library: Module, words: tuple[int, ...]) -> None:
    """Raise :class:`ArtifactError` unless the library was compiled for what the manifest says."""
    if not library.implements_function(SYMBOL, query_imports=True):
        why = "the library does not say what it was compiled for"
    elif library.get_function(SYMBOL, query_imports=True)(*words) == 1:
        return
    else:
        why = "the inputs, outputs, states, weights or partitions in it are not those that the library was compiled for"
    raise ArtifactError("the artifact's manifest does not describe its library", why, "compile the model again")
