"""Checkpoints of AutoAWQ and AutoGPTQ: every layer is what the formula of its layout says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import byoc
from byoc.errors import ModelFileError, UnsupportedModelError, UsageError
from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config import read_config
from byoc.llm.model import language_model
from byoc.llm.session import LanguageSession
from byoc.llm.settings import Settings, parse_kv
from byoc.llm.tensors import ModelTensors
from byoc.llm.weights import WeightSpec
from tests.language_models import make_folder, reference_logits

TOKENS = [1, 5, 9, 30, 2, 7]
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 8, "version": "gemm", "zero_point": True}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 8, "desc_act": False, "sym": False}
LAYER = "layers.1.down"
STORED = "model.layers.1.mlp.down_proj"


def words(numbers, bits, order=None):
    """Rows of numbers as int32, the first in the lowest bits, in an order of their own where one is given."""
    each = 32 // bits
    rows, columns = numbers.shape
    packed = np.zeros((rows, columns // each), np.uint32)
    for column in range(columns // each):
        for place in range(each):
            number = numbers[:, column * each + (order[place] if order else place)]
            packed[:, column] |= number.astype(np.uint32) << np.uint32(place * bits)
    return packed.view(np.int32)


def integers(random, inputs, outputs, bits, groups, lowest_zero=0):
    quanta = random.integers(0, 1 << bits, (inputs, outputs))
    zeros = random.integers(lowest_zero, 1 << bits, (groups, outputs))
    scales = (random.random((groups, outputs)) * 0.02 + 0.01).astype(np.float16)
    return quanta, zeros, scales


def awq_layer(random, inputs, outputs, config):
    """Tensors of AutoAWQ's gemm layout, and the matrix that they stand for."""
    group = config["group_size"] if config["group_size"] > 0 else inputs
    quanta, zeros, scales = integers(random, inputs, outputs, 4, inputs // group)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    stored = {"qweight": words(quanta, 4, order), "qzeros": words(zeros, 4, order), "scales": scales}
    index = np.arange(inputs) // group
    return stored, (scales[index].astype(np.float32) * (quanta - zeros[index])).T


def gptq_layer(random, inputs, outputs, config):
    """Tensors of AutoGPTQ's layout, whose first version stores zeros less one, and the matrix."""
    bits, group = config["bits"], config["group_size"] if config["group_size"] > 0 else inputs
    quanta, zeros, scales = integers(random, inputs, outputs, bits, inputs // group)
    if config["sym"]:
        zeros[:] = 1 << (bits - 1)
    index = np.arange(inputs) // group
    if config["desc_act"]:
        index = random.permutation(index)
    kept = zeros if config.get("checkpoint_format") == "gptq_v2" else (zeros - 1) % (1 << bits)
    stored = {
        "qweight": np.ascontiguousarray(words(quanta.T, bits).T),
        "qzeros": words(kept, bits),
        "scales": scales,
        "g_idx": index.astype(np.int32),
    }
    return stored, (scales[index].astype(np.float32) * (quanta - zeros[index])).T


def packed_folder(path, config, layer):
    """A model whose linear layers but the last are integers; its tensors in floats."""
    tensors = make_folder(path, quantization_config=config)
    random = np.random.default_rng(1)
    stored = {}
    for name, array in tensors.items():
        if name.endswith("_proj.weight"):
            parts, matrix = layer(random, array.shape[1], array.shape[0], config)
            stored |= {f"{name.removesuffix('weight')}{part}": value for part, value in parts.items()}
            tensors[name] = np.ascontiguousarray(matrix, dtype=np.float32)
        else:
            stored[name] = array
    save_file(stored, str(path / "model.safetensors"))
    return tensors


CASES = {
    "awq": (awq_layer, AWQ),
    "awq, one group": (awq_layer, {**AWQ, "group_size": -1}),
    "gptq": (gptq_layer, GPTQ),
    "gptq, in the order of activations": (gptq_layer, {**GPTQ, "desc_act": True}),
    "gptq, symmetric": (gptq_layer, {**GPTQ, "sym": True, "checkpoint_format": "gptq"}),
    "gptq, second version": (gptq_layer, {**GPTQ, "checkpoint_format": "gptq_v2", "desc_act": True}),
    "gptq, eight bits": (gptq_layer, {**GPTQ, "bits": 8, "desc_act": True}),
    "gptq, one group": (gptq_layer, {**GPTQ, "group_size": -1}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_layer_is_what_its_layout_stands_for(tmp_path, case):
    layer, config = CASES[case]
    wanted = packed_folder(tmp_path / "m", config, layer)
    tensors = ModelTensors(read_config(tmp_path / "m"), Checkpoint(tmp_path / "m"))
    for name in ("layers.0.q", "layers.0.k", "layers.0.o", "layers.1.gate", LAYER):
        np.testing.assert_array_equal(tensors.floats(name), wanted[tensors.source_name(name)])


@pytest.mark.parametrize("targets", [[], ["csource"]])
@pytest.mark.parametrize("case", ["awq", "gptq, in the order of activations", "gptq, eight bits"])
def test_a_compiled_model_computes_with_them(tmp_path, case, targets):
    layer, config = CASES[case]
    wanted = reference_logits(packed_folder(tmp_path / "m", config, layer), TOKENS)
    model = language_model(tmp_path / "m", Settings(kv=parse_kv("k32v32", 2)))
    assert model.facts["weights"] == f"{config['quant_method']}{config['bits']}:g8, others f32"
    session = LanguageSession(byoc.compile(model, targets, use_cache=False).session())
    # csource rounds activations to eight bits.
    close = 1e-4 if not targets else 0.05
    np.testing.assert_allclose(session.score(TOKENS)[0], wanted, rtol=close, atol=close)


def test_integers_stay_as_they_are_and_the_rest_is_kept_as_asked(tmp_path):
    packed_folder(tmp_path / "m", AWQ, awq_layer)
    model = language_model(tmp_path / "m", Settings(weights=WeightSpec.parse("rtn8:g32")))
    assert model.facts["weights"] == "awq4:g8, others rtn8:g32"
    with pytest.raises(UsageError, match=r"awq4:g8 needs a checkpoint of floats, this one holds awq4:g8"):
        language_model(tmp_path / "m", Settings(weights=WeightSpec.parse("awq4:g8"), calibration=(1, 2, 3)))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({**GPTQ, "bits": 3}, 'the checkpoint is quantised by "gptq" to 3 bits'),
        ({**AWQ, "bits": 8}, 'the checkpoint is quantised by "awq" to 8 bits'),
        ({**AWQ, "version": "gemv"}, 'the checkpoint is quantised by "awq" in the layout "gemv"'),
        ({**GPTQ, "checkpoint_format": "marlin"}, 'the checkpoint is quantised by "gptq" in the layout "marlin"'),
        ({**GPTQ, "dynamic": {"-:lm_head": {}}}, "the checkpoint has layers of different widths"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 'by "bitsandbytes" to \\? bits'),
        ({"quant_method": "compressed-tensors"}, 'by "compressed-tensors" to \\? bits'),
    ],
)
def test_other_layouts_are_refused_by_name(tmp_path, config, says):
    make_folder(tmp_path / "m", quantization_config=config)
    with pytest.raises(UnsupportedModelError, match=says):
        language_model(tmp_path / "m")


def with_changes(path, **changes):
    stored = load_file(str(path / "model.safetensors"))
    for part, change in changes.items():
        stored[f"{STORED}.{part}"] = change(stored[f"{STORED}.{part}"])
    save_file(stored, str(path / "model.safetensors"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"qweight": lambda a: a[:-1].copy()}, r'"model.layers.1.mlp.down_proj.qweight" .* has shape \[5, 32\]'),
        ({"qzeros": lambda a: a[:, :1].copy()}, r'"model.layers.1.mlp.down_proj.qzeros" .* has shape \[6, 1\]'),
        ({"scales": lambda a: a[:2].copy()}, r'"model.layers.1.mlp.down_proj.scales" .* has shape \[2, 32\]'),
        ({"qweight": lambda a: a.astype(np.float32)}, r'"model.layers.1.mlp.down_proj.qweight" is float32'),
        ({"g_idx": lambda a: a * 0}, r'"model.layers.1.mlp.down_proj.g_idx" does not put 8 inputs into each of 6'),
        ({"scales": lambda a: a * 0 + np.float32(1e6)}, r'"model.layers.1.mlp.down_proj.scales" holds 1e\+06'),
        ({"scales": lambda a: a * np.nan}, r'"model.layers.1.mlp.down_proj.scales" of .* holds NaN or infinity'),
        ({"g_idx": lambda a: a + 7}, r'"model.layers.1.mlp.down_proj.g_idx" does not put 8 inputs into each of 6'),
    ],
)
def test_tensors_that_do_not_belong_together_are_named(tmp_path, changes, says):
    packed_folder(tmp_path / "m", GPTQ, gptq_layer)
    with_changes(tmp_path / "m", **changes)
    with pytest.raises(ModelFileError, match=says):
        language_model(tmp_path / "m")


def test_layers_that_the_configuration_says_nothing_of_are_told(tmp_path):
    packed_folder(tmp_path / "m", GPTQ, gptq_layer)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    del config["quantization_config"]
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"as integers, and config.json does not say how"):
        language_model(tmp_path / "m")


def test_groups_that_do_not_divide_a_layer_are_told(tmp_path):
    packed_folder(tmp_path / "m", {**GPTQ, "group_size": 8}, gptq_layer)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["quantization_config"]["group_size"] = 32
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"down_proj of 48 inputs and 32 outputs cannot be read in groups of 32"):
        ModelTensors(read_config(tmp_path / "m"), Checkpoint(tmp_path / "m")).floats(LAYER)
