"""What appending to a cache and reading it mean, in NumPy: the definition that every kernel is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import FixedScale

Array = np.ndarray[Any, Any]
NO_SCALE = FixedScale()
_FLOATS = {16: np.float16, 32: np.float32}


def append(
    layout: CacheLayout, cache: Array, new: Array, lengths: Array, counts: Array, fixed: FixedScale = NO_SCALE
) -> None:
    """Put tokens behind those that the cache holds, in place.

    Parameters
    ----------
    cache: ``uint8[batch, kv_heads, layout.nbytes]``.
    new: ``float32[batch, tokens, kv_heads, head_dim]``.
    lengths: ``int64[batch]``, tokens that each sequence holds so far.
    counts: ``int64[batch]``, how many of the tokens are real; the others are padding.
    fixed: the scale of a ``per-tensor`` format.
    """
    for b in range(cache.shape[0]):
        for h in range(cache.shape[1]):
            view, tokens, length = Region(layout, cache[b, h]), new[b, : int(counts[b]), h], int(lengths[b])
            if layout.mean:
                if length == 0 and len(tokens):
                    view.mean[:] = tokens.mean(0, dtype=np.float32)
                tokens = tokens - view.mean
            while len(tokens):
                slot = length % layout.capacity
                piece = tokens[: layout.capacity - slot]
                _append_region(view, piece, slot, fixed)
                tokens, length = tokens[len(piece) :], length + len(piece)


def read(layout: CacheLayout, region: Array, tokens: int, fixed: FixedScale = NO_SCALE) -> Array:
    """The first `tokens` tokens of one region (``uint8[layout.nbytes]``) as ``float32[tokens, head_dim]``.

    With the key transform "mean" the mean stays subtracted.
    """
    view = Region(layout, region)
    if layout.form.is_float:
        return view.floats[:tokens].astype(np.float32)
    quanta = view.unpack(tokens)
    span, channels = layout.tile
    if layout.form.granularity == "per-tensor":
        return quanta * np.float32(fixed.scale) + np.float32(_minimum(layout, fixed))
    rows = np.arange(tokens) // span
    s = np.repeat(view.scale[rows].astype(np.float32), channels, axis=1)
    low = (
        -s * np.float32(layout.levels // 2 + 1)
        if layout.form.symmetric
        else np.repeat(view.minimum[rows].astype(np.float32), channels, axis=1)
    )
    result = quanta * s + low
    if layout.waits:
        full = tokens // span * span
        result[full:] = view.residual[: tokens - full].astype(np.float32)
    return result.astype(np.float32)


def read_tile(layout: CacheLayout, region: Array, slot: int) -> Array:
    """The tokens of the full tile that begins at `slot`: float32[tokens of a tile, head_dim]."""
    view, (span, channels) = Region(layout, region), layout.tile
    quanta = view.unpack(slot + span)[slot:]
    s = np.repeat(view.scale[slot // span].astype(np.float32), channels)
    if layout.form.symmetric:
        return (quanta - np.float32(_zero(layout))) * s
    return quanta * s + np.repeat(view.minimum[slot // span].astype(np.float32), channels)


def attend(query: Array, keys: Array, values: Array, first: int, scale: float, window: int = 0) -> Array:
    """Causal attention of one sequence: ``float32[queries, heads, head_dim]``.

    Parameters
    ----------
    query: ``[queries, heads, head_dim]``; query i stands at position ``first + i``.
    keys, values: ``[kv_heads, first + queries, head_dim]``; each serves ``heads / kv_heads`` neighbouring heads.
    window: how many positions back a query sees, its own included; 0 for all.
    """
    shared = query.shape[1] // keys.shape[0]
    k, v = (np.repeat(a, shared, axis=0).astype(np.float64) for a in (keys, values))
    scores = np.einsum("qhd,htd->hqt", query.astype(np.float64), k) * scale
    here, there = first + np.arange(query.shape[0])[:, None], np.arange(k.shape[1])[None, :]
    seen = (there <= here) & ((there > here - window) if window else True)
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hqt,htd->qhd", weights, v).astype(np.float32)


class Region:
    """Views of the planes of one region; writing into them writes into the cache."""

    def __init__(self, layout: CacheLayout, memory: Array) -> None:
        self.layout, self.memory = layout, memory

    def _plane(self, name: str, dtype: Any, columns: int) -> Array:
        begin, size = self.layout.offset(name), self.layout.size(name)
        return self.memory[begin : begin + size].view(dtype).reshape(-1, columns)

    @property
    def floats(self) -> Array:
        return self._plane("data", _FLOATS[self.layout.form.bits], self.layout.head_dim)

    @property
    def packed(self) -> Array:
        return self._plane("data", np.uint8, self.layout.row_bytes)

    @property
    def scale(self) -> Array:
        return self._plane("scale", np.float16, self.layout.head_dim // self.layout.tile[1])

    @property
    def minimum(self) -> Array:
        return self._plane("minimum", np.float16, self.layout.head_dim // self.layout.tile[1])

    @property
    def residual(self) -> Array:
        return self._plane("residual", np.float16, self.layout.head_dim)

    @property
    def mean(self) -> Array:
        return self._plane("mean", np.float32, self.layout.head_dim)[0]

    def unpack(self, tokens: int) -> Array:
        """Stored integers of the first tokens, ``float32[tokens, head_dim]``."""
        bits = self.layout.form.bits
        shifts = np.arange(0, 8, bits)
        fields = (self.packed[:tokens, :, None] >> shifts) & self.layout.levels
        return fields.reshape(tokens, self.layout.head_dim).astype(np.float32)

    def pack(self, first: int, quanta: Array) -> None:
        """Store integers (``[tokens, head_dim]``) from token `first` on."""
        bits = self.layout.form.bits
        fields = quanta.astype(np.uint8).reshape(quanta.shape[0], -1, 8 // bits)
        shifted = fields << np.arange(0, 8, bits, dtype=np.uint8)
        self.packed[first : first + quanta.shape[0]] = np.bitwise_or.reduce(shifted, axis=-1)


def quantise_tile(layout: CacheLayout, tile: Array) -> tuple[Array, np.float16, np.float16]:
    """Round to nearest, ties to even: integers, scale and minimum of numbers that share them.

    Scale and minimum are rounded to float16 first, so that the integers fit what is stored.
    """
    tile = tile.astype(np.float32)
    if layout.form.symmetric:
        half = layout.levels // 2
        s = np.float16(np.abs(tile).max() / np.float32(half))
        low = np.float32(s) * -np.float32(half + 1)
    else:
        s = np.float16((tile.max() - tile.min()) / np.float32(layout.levels))
        low = np.float32(np.float16(tile.min()))
    return _quantise(layout, tile, np.float32(s), low), s, np.float16(low)


def _quantise(layout: CacheLayout, numbers: Array, s: np.float32, low: Any) -> Array:
    inverse = np.float32(1) / s if s > 0 else np.float32(0)
    lowest = 1 if layout.form.symmetric else 0
    steps = np.rint((numbers - np.float32(low)) * inverse) if s > 0 else np.full(numbers.shape, float(_zero(layout)))
    return np.clip(steps, lowest, layout.levels)


def _zero(layout: CacheLayout) -> int:
    return layout.levels // 2 + 1 if layout.form.symmetric else 0


def _minimum(layout: CacheLayout, fixed: FixedScale) -> float:
    return -fixed.scale * (layout.levels // 2 + 1) if layout.form.symmetric else fixed.minimum


def _append_region(view: Region, new: Array, slot: int, fixed: FixedScale) -> None:
    layout = view.layout
    if layout.form.is_float:
        view.floats[slot : slot + len(new)] = new
    elif layout.form.granularity == "per-tensor":
        view.pack(slot, _quantise(layout, new, np.float32(fixed.scale), _minimum(layout, fixed)))
    elif layout.waits:
        _append_waiting(view, new, slot)
    else:
        _store_tile(view, slot, new)


def _append_waiting(view: Region, new: Array, length: int) -> None:
    span = view.layout.tile[0]
    for i, token in enumerate(new):
        place = (length + i) % span
        view.residual[place] = token
        if place == span - 1:
            _store_tile(view, length + i + 1 - span, view.residual.astype(np.float32))


def _store_tile(view: Region, first: int, tokens: Array) -> None:
    """Quantise whole tiles, from token `first` on."""
    layout = view.layout
    span, channels = layout.tile
    for row in range(0, len(tokens), span):
        quanta = np.empty((span, layout.head_dim), np.float32)
        for group in range(layout.head_dim // channels):
            part = slice(group * channels, (group + 1) * channels)
            quanta[:, part], s, low = quantise_tile(layout, tokens[row : row + span, part])
            view.scale[(first + row) // span, group] = s
            if not layout.form.symmetric:
                view.minimum[(first + row) // span, group] = low
        view.pack(first + row, quanta)
