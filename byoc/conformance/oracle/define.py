"""What a family of definitions is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]
Attrs = Mapping[str, Any]
Function = Callable[[Arrays, Attrs], Any]


def _one_term(arrays: Arrays, result: Any) -> int:
    return 1


def reduced_terms(arrays: Arrays, result: Any) -> int:
    """How many elements of the first input go into one of the result."""
    first = result[0] if isinstance(result, tuple) else result
    return max(1, arrays[0].size // max(1, np.asarray(first).size))


def _no_slack(arrays: Arrays, attrs: Attrs) -> float:
    return 0.0


@dataclass(frozen=True)
class Definition:
    """An op in numpy.

    Attributes
    ----------
    function: of the inputs and the attributes as ``relax.op`` takes them.
    kind: which errors an implementation may make; see :func:`byoc.conformance.tolerance.single_op`.
    terms: length of the sums in it.
    slack: what every element may be off beyond that, where the op leaves implementations a choice.
    """

    function: Function
    kind: str = "exact"
    terms: Callable[[Arrays, Any], int] = _one_term
    slack: Callable[[Arrays, Attrs], float] = _no_slack


def wide(array: np.ndarray) -> np.ndarray:
    """Floats in float64; everything else as it is."""
    return array.astype(np.float64) if array.dtype.kind not in "iub" else array


def per_axis(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A vector along one axis of a tensor of that rank; scalars stay scalars."""
    if values.ndim == 0:
        return values
    shape = [1] * rank
    shape[axis] = values.shape[0]
    return values.reshape(shape)
