"""What each input of a model with a past stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from byoc.errors import UnsupportedModelError
from byoc.llm.from_onnx.graph import shape_of
from byoc.tensor_spec import TensorSpec

Array = np.ndarray[Any, Any]
_STEERING = ("position", "mask", "seqlens", "total_sequence_length")


class Roles:
    """The inputs that hold tokens and a past, and those that follow from how many there are.

    Attributes
    ----------
    ids: the parameter of token ids, int[batch, tokens].
    pasts: the parameters of keys and values.
    batch, tokens: extents of `ids`: symbols, or a number for a batch that is fixed.
    sizing: parameters whose shapes say how many tokens are new and how long the past is.

    Raises :class:`UnsupportedModelError` for an input of another kind.
    """

    def __init__(self, params: Sequence[Any], specs: Sequence[TensorSpec]) -> None:
        self._names = {param: spec.name for param, spec in zip(params, specs, strict=True)}
        self.pasts = [p for p in params if _is_past(p, self._names[p])]
        self._kinds: dict[Any, str] = {}
        ids = []
        for param in params:
            kind = next((k for k in _STEERING if k in self._names[param].lower()), "")
            if _is_integer(param) and kind:
                self._kinds[param] = kind
            elif _is_integer(param) and len(shape_of(param) or ()) == 2:
                ids.append(param)
            elif param not in set(self.pasts):
                raise UnsupportedModelError(
                    f'the input "{self._names[param]}" is none that a session of a language model gives',
                    "it gives token ids, positions, a mask, and keys and values of the past",
                    "compile the model without --kv and --context",
                )
        if len(ids) != 1 or not self.pasts:
            raise UnsupportedModelError(
                f"the model has {len(ids)} inputs of token ids and {len(self.pasts)} of a past",
                "a cache takes the place of inputs such as past_key_values.0.key",
                "export the model with its past as inputs (use_cache), or compile it without --kv and --context",
            )
        self.ids = ids[0]
        extents: list[Any] = shape_of(self.ids) or [1, 1]
        self.batch, self.tokens = extents
        if isinstance(self.tokens, int):
            raise UnsupportedModelError(
                f'the input "{self._names[self.ids]}" has {self.tokens} tokens, always',
                "a session reads chunks of any length",
                "export the model with a symbolic length",
            )
        self.sizing = [self.pasts[0], self.ids]
        self._past = (shape_of(self.pasts[0]) or [0, 0])[-2]

    def name_of(self, param: Any) -> str:
        """What the model calls it."""
        return self._names[param]

    def steers(self, param: Any) -> bool:
        """Whether a parameter follows from the numbers of tokens."""
        return param in self._kinds

    def sizes(self, batch: int, count: int, past: int) -> dict[Any, int]:
        """Sizes of the symbols when there are `count` new tokens behind `past`."""
        found = {self.batch: batch, self.tokens: count, self._past: past}
        for param, kind in self._kinds.items():
            extents = shape_of(param) or [0]
            if kind == "mask":
                found.setdefault(extents[-1], past + count)
        return {symbol: size for symbol, size in found.items() if isinstance(symbol, relax.Var)}

    def value(self, param: Any, batch: int, count: int, past: int) -> Array:
        """A steering parameter for `count` new tokens behind `past`; an empty past to take sizes from."""
        kind, rank = self._kinds.get(param, ""), len(shape_of(param) or ())
        if kind == "position":
            return np.broadcast_to(past + np.arange(count), (batch, count))
        if kind == "mask" and rank == 2:
            return np.ones((batch, past + count), np.int64)
        if kind == "seqlens":
            return np.full((batch,) if rank == 1 else (batch, 1), past + count - 1)
        if kind == "total_sequence_length":
            return np.full((1,) * rank, past + count)
        if kind:
            raise UnsupportedModelError(f'the input "{self._names[param]}" has {rank} dimensions', "a mask has two")
        sizes = self.sizes(batch, count, past)
        return np.zeros([d if isinstance(d, int) else sizes[d] for d in shape_of(param) or ()], np.float32)


def _is_integer(param: Any) -> bool:
    return str(param.ty.dtype).removeprefix("T.") in ("int32", "int64")


def _is_past(param: Any, name: str) -> bool:
    return not _is_integer(param) and "past" in name.lower() and len(shape_of(param) or ()) in (4, 5)
