"""ONNX models with their past as inputs: caches take its place, beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.errors import ByocError, UnsupportedModelError, UsageError
from byoc.llm import LanguageSession, Settings, WeightSpec, language_model, parse_kv
from byoc.llm.weights import round_to_nearest
from byoc.ops.linear import unpack

HEADS, KV, DIM, HIDDEN, VOCABULARY, CONTEXT = 4, 2, 16, 32, 40, 24
TOKENS = np.random.default_rng(5).integers(0, VOCABULARY, CONTEXT)


class Builder:
    """One layer of a small decoder; `attend` adds the nodes from q, k, v to "mixed"."""

    def __init__(self, attend: Callable[[Builder], None], **kinds: Any) -> None:
        self.random, self.nodes, self.weights = np.random.default_rng(0), [], []
        self.inputs = {"input_ids": ("int64", ["B", "T"])}
        for side in ("key", "value"):
            self.inputs[f"past_key_values.0.{side}"] = ("float32", ["B", KV, "P", DIM])
        self.opset = kinds.pop("opset", 17)
        self.add("Gather", ["table", "input_ids"], "x", table=self.normal(VOCABULARY, HIDDEN))
        for name, heads in (("q", HEADS), ("k", KV), ("v", KV)):
            self.add("MatMul", ["x", f"w{name}"], name, **{f"w{name}": self.normal(HIDDEN, heads * DIM)})
        attend(self)
        self.add("MatMul", ["mixed", "wo"], "o", wo=self.normal(HEADS * DIM, HIDDEN))
        self.add("Add", ["x", "o"], "y")
        self.add("MatMul", ["y", "head"], "logits", head=self.normal(HIDDEN, VOCABULARY))

    def normal(self, *shape: int) -> np.ndarray:
        return (self.random.standard_normal(shape) * shape[0] ** -0.5).astype(np.float32)

    def add(
        self, op: str, inputs: list[str], outputs: str, domain: str = "", attrs: dict | None = None, **weights: Any
    ) -> None:
        self.weights += [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
        self.nodes.append(
            helper.make_node(op, inputs, outputs.split(), domain=domain, name=f"{op}_{len(self.nodes)}", **attrs or {})
        )

    def model(self) -> onnx.ModelProto:
        def info(name: str, kind: str, shape: list) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)

        outputs = [info("logits", "float32", ["B", "T", VOCABULARY])]
        outputs += [info(f"present.0.{s}", "float32", ["B", KV, "S", DIM]) for s in ("key", "value")]
        graph = helper.make_graph(
            self.nodes, "decoder", [info(n, *kind) for n, kind in self.inputs.items()], outputs, self.weights
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


PASTS = ["past_key_values.0.key", "past_key_values.0.value"]
PRESENTS = "mixed present.0.key present.0.value"


def group_query(window: int = -1) -> Callable[[Builder], None]:
    """As onnxruntime-genai exports it: lengths come from the mask, positions from the lengths."""

    def attend(b: Builder) -> None:
        b.inputs["attention_mask"] = ("int64", ["B", "S"])
        b.add("ReduceSum", ["attention_mask", "one"], "sums", one=np.array([1]), attrs={"keepdims": 0})
        b.add("Sub", ["sums", "one"], "ends64")
        b.add("Cast", ["ends64"], "ends", attrs={"to": TensorProto.INT32})
        b.add("Shape", ["attention_mask"], "extents")
        b.add("Gather", ["extents", "axis"], "total64", axis=np.array(1))
        b.add("Cast", ["total64"], "total", attrs={"to": TensorProto.INT32})
        angles = np.arange(32)[:, None] * 0.5 ** np.arange(DIM // 2)
        b.add(
            "GroupQueryAttention", ["q", "k", "v", *PASTS, "ends", "total", "cosines", "sines"], PRESENTS,
            domain="com.microsoft", cosines=np.cos(angles).astype("f4"), sines=np.sin(angles).astype("f4"),
            attrs={"num_heads": HEADS, "kv_num_heads": KV, "do_rotary": 1, "local_window_size": window},
        )  # fmt: skip

    return attend


def rotated_halves(b: Builder, pairs: int, factor: float) -> None:
    """x * cos + rotate_half(x) * sin of the first 2 * pairs channels, as exports of transformers spell it."""
    frequencies = (0.4 ** np.arange(pairs, dtype=np.float32)).reshape(1, pairs, 1)
    b.add("Unsqueeze", ["position_ids", "first"], "positions3", first=np.array([1]))
    b.add("Cast", ["positions3"], "positions", attrs={"to": TensorProto.FLOAT})
    b.add("MatMul", ["frequencies", "positions"], "angles3", frequencies=frequencies)
    b.add("Transpose", ["angles3"], "angles", attrs={"perm": [0, 2, 1]})
    b.add("Concat", ["angles", "angles"], "twice", attrs={"axis": -1})
    for name in ("Cos", "Sin"):
        b.add(name, ["twice"], f"{name}1")
        b.add("Mul", [f"{name}1", "factor"], f"{name}2", **({"factor": np.float32(factor)} if name == "Cos" else {}))
        b.add("Unsqueeze", [f"{name}2", "first"], name)
    cuts = {"zero1": 0, "half": pairs, "whole": 2 * pairs, "end": 1 << 40, "last": 3}
    b.weights += [numpy_helper.from_array(np.array([a]), name) for name, a in cuts.items()]
    for x in ("qt", "kt"):
        b.add("Slice", [x, "zero1", "whole", "last"], f"{x}_turned")
        b.add("Slice", [x, "whole", "end", "last"], f"{x}_rest")
        b.add("Slice", [f"{x}_turned", "zero1", "half", "last"], f"{x}_left")
        b.add("Slice", [f"{x}_turned", "half", "end", "last"], f"{x}_right")
        b.add("Neg", [f"{x}_right"], f"{x}_minus")
        b.add("Concat", [f"{x}_minus", f"{x}_left"], f"{x}_mates", attrs={"axis": -1})
        b.add("Mul", [f"{x}_turned", "Cos"], f"{x}_cos")
        b.add("Mul", [f"{x}_mates", "Sin"], f"{x}_sin")
        b.add("Add", [f"{x}_cos", f"{x}_sin"], f"{x}_sum")
        b.add("Concat", [f"{x}_sum", f"{x}_rest"], f"{x}_roped", attrs={"axis": -1})


def spelled_out(bias: float = 0.0, pairs: int = 0, factor: float = 1.0) -> Callable[[Builder], None]:
    """Transposes, keys repeated for their heads, scale, a mask of positions, softmax; `bias` per position of a key.

    The first `pairs` pairs of channels of queries and keys are turned by their positions.
    """
    q, k = ("qt_roped", "kt_roped") if pairs else ("qt", "kt")

    def attend(b: Builder) -> None:
        b.inputs["position_ids"] = ("int64", ["B", "T"])
        for name, heads in (("q", HEADS), ("k", KV), ("v", KV)):
            shape = f"{name}_shape"
            b.add("Reshape", [name, shape], f"{name}4", **{shape: np.array([0, 0, heads, DIM])})
            b.add("Transpose", [f"{name}4"], f"{name}t", attrs={"perm": [0, 2, 1, 3]})
        if pairs:
            rotated_halves(b, pairs, factor)
        for name, past in zip("kv", PASTS, strict=True):
            present = past.replace("past_key_values", "present")
            b.add("Concat", [past, k if name == "k" else "vt"], present, attrs={"axis": 2})
            b.add("Unsqueeze", [present, "two"], f"{name}5", **({"two": np.array([2])} if name == "k" else {}))
            b.add(
                "Expand",
                [f"{name}5", "share"],
                f"{name}6",
                **({"share": np.array([1, 1, 2, 1, 1])} if name == "k" else {}),
            )
            b.add(
                "Reshape",
                [f"{name}6", "flat"],
                f"{name}all",
                **({"flat": np.array([0, HEADS, -1, DIM])} if name == "k" else {}),
            )
        b.add("Transpose", ["kall"], "kcolumns", attrs={"perm": [0, 1, 3, 2]})
        b.add("MatMul", [q, "kcolumns"], "raw")
        b.add("Div", ["raw", "root"], "scores", root=np.array(DIM**0.5, np.float32))
        b.add("Shape", ["kall"], "kshape")
        b.add("Gather", ["kshape", "second"], "total", second=np.array(2))
        b.add("Range", ["zero", "total", "step"], "places", zero=np.array(0), step=np.array(1))
        b.add("Unsqueeze", ["position_ids", "axes"], "here", axes=np.array([1, 3]))
        b.add("LessOrEqual", ["places", "here"], "seen")
        b.add("Where", ["seen", "nothing", "never"], "mask", nothing=np.array(0, "f4"), never=np.array(-1e9, "f4"))
        if bias:
            b.add("Cast", ["places"], "slope0", attrs={"to": TensorProto.FLOAT})
            b.add("Mul", ["slope0", "slope"], "alibi", slope=np.array(bias, np.float32))
            b.add("Add", ["scores", "alibi"], "scores2")
        b.add("Add", ["scores2" if bias else "scores", "mask"], "masked")
        b.add("Softmax", ["masked"], "weights", attrs={"axis": -1})
        b.add("MatMul", ["weights", "vall"], "mixed4")
        b.add("Transpose", ["mixed4"], "mixedt", attrs={"perm": [0, 2, 1, 3]})
        b.add("Reshape", ["mixedt", "merged"], "mixed", merged=np.array([0, 0, HEADS * DIM]))

    return attend


def standard(b: Builder) -> None:
    b.opset = 23
    attrs = {"q_num_heads": HEADS, "kv_num_heads": KV, "is_causal": 1}
    b.add("Attention", ["q", "k", "v", "", *PASTS], PRESENTS, attrs=attrs)


MODELS = {
    "group query attention": (group_query(), 0),
    "group query attention with a window": (group_query(window=6), 6),
    "spelled out": (spelled_out(), 0),
    "spelled out, with halves rotated": (spelled_out(pairs=DIM // 2), 0),
    "spelled out, with a part rotated and scaled": (spelled_out(pairs=DIM // 4, factor=1.25), 0),
    "Attention of the standard": (standard, 0),
}


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def reference(model: onnx.ModelProto, ids: np.ndarray) -> np.ndarray:
    feeds = {"input_ids": ids, **{name: np.zeros((len(ids), KV, 0, DIM), np.float32) for name in PASTS}}
    feeds["attention_mask"] = np.ones_like(ids)
    feeds["position_ids"] = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["logits"], {i.name: np.ascontiguousarray(feeds[i.name]) for i in session.get_inputs()})[0]


def compiled(path: Path, kv: str = "k32v32", **settings: int) -> LanguageSession:
    chosen = Settings(kv=parse_kv(kv, 1), context=CONTEXT, chunk=5, **settings)
    return LanguageSession(byoc.compile(language_model(path, chosen), ["csource"], use_cache=False).session())


@pytest.mark.parametrize("case", MODELS)
def test_chunks_and_steps_over_caches_give_the_logits_of_onnx_runtime(case: str, tmp_path: Path) -> None:
    attend, window = MODELS[case]
    model = Builder(attend).model()
    session, wanted = compiled(saved(model, tmp_path)), reference(model, TOKENS[None])[0]
    assert session.facts["windows"] == [window]
    np.testing.assert_allclose(session.score(TOKENS)[0], wanted, rtol=1e-4, atol=1e-5)
    session.reset()
    np.testing.assert_allclose(session.prefill(TOKENS[:13])[0], wanted[12], rtol=1e-4, atol=1e-5)
    for i in range(13, CONTEXT):
        np.testing.assert_allclose(session.decode([TOKENS[i]])[0], wanted[i], rtol=1e-4, atol=1e-5)


TURNED = {
    "group query attention": (group_query(), 0.5 ** np.arange(8), [DIM**-0.5, 1.0]),
    "halves rotated": (spelled_out(pairs=8), 0.4 ** np.arange(8), [1.0, 1.0]),
    "a part rotated and scaled": (spelled_out(pairs=4, factor=1.25), 0.4 ** np.arange(4), [1.25, 1.25]),
}


@pytest.mark.parametrize("case", TURNED)
def test_rotations_by_position_become_one_op(case: str, tmp_path: Path) -> None:
    attend, frequencies, factors = TURNED[case]
    model = language_model(saved(Builder(attend).model(), tmp_path), Settings(context=CONTEXT))
    for name, graph in byoc.partition(model, []).model.graphs.items():
        turns = [node for node in graph.nodes if node.op == "byoc.rope"]
        assert len(turns) == 2, name
        assert not {"cos", "sin", "byoc.kv_join"} & {node.op for node in graph.nodes}
        assert sorted(turn.attrs["factor"] for turn in turns) == pytest.approx(factors)
        for turn in turns:
            np.testing.assert_allclose(turn.inputs[2].constant, frequencies, rtol=1e-5)


def test_a_turn_that_grows_otherwise_than_with_positions_stays_as_it_is(tmp_path: Path) -> None:
    model = Builder(spelled_out(pairs=8)).model()
    (cast,) = (node for node in model.graph.node if node.output[0] == "positions")
    cast.output[0] = "counted"
    model.graph.node.insert(
        list(model.graph.node).index(cast) + 1, helper.make_node("Mul", ["counted", "counted"], ["positions"])
    )
    path = saved(model, tmp_path)
    graph = byoc.partition(language_model(path, Settings(context=CONTEXT)), []).model.graphs["decode"]
    assert "byoc.rope" not in {node.op for node in graph.nodes}
    np.testing.assert_allclose(compiled(path).score(TOKENS)[0], reference(model, TOKENS[None])[0], rtol=1e-4, atol=1e-5)


def test_sequences_of_a_batch_differ_in_length(tmp_path: Path) -> None:
    model = Builder(group_query()).model()
    session = compiled(saved(model, tmp_path), batch=2)
    logits = session.prefill([TOKENS[:9], TOKENS[3:7]])
    then = session.decode([TOKENS[9], TOKENS[7]])
    for row, ids in enumerate((TOKENS[:10], TOKENS[3:8])):
        wanted = reference(model, ids[None])[0]
        np.testing.assert_allclose(logits[row], wanted[-2], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(then[row], wanted[-1], rtol=1e-4, atol=1e-5)


def test_quantised_caches_are_near_and_as_small_as_their_format_says(tmp_path: Path) -> None:
    model = Builder(spelled_out()).model()
    session, wanted = compiled(saved(model, tmp_path), "k8v8:g16:hadamard"), reference(model, TOKENS[None])[0]
    assert session.cache.nbytes == KV * 2 * (CONTEXT * DIM + 64 + 64)  # 24 scales and 24 minima, filled up to 64
    found = session.score(TOKENS)[0]
    assert 0 < np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def as_kept(model: onnx.ModelProto, keep: Callable[[np.ndarray], np.ndarray]) -> onnx.ModelProto:
    """The model whose layers have the weights that a format stands for."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    for weight in changed.graph.initializer:
        if weight.name in ("wq", "wk", "wv", "wo", "head"):
            weight.CopyFrom(numpy_helper.from_array(keep(numpy_helper.to_array(weight)), weight.name))
    return changed


def rounded(weight: np.ndarray, bits: int) -> np.ndarray:
    kept = round_to_nearest(weight.T, bits, 16)
    return unpack(kept.packed, kept.scale, kept.zero, bits).T


@pytest.mark.parametrize(
    ("weights", "op", "keep"),
    [
        ("rtn4:g16", "byoc.linear_w4", lambda w: rounded(w, 4)),
        ("rtn8:g16", "byoc.linear_w8", lambda w: rounded(w, 8)),
        ("f16", "byoc.linear_w16", lambda w: w.astype(np.float16).astype(np.float32)),
    ],
)
def test_layers_are_kept_as_the_weights_say(weights: str, op: str, keep: Callable, tmp_path: Path) -> None:
    model = Builder(spelled_out(pairs=8)).model()
    settings = Settings(kv=parse_kv("k32v32", 1), context=CONTEXT, chunk=5, weights=WeightSpec.parse(weights))
    plan = byoc.partition(language_model(saved(model, tmp_path), settings), [])
    for graph in plan.model.graphs.values():
        assert [node.op for node in graph.nodes].count(op) == 5
    session = LanguageSession(byoc.compile(plan, use_cache=False).session())
    wanted = reference(as_kept(model, keep), TOKENS[None])[0]
    np.testing.assert_allclose(session.score(TOKENS)[0], wanted, rtol=1e-4, atol=1e-5)
    session.reset()
    np.testing.assert_allclose(session.prefill(TOKENS[:9])[0], wanted[8], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(session.decode(TOKENS[9:10])[0], wanted[9], rtol=1e-4, atol=1e-5)


def last_row(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = "all"
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), "last"))
    model.graph.node.append(helper.make_node("Gather", ["all", "last"], ["logits"], axis=1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    return model


def without_past() -> onnx.ModelProto:
    b = Builder(lambda b: b.add("Identity", ["q"], "mixed"))
    model = b.model()
    del model.graph.input[1:], model.graph.output[1:]
    return model


REFUSED = {
    "is not causal attention: 3 tokens behind 0 differ": lambda: Builder(spelled_out(bias=0.3)).model(),
    "is not logits of every token": lambda: last_row(Builder(group_query()).model()),
    "the model has 1 inputs of token ids and 0 of a past": without_past,
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_model_whose_past_is_no_cache_is_refused(said: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=said):
        language_model(saved(REFUSED[said](), tmp_path), Settings(context=CONTEXT))


def test_settings_that_an_onnx_model_does_not_take_are_told(tmp_path: Path) -> None:
    path = saved(Builder(group_query()).model(), tmp_path)
    asked: list[tuple[dict[str, Any], type[ByocError], str]] = [
        ({"weights": WeightSpec.parse("awq4:g32")}, UsageError, "awq4:g32 needs a calibration text"),
        ({"weights": WeightSpec.parse("rtn4:g24")}, UsageError, "weights of 32 inputs cannot be kept in groups of 24"),
        ({"kv": parse_kv("k8v8:per-tensor", 1)}, UsageError, "needs a calibration text"),
        ({"kv": parse_kv("k4v4:g32", 1)}, UsageError, "keys cannot be kept in groups of 32: a head has 16 channels"),
    ]
    for settings, kind, said in asked:
        with pytest.raises(kind, match=said):
            language_model(path, Settings(context=CONTEXT, **settings))
