"""Write the body of a kernel statement by statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tvm import tirx

_KINDS = {"serial": tirx.ForKind.SERIAL, "parallel": tirx.ForKind.PARALLEL}


class Code:
    """A list of TIR statements that grows while loops and conditions are entered and left.

    Index arithmetic is int64.  Tensors are read and written flat, by the distance from their first element.
    """

    def __init__(self) -> None:
        self._open: list[list[Any]] = [[]]

    def let(self, name: str, value: Any) -> Any:
        """Name a value; constants stay what they are."""
        if isinstance(value, (int, tirx.IntImm)):
            return value
        variable = tirx.Var(name, value.ty)
        self._open[-1].append(tirx.Bind(variable, value))
        return variable

    def local(self, name: str, size: int, dtype: str) -> Any:
        """An array in registers: every index into it must be a constant."""
        buffer = tirx.decl_buffer((size,), dtype, name, scope="local")
        self._open[-1].append(tirx.AllocBuffer(buffer))
        return buffer

    def scratch(self, name: str, size: Any, dtype: str) -> Any:
        """Memory that lives until the enclosing loop body ends."""
        buffer = tirx.decl_buffer((size,), dtype, name, scope="global")
        self._open[-1].append(tirx.AllocBuffer(buffer))
        return buffer

    def flat(self, buffer: Any) -> Any:
        """The one-dimensional view of a tensor."""
        size: Any = 1
        for dim in buffer.shape:
            size = size * dim
        view = tirx.decl_buffer((int64(size),), buffer.dtype, f"{buffer.name}_flat", data=buffer.data)
        self._open[-1].append(tirx.DeclBuffer(view, data=buffer.data))
        return view

    def store(self, buffer: Any, index: Any, value: Any) -> None:
        """Store a scalar, or a vector from `index` on."""
        self._open[-1].append(tirx.BufferStore(buffer, value, [index]))

    @contextmanager
    def loop(self, name: str, extent: Any, kind: str = "serial") -> Iterator[Any]:
        """A loop from 0 to `extent`; yields its variable (or 0 where the extent is 1)."""
        if isinstance(extent, int) and extent == 1:
            yield int64(0)
            return
        variable = tirx.Var(name, "int64")
        body = self._enter()
        yield variable
        statement = self._leave(body)
        self._open[-1].append(tirx.For(variable, int64(0), int64(extent), _KINDS[kind], statement))

    @contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        """Statements under a condition."""
        body = self._enter()
        yield
        statement = self._leave(body)
        if isinstance(condition, bool):
            self._open[-1] += [statement] if condition else []
        else:
            self._open[-1].append(tirx.IfThenElse(condition, statement, None))

    def function(self, params: Sequence[Any], name: str) -> Any:
        """The finished kernel."""
        handles = list(params)
        return tirx.PrimFunc(handles, self._leave(self._open[-1], last=True)).with_attrs(
            {"global_symbol": name, "tirx.noalias": True}
        )

    def _enter(self) -> list[Any]:
        self._open.append([])
        return self._open[-1]

    def _leave(self, body: list[Any], last: bool = False) -> Any:
        if not last:
            self._open.pop()
        if not body:
            return tirx.Evaluate(int64(0))
        return body[0] if len(body) == 1 else tirx.SeqStmt(body)


def int64(value: Any) -> Any:
    """An index: Python integers become int64 constants."""
    return tirx.IntImm("int64", value) if isinstance(value, int) else value


def load(buffer: Any, index: Any, lanes: int = 1) -> Any:
    """A scalar, or `lanes` neighbours from `index` on."""
    return tirx.BufferLoad(buffer, [vector_at(index, lanes)])


def vector_at(index: Any, lanes: int) -> Any:
    """The index of `lanes` neighbours from `index` on."""
    index = int64(index)
    return index if lanes == 1 else tirx.Ramp(index, int64(1), lanes)


def spread(value: Any, lanes: int) -> Any:
    """A scalar in every lane of a vector."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def ceil_div(a: Any, b: Any) -> Any:
    """a / b rounded up, for sizes that are integers or symbolic."""
    if isinstance(a, int) and isinstance(b, int):
        return -(-a // b)
    return tirx.floordiv(int64(a) + int64(b) - int64(1), int64(b))


def divide(a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient and rest of an index by a size; a symbolic size of 0 (an empty tensor) never gets to be divided by."""
    if isinstance(b, int) and b == 1:
        return a, int64(0)
    b = int64(b) if isinstance(b, int) else tirx.max(b, int64(1))
    return tirx.floordiv(a, b), tirx.floormod(a, b)
