"""An operand of a matrix product: where its elements lie, and how its batch is broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from byoc_codegens.csource.c_text import product, row_strides

from byoc import Value


@dataclass(frozen=True)
class Operand:
    """A stack of matrices in memory.

    Attributes
    ----------
    value: the tensor in memory.
    shape: [batch..., rows, columns] as the product sees it, after a transpose and with a vector made a matrix.
    strides: of those axes, in elements.
    axes: order of the tensor's own axes that gives `shape`.
    """

    value: Value
    shape: tuple[Any, ...]
    strides: tuple[Any, ...]
    axes: tuple[int, ...]

    @property
    def batch(self) -> tuple[Any, ...]:
        """Its batch axes."""
        return self.shape[:-2]

    @property
    def is_row_major(self) -> bool:
        """Whether its elements lie in the order of `shape`."""
        return list(self.axes) == sorted(self.axes)

    def array(self) -> np.ndarray:
        """A constant's elements as floats, [batch, rows, columns]."""
        assert self.value.constant is not None
        array = self.value.constant.astype("float32").transpose(self.axes)
        return array.reshape(product(self.batch), *self.shape[-2:])


def operand_of(value: Value, tensor: Value, right: bool) -> Operand:
    """The operand that `value` is for the product; `tensor` is it, or what `value` transposes."""
    assert tensor.shape is not None
    axes = tuple(range(len(tensor.shape)))
    if tensor is not value:
        axes = tuple(a % len(axes) for a in value.attrs["axes"] or reversed(axes))
    own = row_strides(tensor.shape)
    shape, strides = [tensor.shape[a] for a in axes], [own[a] for a in axes]
    if len(shape) == 1:
        shape.insert(1 if right else 0, 1)
        strides.insert(1 if right else 0, 1 if right else shape[1])
    return Operand(tensor, tuple(shape), tuple(strides), axes)


def batch_strides(operand: Operand, batch: Sequence[Any], unit: Any = None) -> list[Any] | None:
    """Strides of an operand along the result's batch axes, 0 where it is broadcast.

    They are in elements; with `unit` given, the operand's matrices lie one after the other, `unit` apart.  ``None``
    where it is known only at run time whether an axis is broadcast.
    """
    own = list(operand.strides[:-2]) if unit is None else [s * unit for s in row_strides(operand.batch)]
    missing = len(batch) - len(operand.batch)
    strides: list[Any] = [0] * missing
    for extent, size, stride in zip(batch[missing:], operand.batch, own, strict=True):
        if isinstance(size, int) and size == 1:
            strides.append(0)
        elif extent == size:
            strides.append(stride)
        else:
            return None
    return strides
