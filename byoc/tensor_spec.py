"""Name, dtype and shape of one tensor at the edge of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    ``shape`` holds ints and, for a dimension known only at run time, a string: a name (``"batch"``) or an expression
    over names that other inputs define (``"2*n"``).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TensorSpec:
        """Inverse of :meth:`to_json`; raises ``ValueError`` or ``KeyError`` where a field is missing or ill-typed."""
        name, dtype, shape = value["name"], value["dtype"], value["shape"]
        if not isinstance(name, str) or not isinstance(dtype, str) or not isinstance(shape, list):
            raise ValueError(f"not a tensor description: {value!r}")
        for dim in shape:
            if isinstance(dim, bool) or not isinstance(dim, (int, str)) or (isinstance(dim, int) and dim < 0):
                raise ValueError(f"dimension {dim!r} of {name!r} is neither a size nor a name")
        return cls(name, dtype, tuple(shape))

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(str(dim) for dim in self.shape)}]"
