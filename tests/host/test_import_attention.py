"""ONNX Runtime's attention operators over their attributes and optional inputs, beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from byoc.errors import UnsupportedModelError
from byoc.importer import import_model
from tests.imported import assert_same, make_model, node

DIM, WIDE, KV = 8, 16, 2
FREQUENCIES = 0.5 ** np.arange(8)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def contrib(op: str, feeds: Mapping[str, np.ndarray | None], outputs: str = "y", **attributes: Any) -> onnx.ModelProto:
    """A model of one node of ``com.microsoft`` whose inputs, None for an absent one, are the graph's."""
    given = {name: array for name, array in feeds.items() if array is not None}
    operator = node(
        op, " ".join(n if n in given else "_" for n in feeds), outputs, domain="com.microsoft", **attributes
    )
    names = outputs.split()
    return make_model([operator], {n: (str(a.dtype), a.shape) for n, a in given.items()}, names)


def check(op: str, feeds: Mapping[str, np.ndarray | None], outputs: str = "y", **attributes: Any) -> None:
    given = {name: array for name, array in feeds.items() if array is not None}
    assert_same(contrib(op, feeds, outputs, **attributes), given, tolerance=1e-4)


def group_query(
    *, batch: int = 2, tokens: int = 3, past: int = 0, heads: int = 4, packed: bool = False, **more: np.ndarray | None
) -> dict[str, np.ndarray | None]:
    """Inputs of a step after ``past`` tokens."""
    q, k = heads * WIDE, KV * WIDE
    ends = np.full(batch, past + tokens - 1, np.int32)
    return {
        "query": floats(batch, tokens, q + 2 * k if packed else q),
        "key": None if packed else floats(batch, tokens, k, seed=1),
        "value": None if packed else floats(batch, tokens, k, seed=2),
        "past_key": floats(batch, KV, past, WIDE, seed=3),
        "past_value": floats(batch, KV, past, WIDE, seed=4),
        "ends": more.pop("ends", ends),
        "total": more.pop("total", np.array(past + tokens, np.int32)),
        "cosines": np.cos(np.arange(16)[:, None] * FREQUENCIES).astype(np.float32),
        "sines": np.sin(np.arange(16)[:, None] * FREQUENCIES).astype(np.float32),
        **more,
    }


GROUP_QUERY: dict[str, tuple[dict[str, np.ndarray | None], dict[str, Any]]] = {
    "first step": (group_query(), {}),
    "one token after five": (group_query(tokens=1, past=5), {}),
    "three tokens after five": (group_query(batch=1, tokens=3, past=5), {}),
    "packed": (group_query(packed=True), {"do_rotary": 1}),
    "rotary in the first step": (group_query(), {"do_rotary": 1}),
    "rotary, interleaved, later": (group_query(tokens=1, past=5), {"do_rotary": 1, "rotary_interleaved": 1}),
    "positions given": (
        group_query(tokens=1, past=5, positions=np.array([[5], [2]])),
        {"do_rotary": 1},
    ),
    "window": (group_query(batch=1, tokens=6), {"local_window_size": 2}),
    "window, later": (group_query(tokens=1, past=5), {"local_window_size": 3}),
    "softcap": (group_query(tokens=1, past=5), {"softcap": 0.5}),
    "scale": (group_query(), {"scale": 0.7}),
    "smooth softmax": (group_query(tokens=1, past=5), {"smooth_softmax": 1}),
    "sinks": (group_query(positions=None, bias=None, sink=floats(4)), {}),
    "bias": (group_query(tokens=1, past=5, positions=None, bias=floats(2, 1, 1, 6)), {"softcap": 2.0}),
    "sequences of two lengths": (
        group_query(tokens=1, past=5, ends=np.array([5, 2], np.int32)),
        {"do_rotary": 1},
    ),
    "prompts of two lengths": (group_query(tokens=4, ends=np.array([3, 1], np.int32)), {"do_rotary": 1}),
    "room for more than there is": (
        group_query(tokens=1, past=5, ends=np.array([2, 3], np.int32), total=np.array(4, np.int32)), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GROUP_QUERY)
def test_group_query_attention_does_as_onnx_runtime_does(case: str) -> None:
    feeds, attributes = GROUP_QUERY[case]
    check("GroupQueryAttention", feeds, "y k v", num_heads=4, kv_num_heads=KV, **attributes)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"causal": 0}, 'its attribute "causal" = 0'),
        ({"k_quant_type": "PER_TENSOR"}, 'its attribute "k_quant_type" = PER_TENSOR'),
        ({"left_window": 3}, 'its attribute "left_window" is unknown'),
    ],
)
def test_group_query_attention_refuses_what_it_does_not_know(attributes: dict[str, Any], said: str) -> None:
    model = contrib("GroupQueryAttention", group_query(), "y k v", num_heads=4, kv_num_heads=KV, **attributes)
    with pytest.raises(UnsupportedModelError, match=said):
        import_model(model)


def multi_head(*, tokens: int = 3, keys: int = 3, past: int = 0, **more: np.ndarray | None) -> dict[str, Any]:
    hidden = 2 * DIM
    return {
        "query": floats(2, tokens, hidden),
        "key": floats(2, keys, hidden, seed=1),
        "value": floats(2, keys, hidden, seed=2),
        "bias": more.pop("bias", None),
        "mask": more.pop("mask", None),
        "added": more.pop("added", None),
        "past_key": floats(2, 2, past, DIM, seed=3) if past else None,
        "past_value": floats(2, 2, past, DIM, seed=4) if past else None,
        **more,
    }


MASK = np.array([[1, 1, 0], [1, 0, 0]], np.int32)
MULTI_HEAD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (multi_head(), {}),
    "bias": (multi_head(bias=floats(6 * DIM)), {}),
    "keys of another length": (multi_head(tokens=2, keys=5), {"scale": 0.3}),
    "past": (multi_head(tokens=1, keys=1, past=4), {}),
    "unidirectional": (multi_head(), {"unidirectional": 1}),
    "unidirectional after a past": (multi_head(tokens=2, keys=2, past=3), {"unidirectional": 1}),
    "padding mask": (multi_head(mask=MASK), {}),
    "padding mask, mild": (multi_head(mask=MASK), {"mask_filter_value": -2.0}),
    "mask for each query": (multi_head(mask=np.tril(np.ones((2, 3, 3), np.int32))), {}),
    "queries without a key": (multi_head(mask=np.array([[0, 1, 1], [0, 0, 1]], np.int32)), {"unidirectional": 1}),
    "queries without a key, masked as later ones are": (
        multi_head(mask=np.array([[0, 1, 1], [0, 0, 1]], np.int32)),
        {"unidirectional": 1, "mask_filter_value": float(np.finfo(np.float32).min)},
    ),
    "lengths": (multi_head(mask=np.array([2, 3], np.int32)), {}),
    "added": (multi_head(added=floats(1, 2, 3, 3)), {}),
    "mask, added and unidirectional": (multi_head(mask=MASK, added=floats(2, 1, 3, 3)), {"unidirectional": 1}),
}


@pytest.mark.parametrize("case", MULTI_HEAD)
def test_multi_head_attention_does_as_onnx_runtime_does(case: str) -> None:
    feeds, attributes = MULTI_HEAD[case]
    check("MultiHeadAttention", feeds, "y k v" if feeds["past_key"] is not None else "y", num_heads=2, **attributes)


def self_attention(
    *, past: int = 0, tokens: int = 3, sizes: tuple[int, ...] = (16, 16, 16), **more: Any
) -> dict[str, Any]:
    return {
        "x": floats(2, tokens, 12),
        "w": floats(12, sum(sizes)),
        "b": floats(sum(sizes)),
        "mask": more.pop("mask", None),
        "past": floats(2, 2, 2, past, DIM) if past else None,
        **more,
    }


SELF: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (self_attention(), {}),
    "unidirectional": (self_attention(), {"unidirectional": 1}),
    "past": (self_attention(past=4, tokens=2), {"unidirectional": 1}),
    "mask of all keys": (self_attention(mask=MASK), {}),
    "mask after a past": (
        self_attention(past=2, tokens=1, mask=np.array([[0, 1, 1], [1, 1, 1]], np.int32)),
        {"unidirectional": 1},
    ),
    "lengths": (self_attention(mask=np.array([2, 3], np.int32)), {}),
    "ends and beginnings": (self_attention(mask=np.array([2, 3, 0, 1], np.int32)), {}),
    "mask for each query": (self_attention(mask=np.tril(np.ones((2, 3, 3), np.int32))), {"scale": 0.2}),
    "values of another size": (self_attention(sizes=(16, 16, 8)), {"qkv_hidden_sizes": [16, 16, 8]}),
    "added": (self_attention(added=floats(2, 2, 3, 3)), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", SELF)
def test_attention_of_onnx_runtime_does_as_it_does(case: str) -> None:
    feeds, attributes = SELF[case]
    check("Attention", feeds, "y present" if feeds["past"] is not None else "y", num_heads=2, **attributes)


ROTARY: dict[str, tuple[tuple[int, ...], np.ndarray, int, dict[str, Any]]] = {
    "heads from the tables": ((2, 3, 16), np.array([[0, 1, 2], [4, 5, 6]]), 4, {}),
    "interleaved": ((2, 3, 16), np.array([[0, 1, 2], [4, 5, 6]]), 4, {"interleaved": 1}),
    "an offset": ((2, 3, 16), np.array([3]), 4, {}),
    "heads first": ((2, 2, 3, 8), np.array([[0, 1, 2], [4, 5, 6]]), 4, {}),
    "half of each head": ((2, 3, 16), np.array([0]), 2, {"num_heads": 2, "rotary_embedding_dim": 4}),
}


@pytest.mark.parametrize("case", ROTARY)
def test_rotary_embedding_does_as_onnx_runtime_does(case: str) -> None:
    shape, positions, pairs, attributes = ROTARY[case]
    feeds = {"x": floats(*shape), "p": positions, "c": floats(9, pairs), "s": floats(9, pairs, seed=1)}
    check("RotaryEmbedding", feeds, **attributes)
