"""Generated C under the address, undefined-behaviour and thread sanitizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.artifact import Artifact
from byoc.llm.model import language_model
from byoc.llm.session import LanguageSession
from byoc.llm.settings import Settings, parse_kv
from byoc.llm.weights import WeightSpec
from byoc.runtime import Session
from tests.codegens.sanitized import build, complaint, record
from tests.language_models import make_folder

Case = tuple[Artifact, Callable[[Session], None]]
RANDOM = np.random.default_rng(0)


def compiled(nodes: list[Any], inputs: dict[str, tuple[int, ...]], output: str, **weights: Any) -> Case:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    artifact = byoc.compile(model.SerializeToString(), ["csource"], use_cache=False)
    given = {name: RANDOM.standard_normal(shape, "float32") for name, shape in inputs.items()}
    return artifact, lambda session: session.run(given) and None


def floats(*shape: int) -> Any:
    return RANDOM.standard_normal(shape, "float32")


node = helper.make_node


def convolutions(_: Path) -> Case:
    """Winograd, strided, 1x1, depthwise and transposed convolutions, pools with odd borders."""
    nodes = [
        node("Conv", ["x", "a"], ["h0"], pads=[1, 1, 1, 1]),
        node("Relu", ["h0"], ["h1"]),
        node("Conv", ["h1", "b"], ["h2"], strides=[2, 2], pads=[2, 1, 2, 1]),
        node("Conv", ["h2", "c"], ["h3"], group=24, pads=[1, 1, 1, 1]),
        node("Conv", ["h3", "d"], ["h4"]),
        node("MaxPool", ["h4"], ["h5"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        node("AveragePool", ["h5"], ["h6"], kernel_shape=[2, 3], pads=[1, 1, 0, 1], count_include_pad=0),
        node("ConvTranspose", ["h6", "e"], ["y"], strides=[2, 2], output_padding=[1, 1]),
    ]
    weights = {"a": (16, 3, 3, 3), "b": (24, 16, 5, 3), "c": (24, 1, 3, 3), "d": (40, 24, 1, 1), "e": (40, 5, 3, 3)}
    return compiled(nodes, {"x": (1, 3, 37, 41)}, "y", **{name: floats(*shape) for name, shape in weights.items()})


def sequences(_: Path) -> Case:
    """Products with odd sizes, softmax, layer norm, moves, reductions, a resize."""
    nodes = [
        node("MatMul", ["x", "a"], ["h0"]),
        node("LayerNormalization", ["h0", "g", "b"], ["h1"]),
        node("Transpose", ["h1"], ["h2"], perm=[0, 2, 1]),
        node("MatMul", ["h1", "h2"], ["h3"]),
        node("Softmax", ["h3"], ["h4"]),
        node("Slice", ["h4", "begin", "end", "axes", "steps"], ["h5"]),
        node("Pad", ["h5", "pads"], ["h6"], mode="reflect"),
        node("Concat", ["h6", "h6"], ["h7"], axis=2),
        node("Unsqueeze", ["h7", "one"], ["h8"]),
        node("Resize", ["h8", "", "scales"], ["h9"], mode="linear"),
        node("ReduceLogSumExp", ["h9"], ["y"], axes=[3]),
    ]
    numbers = {"begin": [3], "end": [-2], "axes": [2], "steps": [2], "pads": [0, 1, 2, 0, 0, 1], "one": [1]}
    arrays = {name: np.array(values, np.int64) for name, values in numbers.items()}
    scales = np.array([1, 1, 1.5, 0.7], np.float32)
    return compiled(
        nodes, {"x": (3, 67, 129)}, "y", a=floats(129, 95), g=floats(95), b=floats(95), scales=scales, **arrays
    )


def language(folder: Path) -> Case:
    """Four-bit weights and caches: two chunks of a prompt, then two tokens."""
    make_folder(folder / "tiny")
    settings = Settings(kv=parse_kv("k4v4:g8", 2), weights=WeightSpec.parse("rtn4:g8"), context=64, chunk=8)
    artifact = byoc.compile(language_model(folder / "tiny", settings), ["csource"], use_cache=False)

    def talk(session: Session) -> None:
        language = LanguageSession(session)
        language.prefill(list(range(1, 12)))
        language.decode([5])
        language.decode([6])

    return artifact, talk


CASES = {"convolutions": convolutions, "sequences": sequences, "language": language}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, bytes]:
    artifact, use = CASES[request.param](tmp_path_factory.mktemp("model"))
    return artifact, record(artifact, use)


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_generated_code_is_clean(case: tuple[Artifact, bytes], sanitizers: str, tmp_path: Path) -> None:
    artifact, calls = case
    assert complaint(build(artifact, sanitizers, tmp_path), calls, tmp_path) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sanitizers", "old", "new", "told"),
    [
        ("address,undefined", "y[i] = x[i] + 1;", "y[i + 1] = x[i] + 1;", "heap-buffer-overflow"),
        ("address,undefined", "y[i] = x[i] + 1;", "y[i] = (float)(1 << (int)(32 + i)) + x[i];", "shift exponent"),
        ("thread", "y[i] = x[i] + 1;", "y[i] = x[i] + 1; y[0] = x[0] + 1;", "data race"),
    ],
)
def test_a_fault_in_generated_code_is_found(sanitizers: str, old: str, new: str, told: str, tmp_path: Path) -> None:
    artifact, use = compiled([node("Relu", ["x"], ["y"])], {"x": (64, 64)}, "y")
    (symbol,) = {part.symbol for part in artifact.manifest.partitions}
    code = f"""#include "byoc.h"
typedef struct {{ const float *x; float *y; }} Both;
static void body(int64_t begin, int64_t end, void *ctx) {{
  const float *x = ((Both *)ctx)->x; float *y = ((Both *)ctx)->y;
  for (int64_t i = begin; i < end; ++i) {{ {old.replace(old, new)} }}
}}
BYOC_EXPORT int __tvm_ffi_{symbol}(void *self, const TVMFFIAny *args, int32_t n, TVMFFIAny *result) {{
  Both both = {{(const float *)byoc_data(args), (float *)byoc_data(args + 1)}};
  byoc_parallel_for(64 * 64, 64, body, &both);
  return 0;
}}
"""
    broken = replace(artifact, sources={f"{symbol}.c": code})
    assert told in complaint(build(broken, sanitizers, tmp_path), record(artifact, use), tmp_path)
