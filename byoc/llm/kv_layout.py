"""The bytes of a cache: for every sequence and head one region with the planes that its format needs.

A cache is ``uint8[batch, kv_heads, nbytes]``.  A region holds, each aligned to 64 bytes:

==========  ====================================================  ===============================================
plane       what it holds                                         where
==========  ====================================================  ===============================================
data        ``[capacity][head_dim]`` numbers, packed along the    always
            head, the first one in the lowest bits
scale       ``[tiles of tokens][tiles of channels]`` float16      integers, but for per-tensor
minimum     the same                                              integers with a minimum, but for per-tensor
residual    ``[tokens of a tile][head_dim]`` float16, tokens of   tiles of more than one token
            the last tile while it is not full
mean        ``[head_dim]`` float32, subtracted from every key     keys with the transform "mean"
==========  ====================================================  ===============================================
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from byoc.llm.kv_spec import CacheFormat, KVSpec

ALIGNMENT = 64


@dataclass(frozen=True)
class CacheLayout:
    """Offsets and sizes, in bytes, of the planes of one region.

    Attributes
    ----------
    form: how numbers are kept.
    head_dim: channels of a head.
    capacity: tokens that fit; a multiple of the tile's tokens.
    mean: whether the region has a plane for the keys' mean.
    """

    form: CacheFormat
    head_dim: int
    capacity: int
    mean: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of one token's numbers."""
        return self.head_dim * self.form.bits // 8

    @property
    def tile(self) -> tuple[int, int]:
        """(tokens, channels) that share a scale."""
        return self.form.tile(self.head_dim)

    @property
    def levels(self) -> int:
        """Largest stored integer; with `symmetric` the stored integer 2^(bits-1) means zero."""
        return (1 << self.form.bits) - 1

    @property
    def waits(self) -> bool:
        """Whether tokens wait as float16 until a tile is full."""
        return not self.form.is_float and self.tile[0] > 1

    @cached_property
    def _planes(self) -> dict[str, tuple[int, int]]:
        tokens, channels = self.tile
        scales = 2 * (self.capacity // tokens) * (self.head_dim // channels)
        scaled = not self.form.is_float and self.form.granularity != "per-tensor"
        sizes = {
            "data": self.capacity * self.row_bytes,
            "scale": scales if scaled else 0,
            "minimum": scales if scaled and not self.form.symmetric else 0,
            "residual": 2 * tokens * self.head_dim if self.waits else 0,
            "mean": 4 * self.head_dim if self.mean else 0,
        }
        planes, offset = {}, 0
        for name, size in sizes.items():
            planes[name] = (offset, size)
            offset += -(-size // ALIGNMENT) * ALIGNMENT
        planes["end"] = (offset, 0)
        return planes

    def offset(self, plane: str) -> int:
        """First byte of a plane in the region."""
        return self._planes[plane][0]

    def size(self, plane: str) -> int:
        """Bytes of a plane; 0 where the format has none."""
        return self._planes[plane][1]

    @property
    def nbytes(self) -> int:
        """Bytes of a region."""
        return self.offset("end")


def cache_layouts(spec: KVSpec, head_dim: int, capacity: int) -> tuple[CacheLayout, CacheLayout]:
    """Layouts of keys and of values for at least `capacity` tokens."""
    whole = 1
    for form in (spec.keys, spec.values):
        if not form.is_float:
            whole = max(whole, form.tile(head_dim)[0])
    capacity = -(-capacity // whole) * whole
    return (
        CacheLayout(spec.keys, head_dim, capacity, spec.key_transform == "mean"),
        CacheLayout(spec.values, head_dim, capacity),
    )
