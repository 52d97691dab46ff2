"""Appending to a cache and attending over it: what the host compiles agrees with the NumPy reference."""

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from byoc.host.pipeline import compile_host
from byoc.llm import kv_reference
from byoc.llm.kv_layout import cache_layouts
from byoc.llm.kv_spec import KVSpec
from byoc.ops.kv_append import append_tokens
from byoc.ops.kv_attention import attend

BATCH, HEADS, KV_HEADS, DIM, CAPACITY = 2, 4, 2, 8, 16
SCALE = DIM**-0.5
SPECS = [
    "k32v32", "k16v16", "k8v8:g8", "k4v4:g4", "k4v2:g8", "k2v2:g4:symmetric", "k8v4:g8:symmetric",
    "k4v4:g4:k.per-channel", "k2v2:g4:per-channel", "k4v4:g4:per-block", "k8v8:g8:per-tensor", "k4v4:g8:mean",
    "k32v8:g8:mean",
]  # fmt: skip
FIXED = {"scale": 0.05, "minimum": -3.0}


def attention_machine(spec, window=0):
    layouts = cache_layouts(KVSpec.parse(spec), DIM, CAPACITY)
    n = tirx.Var("n", "int64")
    query = relax.Var("query", relax.TensorType((BATCH, n, HEADS, DIM), "float32"))
    new = [relax.Var(name, relax.TensorType((BATCH, n, KV_HEADS, DIM), "float32")) for name in "kv"]
    caches = [
        relax.Var(f"{name}_cache", relax.TensorType((BATCH, KV_HEADS, layout.nbytes), "uint8"))
        for name, layout in zip("kv", layouts, strict=True)
    ]
    lengths = relax.Var("lengths", relax.TensorType((BATCH,), "int64"))
    builder = relax.BlockBuilder()
    with builder.function("main", [query, *new, *caches, lengths]):
        with builder.dataflow():
            grown = [
                builder.emit(append_tokens(cache, x, lengths, layout, **FIXED))
                for cache, x, layout in zip(caches, new, layouts, strict=True)
            ]
            result = attend(query, *grown, lengths, layouts, scale=SCALE, window=window, calibrated=(FIXED, FIXED))
            result = builder.emit_output(builder.emit(result))
        builder.emit_func_output(result)
    machine = relax.VirtualMachine(compile_host(builder.get(), "native"), tvm.cpu())
    return layouts, lambda *arrays: machine["main"](*arrays).numpy()


def reference(layouts, query, new, caches, lengths, window=0):
    for layout, cache, x in zip(layouts, caches, new, strict=True):
        kv_reference.append(layout, cache, x, lengths, **FIXED)
    results = []
    for b, length in enumerate(lengths):
        total = int(length) + query.shape[1]
        k, v = (
            np.stack([kv_reference.read(layout, cache[b, h], total, **FIXED) for h in range(KV_HEADS)])
            for layout, cache in zip(layouts, caches, strict=True)
        )
        results.append(kv_reference.attend(query[b], k, v, int(length), SCALE, window))
    return np.stack(results)


@pytest.mark.parametrize("spec", SPECS)
def test_prefill_then_decode_agrees_with_the_reference_and_updates_in_place(spec):
    layouts, run = attention_machine(spec)
    random = np.random.default_rng(1)
    caches = [tvm.runtime.tensor(np.zeros((BATCH, KV_HEADS, layout.nbytes), np.uint8)) for layout in layouts]
    wanted_caches = [np.zeros((BATCH, KV_HEADS, layout.nbytes), np.uint8) for layout in layouts]
    lengths = np.array([0, 0])
    for tokens in (5, 1, 3):
        query = random.standard_normal((BATCH, tokens, HEADS, DIM), np.float32)
        new = [random.standard_normal((BATCH, tokens, KV_HEADS, DIM), np.float32) + i for i in (1, 0)]
        found = run(*(tvm.runtime.tensor(a) for a in (query, *new)), *caches, tvm.runtime.tensor(lengths))
        np.testing.assert_allclose(found, reference(layouts, query, new, wanted_caches, lengths), rtol=1e-4, atol=1e-5)
        if "mean" not in spec:
            for cache, wanted in zip(caches, wanted_caches, strict=True):
                np.testing.assert_array_equal(cache.numpy(), wanted)
        lengths = lengths + np.array([tokens, tokens])


def test_sequences_of_one_batch_may_differ_in_length():
    layouts, run = attention_machine("k8v8:g8")
    random = np.random.default_rng(2)
    caches = [np.zeros((BATCH, KV_HEADS, layout.nbytes), np.uint8) for layout in layouts]
    wanted_caches = [cache.copy() for cache in caches]
    tensors = [tvm.runtime.tensor(c) for c in caches]
    for tokens, lengths in ((4, np.array([0, 0])), (2, np.array([4, 1]))):
        query = random.standard_normal((BATCH, tokens, HEADS, DIM), np.float32)
        new = [random.standard_normal((BATCH, tokens, KV_HEADS, DIM), np.float32) for _ in range(2)]
        found = run(*(tvm.runtime.tensor(a) for a in (query, *new)), *tensors, tvm.runtime.tensor(lengths))
        np.testing.assert_allclose(found, reference(layouts, query, new, wanted_caches, lengths), rtol=1e-4, atol=1e-5)


def test_a_window_limits_how_far_back_a_query_sees():
    layouts, run = attention_machine("k32v32", window=3)
    random = np.random.default_rng(3)
    query = random.standard_normal((BATCH, 6, HEADS, DIM), np.float32)
    new = [random.standard_normal((BATCH, 6, KV_HEADS, DIM), np.float32) for _ in range(2)]
    caches = [np.zeros((BATCH, KV_HEADS, layout.nbytes), np.uint8) for layout in layouts]
    lengths = np.array([0, 0])
    found = run(
        *(tvm.runtime.tensor(a) for a in (query, *new, *(c.copy() for c in caches))), tvm.runtime.tensor(lengths)
    )
    np.testing.assert_allclose(found, reference(layouts, query, new, caches, lengths, window=3), rtol=1e-4, atol=1e-5)
