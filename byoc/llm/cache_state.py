"""The caches of one batch of sequences: how long each is, cutting them back, files."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byoc.artifact.writer import write_atomically
from byoc.errors import ArtifactError, InputError
from byoc.llm import kv_reference
from byoc.llm.kv_layout import CacheLayout, cache_layouts
from byoc.llm.settings import parse_kv
from byoc.runtime.state import State

Array = np.ndarray[Any, Any]
_LENGTHS, _MODEL = "lengths", "model"


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
        if length < 0 or length > self.lengths.min():
            raise InputError(
                f"sequences of {self.lengths.tolist()} tokens cannot be cut to {length}", "", "give a smaller number"
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
        buffer = io.BytesIO()
        members: dict[str, Any] = {**self.state.arrays, _LENGTHS: self.lengths, _MODEL: np.array(self.state.model)}
        np.savez(buffer, **members)
        write_atomically(Path(path), [buffer.getvalue()])

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Take the caches from a file that :meth:`save` wrote."""
        arrays = _read(Path(path))
        model = str(arrays.get(_MODEL, ""))
        if model != self.state.model:
            raise ArtifactError(
                f"{os.fspath(path)} holds the state of another model",
                f"it was saved for {model[:12] or 'none'}, this is {self.state.model[:12]}",
                "restore it with the artifact that it was saved from",
            )
        lengths = arrays.get(_LENGTHS)
        for name, array in self.state.arrays.items():
            found = arrays.get(name)
            if found is None or found.shape != array.shape or found.dtype != array.dtype:
                raise _damaged(path, f'"{name}" is missing or has another shape')
        if lengths is None or lengths.shape != self.lengths.shape or lengths.dtype != np.int64:
            raise _damaged(path, "it does not say how long the sequences are")
        if lengths.min() < 0 or lengths.max() > int(self.facts["context"]):
            raise _damaged(path, f"sequences of {lengths.tolist()} tokens do not fit the context")
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


def _read(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read", error.strerror or str(error), "check the path") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: str | os.PathLike[str], why: str) -> ArtifactError:
    return ArtifactError(f"{os.fspath(path)} is no saved state, or is damaged", why, "save the state again")
