"""The tests that come with the ``onnx`` package: a choice of them always, all of them as a slow test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.node_tests import GOOD, REFUSED, Row

# One of each kind that TVM's own importer gets wrong or refuses, and of those that byoc once got wrong.
CHOICE = (
    "affine_grid_2d", "attention_4d_gqa_causal_nonpad_decode",
    "averagepool_2d_ceil_last_window_starts_on_pad", "basic_deform_conv_with_padding",
    "batchnorm_example_training_mode", "bitcast_2d_float32_to_int32", "center_crop_pad_crop_and_pad_expanded",
    "col2im_strides", "det_nd", "dropout_default_mask", "gru_seq_length", "hannwindow_symmetric",
    "if",
    "layer_normalization_4d_axis1", "linear_attention_gated", "loop11", "lstm_with_peepholes",
    "maxpool_with_argmax_2d_precomputed_strides", "mish", "nonmaxsuppression_iou_threshold_boundary",
    "qlinearmatmul_2D_uint8_float32", "range_float_type_positive_delta", "reduce_max_empty_set",
    "reshape_zero_and_negative_dim", "resize_downsample_scales_cubic_antialias",
    "resize_tf_crop_and_resize_axes_3_2", "resize_upsample_sizes_nearest_not_larger", "reversesequence_time",
    "scan9_multi_state",
    "sequence_insert_at_front",
    "sequence_map_extract_shapes", "shape_start_1_end_2", "simple_rnn_bidirectional", "split_to_sequence_1",
    "tfidfvectorizer_tf_uniandbigrams_skip5", "ai_onnx_ml_tree_ensemble_set_membership",
)  # fmt: skip

# Operators on strings, images and random numbers: refused in one sentence.
REFUSALS = {
    "string_concat": "strings",
    "equal_string": "tensors of type string",
    "regex_full_match_basic": "strings",
    "image_decoder_decode_png_rgb": "image files",
}


def rows_of(folder: Path, *arguments: str) -> list[Row]:
    """From a process of its own: the driver forks, and a fork of a process that has run kernels lacks their threads."""
    file = folder / "rows.json"
    command = [sys.executable, "-m", "tests.e2e.node_tests", "--json", str(file), *arguments]
    subprocess.run(command, cwd=Path(__file__).resolve().parents[2], check=True, stdout=subprocess.DEVNULL)
    rows: list[Row] = json.loads(file.read_text())
    return rows


def test_a_choice_of_the_node_tests_passes_and_what_cannot_is_refused_in_one_sentence(tmp_path: Path) -> None:
    names = [*CHOICE, *REFUSALS]
    rows = rows_of(tmp_path, "--only", f"^test_({'|'.join(map(re.escape, names))})$")
    assert {row["name"].removeprefix("test_") for row in rows} == set(names)
    surprises = []
    for row in rows:
        name = row["name"].removeprefix("test_")
        known = REFUSALS.get(name)
        as_known = row["byoc"] in GOOD if known is None else row["byoc"] == REFUSED and known in row["detail"]
        if not as_known:
            surprises.append(f"{row['byoc']}: {name}: {row['detail']}")
    assert not surprises, "\n".join(surprises)


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["", "csource"])
def test_nearly_all_node_tests_that_onnx_runtime_passes_pass_and_the_others_are_refused(
    tmp_path: Path, targets: str
) -> None:
    rows = rows_of(tmp_path, "--targets", targets)
    unsound = [row for row in rows if row["byoc"] not in (*GOOD, REFUSED)]  # also an internal error
    assert not unsound, "\n".join(f"{row['byoc']}: {row['name']}: {row['detail']}" for row in unsound)
    measure = [row for row in rows if row["onnxruntime"]]
    assert len(measure) > 1_500
    assert sum(row["byoc"] in GOOD for row in measure) / len(measure) >= 0.97


@pytest.mark.slow
def test_the_models_of_the_onnx_package_pass_or_are_refused(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "--kind", "simple,pytorch-converted,pytorch-operator")
    assert {row["name"]: row["detail"] for row in rows if row["byoc"] not in (*GOOD, REFUSED)} == {}
    measure = [row for row in rows if row["onnxruntime"]]
    assert sum(row["byoc"] in GOOD for row in measure) / len(measure) >= 0.97
