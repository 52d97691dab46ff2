"""What each family of ops declares, and the program while it is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from byoc_codegens.dnnl.program import Op, PostOp, Tensor

from byoc import Match, Value, reject

MOST_DIMENSIONS = 12  # DNNL_MAX_NDIMS
FLOATS = frozenset({"float32"})
BYTES = frozenset({"int8", "uint8"})
INDICES = frozenset({"int32", "int64"})


class Translation:
    """Ops of a partition as they are translated, and the tensor behind each value."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.tensors: dict[int, Tensor] = {}
        self.name = ""
        self._kept: list[Value] = []
        self._numbers: dict[tuple[float, str], Tensor] = {}

    def tensor(self, value: Value) -> Tensor:
        """The tensor that stands for a value; constants and inputs become known when first asked for."""
        key = id(value.ref) if value.is_constant and value.ref is not None else id(value)
        if key not in self.tensors:
            assert value.shape is not None
            self._kept.append(value)
            constant = np.ascontiguousarray(value.constant) if value.is_constant else None
            self.tensors[key] = Tensor(value.dtype, value.shape, constant)
        return self.tensors[key]

    def define(self, value: Value, tensor: Tensor) -> None:
        """Let a tensor stand for the result of an op."""
        self._kept.append(value)
        self.tensors[id(value)] = tensor

    def add(
        self,
        kind: str,
        inputs: Iterable[Tensor],
        shape: Any,
        *,
        algorithm: str = "",
        numbers: Mapping[str, Any] | None = None,
        scalars: Mapping[str, float] | None = None,
        dtype: str = "float32",
        scales: Mapping[str, Tensor] | None = None,
        post_ops: Iterable[PostOp] = (),
    ) -> Tensor:
        """Append an op with a result of this shape, and return the result."""
        output = Tensor(dtype, tuple(shape))
        self.ops.append(
            Op(
                kind, tuple(inputs), output, algorithm, numbers or {}, scalars or {}, tuple(post_ops), self.name,
                scales or {},
            )
        )  # fmt: skip
        return output

    def eltwise(self, algorithm: str, x: Tensor, alpha: float = 0.0, beta: float = 0.0) -> Tensor:
        return self.add("eltwise", [x], x.shape, algorithm=algorithm, scalars={"alpha": alpha, "beta": beta})

    def reshape(self, x: Tensor, shape: Any) -> Tensor:
        return self.add("reshape", [x], shape, dtype=x.dtype)

    def number(self, value: float, dtype: str = "float32") -> Tensor:
        """A constant of one element; equal ones are the same tensor."""
        return self._numbers.setdefault((value, dtype), Tensor(dtype, (1,), np.array([value], dtype)))


@dataclass(frozen=True)
class Kernel:
    """How one kind of op is judged and translated.

    `check` returns a refusal or ``None``; `translate` adds to the program and returns the tensor of the result, or of
    each result; `dtypes` are those of its tensors that oneDNN has a primitive for.
    """

    op: str
    translate: Callable[[Match, Translation], Tensor | tuple[Tensor, ...]]
    check: Callable[[Match], Any] = field(default=lambda m: None)
    dtypes: frozenset[str] = FLOATS


def refused(op: str, reason: str) -> Kernel:
    """An op that oneDNN has, but not well enough."""

    def translate(m: Match, to: Translation) -> Tensor:
        raise AssertionError(f"{op} is refused")

    return Kernel(op, translate, lambda m: reject(reason, at=m.out))


def check_tensors(m: Match, dtypes: frozenset[str] = FLOATS) -> Any:
    """What oneDNN wants of every tensor: a dtype it computes in, known rank, some elements."""
    for value in (*m.inputs, *m.outs):
        if value.dtype not in dtypes:
            return reject(f"takes {' and '.join(sorted(dtypes))} tensors, not {value.dtype}", at=value)
        if value.shape is None:
            return reject("the rank is not known", at=value)
        most = MOST_DIMENSIONS - (value.dtype == "int64")  # which moves as pairs of int32
        if value.rank > most:
            return reject(f"has more than {most} dimensions", at=value)
        if any(d == 0 for d in value.shape):
            return reject("has no elements", at=value)
    return None


def ints(m: Match, name: str) -> tuple[int, ...]:
    """An attribute that is one integer or several, as several."""
    value = m.root.attrs.get(name)
    if value is None:
        return ()
    if isinstance(value, int):
        return (value,)
    return tuple(int(v) for v in value)
