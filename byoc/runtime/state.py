"""State: tensors that live across calls and that entry functions update in place."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.artifact.dtypes import numpy_dtype
from byoc.errors import UsageError
from byoc.runtime.tensors import aligned_empty, tensor_from_numpy
from byoc.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from tvm_ffi import Tensor

Array = np.ndarray[Any, Any]


class State:
    """One set of an artifact's state tensors, zero at first.

    A session has one of its own; `Session.new_state` makes more, one for each conversation, say.  Calls on the same
    state wait for each other.

    Attributes
    ----------
    arrays: the tensors by name; writing into them changes the state.
    model: the digest of the model and the codegens that the state belongs to.
    """

    def __init__(self, specs: Sequence[TensorSpec], model: str) -> None:
        self.model = model
        self.specs = tuple(specs)
        self.arrays: dict[str, Array] = {}
        for spec in specs:
            array = aligned_empty(tuple(int(d) for d in spec.shape), numpy_dtype(spec.dtype))
            array.reshape(-1).view(np.uint8)[:] = 0
            self.arrays[spec.name] = array
        self._tensors = {s.name: tensor_from_numpy(self.arrays[s.name], s.dtype) for s in specs}
        self.lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return sum(array.nbytes for array in self.arrays.values())

    def reset(self) -> None:
        """Make every tensor zero."""
        with self.lock:
            for array in self.arrays.values():
                array.reshape(-1).view(np.uint8)[:] = 0

    def copy(self) -> State:
        """A second state that begins where this one stands."""
        twin = State(self.specs, self.model)
        with self.lock:
            for name, array in self.arrays.items():
                twin.arrays[name][...] = array
        return twin

    def tensors(self, names: Sequence[str]) -> list[Tensor]:
        """The tensors of these names, as arguments of a call."""
        return [self._tensors[name] for name in names]


def require_state_of(state: State, model: str, specs: Sequence[TensorSpec]) -> None:
    """Raise :class:`UsageError` unless the state was made for this model."""
    if state.model == model and state.specs == tuple(specs):
        return
    raise UsageError(
        "the state belongs to another model",
        f"it has {len(state.specs)} tensors of {state.nbytes:,} bytes for model {state.model[:12]}",
        "make one with new_state() of this session",
    )
