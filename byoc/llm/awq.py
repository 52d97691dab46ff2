"""Integer weights by what activations make important: AWQ (2306.00978, section 3.2) with the clipping of its code.

Inputs that are large on a calibration text matter more.  Their weights are multiplied by a scale before they are
rounded, and what comes before, a norm or a linear layer, is divided by it, so that the model computes the same.  The
exponent of the scale is searched on the layers' outputs.  Then each group's range is cut where that lessens the error
of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from byoc.llm.tensors import ModelTensors
from byoc.llm.weights import WeightSpec, group_of, round_to_nearest
from byoc.ops.linear import unpack

Array = np.ndarray[Any, Any]
Rounded = Callable[[Array], Array]
_EXPONENTS = tuple(i / 20 for i in range(20))
_SHRINKS = tuple(1 - i / 20 for i in range(10))
_MOST_TOKENS = 512  # that the search compares outputs on


class ActivationAware:
    """Quantises the layers of one model; what it finds goes into `tensors`.

    What goes into linear layers is given by the layers' names, float32[..., inputs].
    Raises :class:`UsageError` as :func:`group_of` does.
    """

    def __init__(self, tensors: ModelTensors, spec: WeightSpec) -> None:
        config = tensors.config
        for inputs in (config.hidden, config.heads * config.head_dim, config.intermediate):
            group_of(inputs, spec.group)
        self.tensors, self.spec = tensors, spec

    def block(self, i: int, inputs: Mapping[str, Array]) -> None:
        """Quantise layer i."""
        for name, x in self.fold_block(i, inputs).items():
            # Cutting ranges of queries and keys would change the attention's scores too much, says the paper's code.
            self._pack(name, x, clipped=name.rsplit(".", 1)[-1] not in ("q", "k"))

    def last(self, inputs: Mapping[str, Array]) -> None:
        """Quantise the output layer."""
        for name, x in self.fold_last(inputs).items():
            self._pack(name, x, clipped=True)

    def fold_block(self, i: int, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Scale what layer i computes with, in floats; a sample of what then goes into its linear layers."""
        at = f"layers.{i}"
        seen = {name: _sample(x) for name, x in inputs.items()}
        self._scale([f"{at}.{n}" for n in "qkv"], seen, self._divide_norm(f"{at}.input_norm"))
        self._scale([f"{at}.o"], seen, self._divide_values(at), self._shared_by_heads)
        self._scale([f"{at}.gate", f"{at}.up"], seen, self._divide_norm(f"{at}.post_norm"))
        self._scale([f"{at}.down"], seen, self._divide_rows(f"{at}.up"))
        return seen

    def fold_last(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The same of the last norm and the output layer."""
        seen = {"logits": _sample(inputs["logits"])}
        self._scale(["logits"], seen, self._divide_norm("final_norm"))
        return seen

    def _scale(
        self,
        names: Sequence[str],
        seen: dict[str, Array],
        divide: Callable[[Array], None],
        tie: Callable[[Array], Array] = lambda scale: scale,
    ) -> None:
        """Scale the inputs that the layers of these names share; `tie` makes scales equal that must be."""
        weights = [self.tensors.floats(name) for name in names]
        x = seen[names[0]]
        scale = find_scale(weights, x, self._rounded, tie)
        divide(scale)
        for name, weight in zip(names, weights, strict=True):
            self.tensors.replace(name, weight * scale)
            seen[name] = x / scale

    def _divide_norm(self, name: str) -> Callable[[Array], None]:
        return lambda scale: self.tensors.replace(name, self.tensors.floats(name) / scale)

    def _divide_rows(self, name: str) -> Callable[[Array], None]:
        def divide(scale: Array) -> None:
            self.tensors.replace(name, self.tensors.floats(name) / scale[:, None])
            bias = self.tensors.bias(name)
            if bias is not None:
                self.tensors.replace(f"{name}.bias", bias / scale)

        return divide

    def _divide_values(self, at: str) -> Callable[[Array], None]:
        """Attention weights sum to one, so that the mix of divided values, bias included, is the mix divided."""
        config = self.tensors.config
        divide = self._divide_rows(f"{at}.v")

        def first_of_each_group(scale: Array) -> None:
            heads = scale.reshape(config.kv_heads, -1, config.head_dim)
            divide(np.ascontiguousarray(heads[:, 0]).reshape(-1))

        return first_of_each_group

    def _shared_by_heads(self, scale: Array) -> Array:
        """Heads that share values share their scales: the geometric mean."""
        config = self.tensors.config
        heads = scale.reshape(config.kv_heads, -1, config.head_dim)
        tied = np.exp(np.log(heads).mean(1, keepdims=True))
        return np.asarray(np.broadcast_to(tied, heads.shape).reshape(-1))

    def _rounded(self, weight: Array) -> Array:
        packed = round_to_nearest(weight, self.spec.bits, self.spec.group)
        return unpack(packed.packed, packed.scale, packed.zero, packed.bits)

    def _pack(self, name: str, x: Array, *, clipped: bool) -> None:
        weight = self.tensors.floats(name)
        if clipped:
            weight = clip_groups(weight, x, self._rounded, group_of(weight.shape[1], self.spec.group))
        self.tensors.pack(name, round_to_nearest(weight, self.spec.bits, self.spec.group))


def find_scale(
    weights: Sequence[Array], x: Array, rounded: Rounded, tie: Callable[[Array], Array] = lambda scale: scale
) -> Array:
    """The scale of each input with which the rounded layers come closest to the float ones: float32[inputs].

    Parameters
    ----------
    weights: float32[outputs, inputs], layers that share their inputs.
    x: float32[tokens, inputs].
    rounded: what a weight is after it was quantised.
    """
    importance = np.maximum(np.abs(x).mean(0), 1e-4)
    best, least = np.ones(x.shape[1], np.float32), np.inf
    for exponent in _EXPONENTS:
        scale = tie(importance**exponent)
        scale = (scale / np.sqrt(scale.max() * scale.min())).astype(np.float32)
        error = sum(float(np.square(x @ (rounded(w * scale) / scale - w).T).sum()) for w in weights)
        if error < least:
            best, least = scale, error
    return best


def clip_groups(weight: Array, x: Array, rounded: Rounded, group: int) -> Array:
    """The weight with each group's range cut where the layer's outputs on `x` come closer to the float ones."""
    outputs = len(weight)
    parts = np.ascontiguousarray(x.reshape(len(x), -1, group).transpose(1, 0, 2))
    products = parts.transpose(0, 2, 1) @ parts
    most = np.abs(weight).reshape(outputs, -1, group).max(-1)
    best, least = most, np.full(most.shape, np.inf, np.float32)
    for shrink in _SHRINKS:
        cut = most * np.float32(shrink)
        limit = np.repeat(cut, group, axis=1)
        lost = (rounded(np.clip(weight, -limit, limit)) - weight).reshape(outputs, -1, group)
        by_group = np.ascontiguousarray(lost.transpose(1, 0, 2))
        # The squared error of an output on all tokens is d' X'X d, for each group by itself.
        error = (by_group @ products * by_group).sum(-1).T
        best, least = np.where(error < least, cut, best), np.minimum(error, least)
    limit = np.repeat(best, group, axis=1)
    return np.asarray(np.clip(weight, -limit, limit))


def _sample(x: Array) -> Array:
    rows = x.reshape(-1, x.shape[-1])
    places = np.linspace(0, len(rows) - 1, min(len(rows), _MOST_TOKENS)).astype(np.int64)
    return np.ascontiguousarray(rows[places], dtype=np.float32)
