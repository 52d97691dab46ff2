"""Run an artifact with its partitions held against their references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from byoc.difference import Difference, difference
from byoc.errors import SessionError
from byoc.partitioner.plan import FunctionPlan, Partition, Plan
from byoc.runtime import Session
from byoc.runtime.session import Loadable
from byoc.runtime.state import State
from byoc.runtime.tensors import aligned_copy, numpy_from_tensor, tensor_from_numpy
from byoc.verify.caches import cache_differences
from byoc.verify.reference import References

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Record:
    """What a partition was given, what its reference makes of it, and what the target made of it.

    `updated` is how far the inputs are off that both updated in place, `states` what the reference left in them.
    """

    inputs: tuple[Array, ...]
    shape_args: tuple[int, ...]
    golden: tuple[Array, ...]
    results: tuple[Array, ...]
    updated: tuple[Difference, ...] = ()
    states: tuple[Array, ...] = ()


@dataclass(frozen=True)
class PartitionError:
    """How far a partition is from its reference: one difference for each of its results, then the caches it updates.

    `record` holds the call with the largest error.
    """

    symbol: str
    target: str
    ops: int
    patterns: tuple[str, ...]
    first_node: str
    differences: tuple[Difference, ...]
    record: Record = field(repr=False, compare=False)

    @property
    def worst(self) -> Difference:
        """The result with the largest error for its tolerance."""
        return max(self.differences, key=lambda d: _excess(d, None))

    def passes(self, tolerance: float | None) -> bool:
        """Whether every result is within `tolerance`, or its dtype's."""
        return all(d.max_rel <= d.tolerance(tolerance) for d in self.differences)


@dataclass(frozen=True)
class Verification:
    """Errors by partition, and end to end.

    Attributes
    ----------
    partitions: each fed with the oracle's inputs, so that none inherits an error from another.
    outputs: end to end: the artifact against the same host code with every partition replaced by its reference.
    oracle: the oracle's outputs by name.
    results: the artifact's outputs by name.
    """

    entry: str
    partitions: tuple[PartitionError, ...]
    outputs: tuple[Difference, ...]
    oracle: Mapping[str, Array] = field(repr=False, compare=False)
    results: Mapping[str, Array] = field(repr=False, compare=False)


def verify(
    session: Session,
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    entry: str = "main",
    references: References | None = None,
    state: State | None = None,
) -> Verification:
    """Verify one entry function on `inputs`.

    The artifact is run twice.  In the first run every partition is called, its results are compared with those of its
    reference on the same inputs, and are then replaced by them; that run is the oracle.  The second is an ordinary one.

    Parameters
    ----------
    session: on an artifact that was compiled from `plan`.
    plan: as it was carried out, with its model; see :func:`carried_out`.
    state: that both runs begin with, each on a copy; by default all zero.

    Raises
    ------
    InputError, SessionError, HostError
    """
    function = next(f for f in plan.functions if f.name == entry)
    observer = _Observer(references or References(plan), {p.symbol for p in function.partitions})
    state = session.new_state() if state is None else state
    session.set_instrument(observer)
    try:
        run = session.run(inputs, entry=entry, state=state.copy())
        oracle = {name: array.copy() for name, array in run.items()}
    finally:
        session.set_instrument(None)
    if observer.failure is not None:
        raise observer.failure
    results = session.run(inputs, entry=entry, state=state.copy())
    outputs = tuple(difference(name, results[name], oracle[name]) for name in oracle)
    errors = [_error(part, function, observer.records[part.symbol]) for part in function.partitions]
    return Verification(entry, tuple(errors), outputs, oracle, results)


def carried_out(plan: Plan, artifact: Loadable) -> Plan:
    """The plan as it was carried out: codegens may have refused partitions that `plan` gave them."""
    return replace(Plan.from_json(artifact.plan_json), model=plan.model)


@dataclass(frozen=True)
class _Pending:
    """A call under way: its inputs, None for a shape, and the reference's results and states by parameter."""

    inputs: list[Array | None]
    golden: list[Array]
    states: dict[int, Array]


class _Observer:
    """Replaces what partitions return by what their references return."""

    def __init__(self, references: References, symbols: set[str]) -> None:
        self.references, self.symbols = references, symbols
        self.records: dict[str, list[Record]] = {symbol: [] for symbol in symbols}
        self.pending: list[_Pending] = []
        self.failure: SessionError | None = None

    def __call__(self, function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> int:
        symbol = str(symbol)
        if symbol not in self.symbols or self.failure is not None:
            return 0
        try:
            self._before(symbol, arguments) if before else self._after(symbol, arguments)
        except Exception as error:
            self.failure = SessionError(f"the reference of partition {symbol} cannot be run", f"{error}")
        return 0

    def _before(self, symbol: str, arguments: tuple[Any, ...]) -> None:
        """A partition may overwrite its inputs by mistake; the reference must not see that."""
        given = list(arguments[: self.references.parameters_of(symbol)])
        updates = self.references.updates_of(symbol)
        before = [_array(a).copy() if _is_tensor(a) else None for a in given]
        states = {k: aligned_copy(_array(given[k])) for k in sorted(updates.parameters)}
        for k, array in states.items():  # the partition appends to the tensor itself, its reference to a copy
            given[k] = tensor_from_numpy(array, str(arguments[k].dtype))
        results = self.references.run(symbol, given)
        golden = [array.copy() for k, array in enumerate(results) if k not in updates.returned]
        self.pending.append(_Pending(before, golden, states))

    def _after(self, symbol: str, arguments: tuple[Any, ...]) -> None:
        pending = self.pending.pop()
        begin = self.references.parameters_of(symbol)
        views = [_array(a) for a in arguments[begin : begin + len(pending.golden)]]
        shape = next((tuple(int(d) for d in a) for a in arguments[:begin] if not _is_tensor(a)), ())
        held = {k: _array(arguments[k]) for k in pending.states}
        record = Record(
            tuple(array for array in pending.inputs if array is not None),
            shape,
            tuple(pending.golden),
            tuple(view.copy() for view in views),
            cache_differences(self.references.updates_of(symbol), pending.inputs, held, pending.states),
            tuple(pending.states.values()),
        )
        for view, wanted in zip((*views, *held.values()), (*pending.golden, *pending.states.values()), strict=True):
            view[...] = wanted
        self.records[symbol].append(record)


def _is_tensor(argument: Any) -> bool:
    return hasattr(argument, "data_ptr")


def _array(tensor: Any) -> Array:
    return numpy_from_tensor(tensor, str(tensor.dtype))


def _error(part: Partition, function: FunctionPlan, records: list[Record]) -> PartitionError:
    ops = [function.ops[i] for i in part.ops]
    compared = [
        ((*(difference(f"result {i}", got, want) for i, (got, want) in enumerate(_pairs(r))), *r.updated), r)
        for r in records
    ]
    if not compared:  # in a branch of the model that this run did not take
        empty = Record((), (), (), ())
        note = Difference("not run", "", (), 0.0, 0.0, "the run did not reach it")
        compared = [((note,), empty)]
    differences, record = max(compared, key=lambda c: max(_excess(d, None) for d in c[0]))
    patterns = tuple(dict.fromkeys(c.pattern for c in part.composites))
    node = next((op.node for op in ops if op.node), ops[0].op)
    return PartitionError(part.symbol, part.target, len(ops), patterns, node, differences, record)


def _pairs(record: Record) -> list[tuple[Array, Array]]:
    return list(zip(record.results, record.golden, strict=True))


def _excess(d: Difference, tolerance: float | None) -> float:
    bound = d.tolerance(tolerance)
    return d.max_rel / bound if bound else (float("inf") if d.max_rel else 0.0)
