"""The configuration of a language model: what it says of the layers, and what is told where a field is none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from byoc.errors import ByocError, ModelFileError, UnsupportedModelError
from byoc.llm.config import ModelConfig, read_config
from tests.language_models import CONFIG

INFINITE = 1e999  # as json writes it: Infinity
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def config(folder: Path, **changes: Any) -> ModelConfig:
    (folder / "config.json").write_text(json.dumps({k: v for k, v in (CONFIG | changes).items() if v != "missing"}))
    return read_config(folder)


def told(folder: Path, **changes: Any) -> str:
    with pytest.raises((ModelFileError, UnsupportedModelError)) as caught:
        config(folder, **changes)
    return str(caught.value).replace(str(folder), "<folder>")


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings"])
@pytest.mark.parametrize("value", ["64", 1.5, [], {}, True, math.nan])
def test_a_size_that_is_no_whole_number_is_named(tmp_path: Path, name: str, value: Any) -> None:
    assert f'<folder>/config.json: "{name}" is {json.dumps(value)}\n  why: a whole number' in told(
        tmp_path, **{name: value}
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", INFINITE), ("num_hidden_layers", 10**25), ("head_dim", -2), ("sliding_window", -1),
     ("rope_theta", 0), ("rope_theta", -1.0), ("rms_norm_eps", math.nan), ("rms_norm_eps", -1e-6),
     ("rms_norm_eps", INFINITE)],
)  # fmt: skip
def test_a_number_out_of_range_is_named(tmp_path: Path, name: str, value: Any) -> None:
    assert f'"{name}" is {json.dumps(value)}' in told(tmp_path, architectures=["MistralForCausalLM"], **{name: value})


@pytest.mark.parametrize("name", ["hidden_size", "intermediate_size", "num_attention_heads", "vocab_size"])
def test_a_missing_size_is_named(tmp_path: Path, name: str) -> None:
    assert f'<folder>/config.json has no field "{name}"' in told(tmp_path, **{name: "missing"})


@pytest.mark.parametrize(
    ("scaling", "says"),
    [
        ({"rope_type": "linear", "factor": 0}, '"rope_scaling.factor" is 0'),
        ({"rope_type": "linear"}, 'no field "rope_scaling.factor"'),
        ({"rope_type": "dynamic", "factor": math.nan}, '"rope_scaling.factor" is NaN'),
        ({"rope_type": "yarn", "factor": 4.0, "rope_theta": 1}, '"rope_theta" is 1'),
        ({"rope_type": "yarn", "factor": 4.0, "beta_fast": "x"}, '"rope_scaling.beta_fast" is "x"'),
        (LLAMA3 | {"high_freq_factor": 1.0, "original_max_position_embeddings": 16}, "low_freq_factor 1 and high"),
        ({"rope_type": "longrope", "short_factor": [1.0] * 4, "original_max_position_embeddings": 1}, 'embeddings" is'),
        ({"rope_type": "longrope", "short_factor": [0.0] * 4}, "divided by a factor of longrope"),
        ({"rope_type": "spiral"}, 'scaled by "spiral"'),
        ([1], '"rope_scaling" is [1]'),
    ],
)
def test_a_rotary_embedding_that_turns_by_no_number_is_told(tmp_path: Path, scaling: Any, says: str) -> None:
    assert says in told(tmp_path, rope_scaling=scaling)


def test_a_part_of_the_channels_that_turns_is_not_taken_for_all_of_them(tmp_path: Path) -> None:
    assert '"partial_rotary_factor" is 0.5' in told(tmp_path, partial_rotary_factor=0.5)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"a": ', "[" * 100_000])
def test_a_file_that_holds_no_object_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        ModelFileError, match=r"config\.json (is not JSON|holds no JSON object|nests brackets too deep)"
    ):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("architecture", "biased"),
    [("Llama", "qkv output mlp"), ("Mistral", ""), ("Qwen2", "qkv"), ("Qwen3", "qkv output")],
)
def test_biases_are_where_the_architecture_has_them(tmp_path: Path, architecture: str, biased: str) -> None:
    found = config(tmp_path, architectures=[f"{architecture}ForCausalLM"], attention_bias=True, mlp_bias=True)
    named = {"qkv": found.qkv_bias, "output": found.output_bias, "mlp": found.mlp_bias}
    assert " ".join(name for name, there in named.items() if there) == biased


@pytest.mark.parametrize(("said", "windows"), [("missing", (4096, 4096)), (None, (0, 0)), (8, (8, 8))])
def test_mistral_has_the_window_of_its_release_unless_the_file_says_otherwise(
    tmp_path: Path, said: Any, windows: tuple[int, ...]
) -> None:
    assert config(tmp_path, architectures=["MistralForCausalLM"], sliding_window=said).windows == windows


def test_layers_of_an_unknown_type_are_refused(tmp_path: Path) -> None:
    qwen = {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True, "sliding_window": 8}
    assert config(tmp_path, layer_types=["sliding_attention", "full_attention"], **qwen).windows == (8, 0)
    assert 'type "chunked_attention"' in told(tmp_path, layer_types=["full_attention", "chunked_attention"], **qwen)


@pytest.mark.parametrize(
    "scaling",
    [{"rope_type": kind, "factor": 2.0, "rope_theta": 500.0} | more for kind, more in (
        ("default", {}), ("linear", {}), ("dynamic", {}), ("yarn", {"original_max_position_embeddings": 16}),
        ("llama3", LLAMA3 | {"original_max_position_embeddings": 16}), ("longrope", {"short_factor": [1.0] * 4}),
    )],
    ids=lambda scaling: scaling["rope_type"],
)  # fmt: skip
def test_newer_files_name_the_scaling_rope_parameters(tmp_path: Path, scaling: dict[str, Any]) -> None:
    assert config(tmp_path, rope_parameters=scaling).rope == config(tmp_path, rope_scaling=scaling).rope


def test_every_damaged_value_is_an_error_or_a_model(tmp_path: Path) -> None:
    values = [0, -1, 1.5, "x", None, [], [1], {}, True, 1e30, INFINITE, math.nan, 10**25]
    others = (
        "head_dim sliding_window use_sliding_window layer_types attention_bias rope_scaling rope_parameters "
        "partial_rotary_factor quantization_config hidden_act"
    )
    names = [*CONFIG, *others.split()]
    for name in names:
        for value in values:
            try:
                found = config(tmp_path, **{name: value})
            except ByocError:
                continue
            assert all(math.isfinite(f) for f in found.rope.frequencies), (name, value)
