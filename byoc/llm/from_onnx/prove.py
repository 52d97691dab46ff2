"""Show by running it that a part of a model is causal attention, or a count of tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.errors import UnsupportedModelError
from byoc.llm import kv_reference
from byoc.llm.from_onnx.attention import Attention
from byoc.llm.from_onnx.graph import Bindings, same_extent, shape_of
from byoc.llm.from_onnx.probe import Part, sized
from byoc.llm.from_onnx.roles import Roles

Array = np.ndarray[Any, Any]
_TOLERANCE = {"float32": 1e-4, "float16": 2e-2}


class Prover:
    """Checks on one model, for sessions of at most `context` tokens."""

    def __init__(self, graph: Bindings, roles: Roles, context: int) -> None:
        self.graph, self.roles = graph, roles
        most = max(context - 1, 1)
        # (new tokens, past tokens): a first chunk, a step far on, a chunk far on, a chunk behind a few
        self.sizes = [(min(3, context), 0), (1, most), (min(4, context), max(context - 4, 0)), (2, min(3, most))]
        self._windows: dict[str, int] = {}
        self._counted: dict[Any, str] = {}

    def window(self, attention: Attention) -> int:
        """How many positions back its queries see, 0 for all.

        Raises :class:`UnsupportedModelError` where it is something else than causal attention.
        """
        sides = (attention.keys, attention.values)
        cuts = [attention.query, *(s.new for s in sides), *dict.fromkeys(s.past for s in sides)]
        part = Part(self.graph, attention.result, cuts, self.roles.sizing)
        for param in part.params:
            if not self.roles.steers(param):
                raise UnsupportedModelError(
                    f"{self.graph.node(attention.result)} changes scores by something that depends on "
                    f'"{self.roles.name_of(param)}"',
                    "attention over a cache is softmax(scale q k' + causal mask) v",
                    "compile the model without --kv and --context, with its past as inputs",
                )
        key = part_key(part) + f"{attention.scale!r}"
        if key not in self._windows:
            self._windows[key] = self._proven(part, attention)
        return self._windows[key]

    def _proven(self, part: Part, attention: Attention) -> int:
        window = self._visible(part, attention)
        for count, past in self.sizes:
            feeds, arrays = self._feeds(part, attention, count, past, np.random.default_rng(count))
            q, k, v = arrays
            wanted = np.stack([
                kv_reference.attend(
                    q[b].transpose(1, 0, 2), k[b], v[b], past, attention.scale, window
                ).transpose(1, 0, 2)
                for b in range(len(q))
            ])  # fmt: skip
            found = part.run(feeds).astype(np.float32)
            tolerance = _TOLERANCE.get(str(attention.query.ty.dtype).removeprefix("T."), 1e-4)
            if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=tolerance, atol=tolerance):
                raise UnsupportedModelError(
                    f"{self.graph.node(attention.result)} is not causal attention: {count} tokens behind {past} differ "
                    f"by {np.abs(found - wanted).max() if found.shape == wanted.shape else 'their shape'}",
                    "attention over a cache is softmax(scale q k' + causal mask) v",
                    "compile the model without --kv and --context, with its past as inputs",
                )
        return window

    def _visible(self, part: Part, attention: Attention) -> int:
        """The window: equal scores give the last of many positions a weight of one over those that are seen."""
        count, past = 1, self.sizes[1][1]
        feeds, (_, _, v) = self._feeds(part, attention, count, past, np.random.default_rng(0))
        for var in (attention.query, attention.values.new):
            feeds[var] = np.full_like(feeds[var], float(var is attention.values.new))
        feeds[attention.values.past] = np.zeros_like(feeds[attention.values.past])
        share = float(part.run(feeds).reshape(-1)[0])
        seen = round(1 / share) if share > 0 else 0
        return 0 if seen == v.shape[2] else seen

    def _feeds(
        self, part: Part, attention: Attention, count: int, past: int, random: np.random.Generator
    ) -> tuple[dict[Any, Array], tuple[Array, Array, Array]]:
        """Arrays for the inputs of a part; queries, and keys and values of past and new tokens."""
        sizes = self.roles.sizes(1, count, past)
        feeds = {var: self.roles.value(var, 1, count, past) for var in part.inputs if self.roles.steers(var)}
        for var in part.inputs:
            if var not in feeds:
                feeds[var] = random.standard_normal(sized(var, sizes)).astype(np.float32)
        for var in part.cuts:  # as the model's type rounds them
            if str(var.ty.dtype).endswith("float16"):
                feeds[var] = feeds[var].astype(np.float16).astype(np.float32)
        k, v = (np.concatenate([feeds[s.past], feeds[s.new]], 2) for s in (attention.keys, attention.values))
        return feeds, (feeds[attention.query], k, v)

    def counted(self, var: Any) -> str:
        """``"positions"`` where `var` holds where each new token stands, ``"lengths"`` where it holds how many stand
        before; empty for anything else."""
        if var not in self._counted:
            self._counted[var] = self._count(var)
        return self._counted[var]

    def _count(self, var: Any) -> str:
        shape = shape_of(var)
        if shape is None or str(var.ty.dtype).removeprefix("T.") not in ("int32", "int64"):
            return ""
        axes = [i for i, d in enumerate(shape) if same_extent(d, self.roles.tokens)]
        others = [d for d in shape if not same_extent(d, self.roles.tokens)]
        if len(axes) > 1 or any(not same_extent(d, self.roles.batch) and not same_extent(d, 1) for d in others):
            return ""
        if var in self.graph.params.values() and not self.roles.steers(var):
            return ""
        part = Part(self.graph, var, [], self.roles.sizing)
        if any(not self.roles.steers(p) for p in part.params):
            return ""
        for count, past in self.sizes:
            found = part.run({p: self.roles.value(p, 1, count, past) for p in part.inputs})
            wanted = past + np.arange(count) if axes else np.array(past)
            if not np.array_equal(found.reshape(-1), wanted.reshape(-1)):
                return ""
        return "positions" if axes else "lengths"


def part_key(part: Part) -> str:
    """The same for parts that compute the same, as those of a model's layers often do."""
    digest = hashlib.sha256(str(part.function().script(show_meta=False)).encode())
    for array in _arrays(b.value for b in part.bindings):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _arrays(values: Iterable[Any]) -> Iterable[Array]:
    for value in values:
        if isinstance(value, relax.Call):
            yield from _arrays(value.args)
        elif isinstance(value, relax.Tuple):
            yield from _arrays(value.fields)
        elif isinstance(value, tvm.ir.GenericConst):
            yield value.value.numpy()
