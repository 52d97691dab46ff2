"""A partition as a codegen's `emit` sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byoc.codegen import Match
from byoc.graph import Value


@dataclass(frozen=True)
class PartitionFunction:
    """One partition, ready to be emitted.

    Attributes
    ----------
    symbol: name of the function to define, ``__tvm_ffi_<symbol>`` in C.
    entry: entry function that it belongs to.
    matches: its composites in topological order.
    inputs: tensors passed in, in argument order.
    shape_args: names of symbolic dimensions that no input's shape gives; passed as one shape argument after the inputs.
    outputs: tensors to write, passed after the inputs (destination-passing style).
    updated: inputs that are updated in place, by index: ``(result, input)`` says that the function's result number
        `result` is input number `input`, so that it is not among `outputs`.
    constants: constants that the matches read, each once.
    options: the codegen's options with their values.
    function: the Relax function; calling it on the host is the partition's reference.
    """

    symbol: str
    entry: str
    matches: tuple[Match, ...]
    inputs: tuple[Value, ...]
    shape_args: tuple[str, ...]
    outputs: tuple[Value, ...]
    constants: tuple[Value, ...]
    options: Mapping[str, Any]
    function: Any
    updated: tuple[tuple[int, int], ...] = ()
