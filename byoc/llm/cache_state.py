"""The caches of one batch of sequences: how long each is, cutting them back, files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import InputError
from byoc.llm import kv_reference
from byoc.llm.kv_layout import CacheLayout, cache_layouts
from byoc.llm.settings import parse_kv
from byoc.llm.state_file import damaged, read_state, write_state
from byoc.runtime.state import State

Array = np.ndarray[Any, Any]
_LENGTHS = "lengths"


class CacheState:
    """A state of a language model, and the tokens that each sequence holds in it.

    `facts` are those of the manifest.
    """

    def __init__(self, state: State, facts: Mapping[str, Any]) -> None:
        self.state, self.facts = state, facts
        self.lengths: Array = np.zeros(int(facts["batch"]), np.int64)
        self.windows = [int(w) for w in facts["windows"]]
        self.layouts = state_layouts(facts)

    @property
    def nbytes(self) -> int:
        """Bytes that the caches take, scales and padding included."""
        return self.state.nbytes

    def copy(self) -> CacheState:
        twin = CacheState(self.state.copy(), self.facts)
        twin.lengths = self.lengths.copy()
        return twin

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens of every sequence."""
        if not isinstance(length, (int, np.integer)) or length < 0 or length > self.lengths.min():
            raise InputError(
                f"sequences of {self.lengths.tolist()} tokens cannot be cut to {length}",
                "",
                f"give a whole number, up to {self.lengths.min()}",
            )
        for (layout, _), window in zip(self.layouts, self.windows, strict=True):
            oldest = self.lengths.max() - layout.capacity  # tokens before this one were written over
            if window and oldest > max(0, length - window + 1):
                raise InputError(
                    f"sequences of {self.lengths.tolist()} tokens cannot be cut to {length}",
                    f"a layer with a window of {window} keeps the last {layout.capacity} tokens only",
                    "reset the session and read the tokens again",
                )
        for layer, pair in enumerate(self.layouts):
            for name, layout in zip(("keys", "values"), pair, strict=True):
                if layout.waits:
                    self._reopen_tiles(self.state.arrays[f"{name}.{layer}"], layout, length)
        self.lengths = np.full_like(self.lengths, length)

    def _reopen_tiles(self, cache: Array, layout: CacheLayout, length: int) -> None:
        """Where the cut goes through a full tile, its first tokens wait as float16 again."""
        span = layout.tile[0]
        first = length // span * span
        for b, held in enumerate(self.lengths):
            if length % span == 0 or held // span * span <= first:
                continue
            for h in range(cache.shape[1]):
                view = kv_reference.Region(layout, cache[b, h])
                slot = first % layout.capacity
                tokens = kv_reference.read_tile(layout, cache[b, h], slot)
                view.residual[: length - first] = tokens[: length - first]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the caches as ``.npz``, whole or not at all."""
        write_state(Path(path), {**self.state.arrays, _LENGTHS: self.lengths}, self.state.model)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Take the caches from a file that :meth:`save` wrote.

        Raises :class:`ArtifactError` for another file, or another model's; the caches are then as they were.
        """
        wanted = {**self.state.arrays, _LENGTHS: self.lengths}
        arrays = read_state(Path(path), wanted, self.state.model)
        lengths = arrays[_LENGTHS]
        if lengths.min() < 0 or lengths.max() > int(self.facts["context"]):
            raise damaged(path, f"sequences of {lengths.tolist()} tokens do not fit the context")
        with self.state.lock:
            for name, array in self.state.arrays.items():
                array[...] = arrays[name]
        self.lengths = lengths.copy()


def state_layouts(facts: Mapping[str, Any]) -> list[tuple[CacheLayout, CacheLayout]]:
    """The caches' layouts by layer, from the facts in a manifest."""
    layers, head_dim = int(facts["layers"]), int(facts["head_dim"])
    specs = parse_kv(str(facts["kv"]), layers)
    result = []
    for layer, window in enumerate(facts["windows"]):
        spec = specs[layer] if isinstance(specs, tuple) else specs
        capacity = int(facts["context"])
        if window:
            capacity = min(capacity, int(window) + int(facts["chunk"]))
        result.append(cache_layouts(spec, head_dim, capacity))
    return result
