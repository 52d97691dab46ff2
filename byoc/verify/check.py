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
from byoc.runtime.tensors import numpy_from_tensor
from byoc.verify.reference import References

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Record:
    """What a partition was given, what its reference makes of it, and what the target made of it."""

    inputs: tuple[Array, ...]
    shape_args: tuple[int, ...]
    golden: tuple[Array, ...]
    results: tuple[Array, ...]


@dataclass(frozen=True)
class PartitionError:
    """How far a partition is from its reference: one difference for each of its results.

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
) -> Verification:
    """Verify one entry function on `inputs`.

    The artifact is run twice.  In the first run every partition is called, its results are compared with those of its
    reference on the same inputs, and are then replaced by them; that run is the oracle.  The second is an ordinary one.

    Parameters
    ----------
    session: on an artifact that was compiled from `plan`.
    plan: as it was carried out, with its model; see :func:`carried_out`.

    Raises
    ------
    InputError, SessionError, HostError
    """
    function = next(f for f in plan.functions if f.name == entry)
    observer = _Observer(references or References(plan), {p.symbol for p in function.partitions})
    session.set_instrument(observer)
    try:
        oracle = {name: array.copy() for name, array in session.run(inputs, entry=entry).items()}
    finally:
        session.set_instrument(None)
    if observer.failure is not None:
        raise observer.failure
    results = session.run(inputs, entry=entry)
    outputs = tuple(difference(name, results[name], oracle[name]) for name in oracle)
    errors = [_error(part, function, observer.records[part.symbol]) for part in function.partitions]
    return Verification(entry, tuple(errors), outputs, oracle, results)


def carried_out(plan: Plan, artifact: Loadable) -> Plan:
    """The plan as it was carried out: codegens may have refused partitions that `plan` gave them."""
    return replace(Plan.from_json(artifact.plan_json), model=plan.model)


class _Observer:
    """Replaces what partitions return by what their references return."""

    def __init__(self, references: References, symbols: set[str]) -> None:
        self.references, self.symbols = references, symbols
        self.records: dict[str, list[Record]] = {symbol: [] for symbol in symbols}
        self.pending: list[tuple[tuple[Array, ...], list[Any]]] = []
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
        golden = [array.copy() for array in self.references.run(symbol, given)]
        inputs = tuple(_array(a).copy() for a in given if _is_tensor(a))
        self.pending.append((inputs, golden))

    def _after(self, symbol: str, arguments: tuple[Any, ...]) -> None:
        inputs, golden = self.pending.pop()
        begin = self.references.parameters_of(symbol)
        views = [_array(a) for a in arguments[begin : begin + len(golden)]]
        shape = next((tuple(int(d) for d in a) for a in arguments[:begin] if not _is_tensor(a)), ())
        record = Record(inputs, shape, tuple(golden), tuple(view.copy() for view in views))
        for view, wanted in zip(views, golden, strict=True):
            view[...] = wanted
        self.records[symbol].append(record)


def _is_tensor(argument: Any) -> bool:
    return hasattr(argument, "data_ptr")


def _array(tensor: Any) -> Array:
    return numpy_from_tensor(tensor, str(tensor.dtype))


def _error(part: Partition, function: FunctionPlan, records: list[Record]) -> PartitionError:
    ops = [function.ops[i] for i in part.ops]
    compared = [
        (tuple(difference(f"result {i}", got, want) for i, (got, want) in enumerate(_pairs(r))), r) for r in records
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
