"""Ops that move values and compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition


def _flatten(arrays: Arrays, _: Attrs) -> Any:
    return arrays[0].reshape(-1)


def _slice(arrays: Arrays, attrs: Attrs) -> Any:
    """A begin or end below zero counts from the end of the axis; what lies outside is cut off."""
    x = arrays[0]
    index = [slice(None)] * x.ndim
    strides = attrs.get("strides") or [1] * len(attrs["axes"])
    for axis, begin, end, stride in zip(attrs["axes"], attrs["begin"], attrs["end"], strides, strict=True):
        whole = stride < 0 and end < -x.shape[axis]
        index[axis] = slice(begin, None if whole else end, stride)
    return x[tuple(index)]


def _split(arrays: Arrays, attrs: Attrs) -> Any:
    return tuple(np.split(arrays[0], attrs["indices_or_sections"], attrs.get("axis", 0)))


def _pad(arrays: Arrays, attrs: Attrs) -> Any:
    width = attrs["pad_width"]
    pairs = [(width[2 * i], width[2 * i + 1]) for i in range(arrays[0].ndim)]
    mode = attrs.get("pad_mode", "constant")
    if mode == "constant":
        return np.pad(arrays[0], pairs, constant_values=attrs.get("pad_value", 0.0))
    pad: Any = np.pad
    return pad(arrays[0], pairs, mode={"reflect": "reflect", "edge": "edge", "circular": "wrap"}[mode])


def _repeat(arrays: Arrays, attrs: Attrs) -> Any:
    return np.repeat(arrays[0], attrs["repeats"], attrs.get("axis"))


OPS: dict[str, Definition] = {
    "reshape": Definition(lambda a, t: a[0].reshape(t["shape"])),
    "flatten": Definition(_flatten),
    "nn.batch_flatten": Definition(lambda a, _: a[0].reshape(a[0].shape[0], -1)),
    "squeeze": Definition(lambda a, t: np.squeeze(a[0], None if t.get("axis") is None else tuple(t["axis"]))),
    "expand_dims": Definition(lambda a, t: np.expand_dims(a[0], tuple(t["axis"]))),
    "permute_dims": Definition(lambda a, t: np.transpose(a[0], t.get("axes"))),
    "strided_slice": Definition(_slice),
    "split": Definition(_split),
    "flip": Definition(lambda a, t: np.flip(a[0], t["axis"])),
    "concat": Definition(lambda a, t: np.concatenate(list(a), t.get("axis", 0))),
    "stack": Definition(lambda a, t: np.stack(list(a), t.get("axis", 0))),
    "broadcast_to": Definition(lambda a, t: np.broadcast_to(a[0], t["shape"]).copy()),
    "tile": Definition(lambda a, t: np.tile(a[0], t["repeats"])),
    "repeat": Definition(_repeat),
    "nn.pad": Definition(_pad),
}
