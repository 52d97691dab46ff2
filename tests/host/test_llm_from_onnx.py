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


def spelled_out(bias: float = 0.0) -> Callable[[Builder], None]:
    """Transposes, keys repeated for their heads, scale, a mask of positions, softmax; `bias` per position of a key."""

    def attend(b: Builder) -> None:
        b.inputs["position_ids"] = ("int64", ["B", "T"])
        for name, heads in (("q", HEADS), ("k", KV), ("v", KV)):
            shape = f"{name}_shape"
            b.add("Reshape", [name, shape], f"{name}4", **{shape: np.array([0, 0, heads, DIM])})
            b.add("Transpose", [f"{name}4"], f"{name}t", attrs={"perm": [0, 2, 1, 3]})
        for name, past in zip("kv", PASTS, strict=True):
            present = past.replace("past_key_values", "present")
            b.add("Concat", [past, f"{name}t"], present, attrs={"axis": 2})
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
        b.add("MatMul", ["qt", "kcolumns"], "raw")
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
        ({"weights": WeightSpec.parse("rtn4:g32")}, UsageError, "are kept as the file has them, not as rtn4:g32"),
        ({"kv": parse_kv("k8v8:per-tensor", 1)}, UsageError, "needs a calibration text"),
        ({"kv": parse_kv("k4v4:g32", 1)}, UsageError, "keys cannot be kept in groups of 32: a head has 16 channels"),
    ]
    for settings, kind, said in asked:
        with pytest.raises(kind, match=said):
            language_model(path, Settings(context=CONTEXT, **settings))
