"""How keys and values are kept: bits, granularity, group, symmetry, and a transform of the keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from byoc.errors import UsageError

BITS = (2, 4, 8, 16, 32)
GRANULARITIES = ("per-token", "per-channel", "per-block", "per-tensor")
KEY_TRANSFORMS = ("none", "mean", "hadamard")
MOST_TOKENS = 1024  # that share a scale
_BASE = re.compile(r"k([0-9]+)v([0-9]+)\Z")
_OPTION = re.compile(r"(?:([kv])\.)?(.+)\Z")
_GROUP = re.compile(r"g([0-9]+)\Z")
_GRAMMAR = (
    'write k<bits>v<bits>, then options after colons, such as "k4v4:g32", "k4v2:g64:hadamard", "k2v2:k.per-channel"'
)


@dataclass(frozen=True)
class CacheFormat:
    """How the keys, or the values, of one layer are kept.

    Attributes
    ----------
    bits: 32 and 16 are floats; 8, 4 and 2 are integers that share a scale within a tile, packed into bytes.
    granularity: the tile that shares a scale.  ``per-token``: `group` channels of one token.  ``per-channel``: `group`
        tokens of one channel; tokens wait as float16 until a group is full.  ``per-block``: `group` tokens by `group`
        channels, waiting likewise.  ``per-tensor``: one scale that calibration fixed.
    group: channels or tokens per tile; 0 means the whole head.
    symmetric: integers around zero without a minimum, else ``value = scale * integer + minimum``.
    """

    bits: int
    granularity: str = "per-token"
    group: int = 32
    symmetric: bool = False

    @property
    def is_float(self) -> bool:
        return self.bits >= 16

    def tile(self, head_dim: int) -> tuple[int, int]:
        """(tokens, channels) that share a scale."""
        group = self.group or head_dim
        return {
            "per-token": (1, group),
            "per-channel": (group, 1),
            "per-block": (group, min(group, head_dim)),
            "per-tensor": (1, head_dim),
        }[self.granularity]

    def __str__(self) -> str:
        if self.is_float:
            return f"{self.bits}"
        return f"{self.bits} bits {self.granularity} g{self.group}{' symmetric' if self.symmetric else ''}"


@dataclass(frozen=True)
class FixedScale:
    """Scale and minimum of a ``per-tensor`` format, which calibration finds."""

    scale: float = 1.0
    minimum: float = 0.0


@dataclass(frozen=True)
class KVSpec:
    """The formats of keys and of values, and what is done to keys before they are quantised.

    ``mean``: the per-channel mean of the first chunk is subtracted from every key; the softmax does not see it.
    ``hadamard``: keys and queries are rotated by an orthonormal Hadamard matrix; their products stay the same.
    """

    keys: CacheFormat = CacheFormat(16)
    values: CacheFormat = CacheFormat(16)
    key_transform: str = "none"

    @classmethod
    def parse(cls, text: str) -> KVSpec:
        """From text such as ``"k4v4"``, ``"k8v4:g64:symmetric"``, ``"k2v2:g32:k.per-channel:hadamard"``.

        An option holds for keys and values, with the prefix ``k.`` or ``v.`` for one of them, and is said once.
        Raises :class:`UsageError`.
        """
        base, *options = text.strip().split(":")
        match = _BASE.match(base)
        if match is None:
            raise UsageError(f'"{text}" is no cache specification', f'it begins with "{base}"', _GRAMMAR)
        for bits in match.groups():
            if int(bits) not in BITS:
                raise UsageError(f'"{text}": a cache of {bits} bits does not exist', "", "use 2, 4, 8, 16 or 32 bits")
        said = _options(text, options)
        keys, values = (_format(int(bits), side, said) for bits, side in zip(match.groups(), "kv", strict=True))
        return cls(keys, values, said.get(("key transform", ""), "none"))

    def __str__(self) -> str:
        """The shortest text that :meth:`parse` turns into this specification."""
        parts = [f"k{self.keys.bits}v{self.values.bits}"]
        default = CacheFormat(8)
        for name in ("group", "granularity", "symmetric"):
            k, v = (getattr(f, name) for f in (self.keys, self.values))
            pairs = [("", k)] if k == v else [("k.", k), ("v.", v)]
            for prefix, value in pairs:
                if value != getattr(default, name):
                    written = {"group": f"g{value}", "granularity": value, "symmetric": "symmetric"}[name]
                    parts.append(prefix + str(written))
        if self.key_transform != "none":
            parts.append(self.key_transform)
        return ":".join(parts)


def _options(text: str, options: Iterable[str]) -> dict[tuple[str, str], str]:
    """What the options of `text` say, by what they choose and the side they hold for, ``""`` for both."""
    said: dict[tuple[str, str], str] = {}
    for option in options:
        match = _OPTION.match(option)
        side, name = (match[1] or "", match[2]) if match else ("", option)
        key = _kind(text, option, side, name), side
        if key in said:
            raise UsageError(f'"{text}": "{option}" is one option too many', f"the {key[0]} is {said[key]}", "drop one")
        said[key] = name
    return said


def _kind(text: str, option: str, side: str, name: str) -> str:
    """What an option chooses."""
    if _GROUP.match(name):
        return "group"
    if name in GRANULARITIES:
        return "granularity"
    if name in ("symmetric", "asymmetric"):
        return "symmetry"
    if name in KEY_TRANSFORMS and not side:
        return "key transform"
    raise _unknown(text, option)


def _format(bits: int, side: str, said: Mapping[tuple[str, str], str]) -> CacheFormat:
    def option(kind: str, usual: str) -> str:
        return said.get((kind, side), said.get((kind, ""), usual))

    group, symmetry = int(option("group", "g32")[1:]), option("symmetry", "asymmetric")
    return CacheFormat(bits, option("granularity", "per-token"), group, symmetry == "symmetric")


def _unknown(text: str, option: str) -> UsageError:
    known = ", ".join(("g<size>", *GRANULARITIES, "symmetric", "asymmetric"))
    return UsageError(
        f'"{text}": the option "{option}" is unknown',
        f"options are {known}, of one side with k. or v. before them; {', '.join(KEY_TRANSFORMS)}",
        _GRAMMAR,
    )


def check_fits(spec: KVSpec, head_dim: int) -> None:
    """Raise :class:`UsageError` unless heads of `head_dim` channels can be kept in this format."""
    for side, form in (("keys", spec.keys), ("values", spec.values)):
        if form.is_float:
            continue
        tokens, channels = form.tile(head_dim)
        if tokens > MOST_TOKENS:
            raise UsageError(
                f"{side} cannot be kept in groups of {tokens} tokens",
                "so many would wait as float16 until their group is full",
                f"use a group of at most {MOST_TOKENS} tokens, such as g128",
            )
        if form.group < 0 or head_dim % channels:
            raise UsageError(
                f"{side} cannot be kept in groups of {form.group}: a head has {head_dim} channels",
                "a group along the head must divide it",
                f"use a group that divides {head_dim}, such as g{largest_group(head_dim)}",
            )
        if head_dim * form.bits % 8:
            raise UsageError(
                f"{side} of {head_dim} channels at {form.bits} bits do not fill whole bytes", "", "use more bits"
            )
    if spec.key_transform == "hadamard" and head_dim & (head_dim - 1):
        raise UsageError(
            f"keys of {head_dim} channels cannot be rotated by a Hadamard matrix",
            "byoc builds those for powers of two only",
            'use the key transform "mean", or none',
        )


def largest_group(head_dim: int) -> int:
    """Channels, at most 32, that divide a head."""
    return next(g for g in (32, 16, 8, 4, 2, 1) if head_dim % g == 0)
