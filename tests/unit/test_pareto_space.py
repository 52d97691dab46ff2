"""Search spaces and constraints, without a compiler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from byoc.errors import UsageError
from byoc.pareto.constraint import Constraint
from byoc.pareto.space import NAMES, MixedPrecision, SearchSpace
from byoc.pareto.space_file import read_space
from tests.unit.pareto_samples import CONFIG


def test_constraints_compare_names_with_values() -> None:
    values = {"k_bits": 8, "v_bits": 4, "group": 32}
    names = tuple(values)
    assert Constraint("k_bits >= v_bits and group in [32, 64]", names).holds(values)
    assert not Constraint("not (k_bits == 8) or v_bits < 4", names).holds(values)


@pytest.mark.parametrize(
    ("text", "why"),
    [("k_bts > 2", 'there is no "k_bts"'), ("k_bits >", "invalid syntax"), ("__import__('os')", "Call is not allowed"),
     ("k_bits.real > 1", "Attribute is not allowed")],
)  # fmt: skip
def test_what_is_no_constraint_is_refused_and_never_run(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Constraint(text, NAMES)


def test_a_space_has_each_configuration_once_and_none_that_cannot_be() -> None:
    space = SearchSpace(bits=("k16v16", "k4v2", "k2v4"), group=(16, 32), key_transform=("none", "hadamard"))
    found = replace(space, weights=("f32", "rtn4:g48")).candidates(CONFIG)
    assert [str(c) for c in found.configurations] == [
        "k16v16 f32 chunk 256",  # group and transform do not concern floats; 48 does not divide 64 inputs
        "k4v2:g16 f32 chunk 256",  # 32 does not divide a head of 16
        "k4v2:g16:hadamard f32 chunk 256",
    ]
    assert found.left_out == {
        "weights of 64 inputs cannot be kept in groups of 48": 3,
        "keys cannot be kept in groups of 32: a head has 16 channels": 4,
    }


def test_groups_that_a_file_does_not_name_are_those_that_fit_the_model() -> None:
    small = replace(CONFIG, head_dim=8, hidden=32, intermediate=172)  # as stories260K: 172 is 43 groups of 4
    for config, group, weights in ((CONFIG, 16, 32), (small, 8, 0), (replace(CONFIG, head_dim=128), 32, 32)):
        space = SearchSpace().for_model(config)
        assert space.group == (group,) and space.weights == ("f16", f"rtn8:g{weights}", f"rtn4:g{weights}")
        assert space.candidates(config).left_out == {}
    written = SearchSpace(group=(64,), weights=("f32",))
    assert written.for_model(CONFIG) == written


def test_a_mixed_precision_that_does_not_fit_is_left_out_and_one_of_all_layers_refused() -> None:
    mixed = MixedPrecision("k2v2:g32", "k8v8:g32", (1, 2))
    space = SearchSpace(bits=("k16v16",), mixed=(mixed,)).for_model(CONFIG)
    found = space.candidates(CONFIG)
    assert found.mixed == () and found.left_out == {"keys cannot be kept in groups of 32: a head has 16 channels": 1}
    with pytest.raises(UsageError, match=r"mixed precision names \[1, 4\] layers, the model has 4"):
        replace(space, mixed=(replace(mixed, layers=(1, 4)),)).candidates(CONFIG)


def test_a_space_of_which_nothing_is_left_says_why() -> None:
    with pytest.raises(UsageError, match="the constraints exclude all"):
        SearchSpace(constraints=("k_bits > 32",)).for_model(CONFIG).candidates(CONFIG)
    with pytest.raises(UsageError, match="groups of 32: a head has 16 channels"):
        SearchSpace(bits=("k4v4",), group=(32,)).for_model(CONFIG).candidates(CONFIG)


@pytest.mark.parametrize(
    "space",
    [
        SearchSpace(granularity=("per-token", "per-tensor")),
        SearchSpace(weights=("f16", "awq4:g32")),
        SearchSpace(mixed=(MixedPrecision("k4v4:per-tensor", "k8v8:g16"),)),
    ],
)
def test_what_needs_a_calibration_text_is_refused_without_one(space: SearchSpace) -> None:
    with pytest.raises(UsageError, match="cannot be searched without a calibration text"):
        space.check_calibration(False)
    space.check_calibration(True)
    SearchSpace().check_calibration(False)


def test_a_cache_with_one_scale_has_no_groups_and_its_command_names_the_text() -> None:
    space = SearchSpace(
        bits=("k16v16", "k8v8"), group=(8, 16), granularity=("per-token", "per-tensor"), weights=("f16", "awq4:g32")
    )
    found = space.candidates(CONFIG).configurations
    assert [str(c) for c in found] == [
        "k16v16 f16 chunk 256", "k16v16 awq4:g32 chunk 256",
        "k8v8:g8 f16 chunk 256", "k8v8:g8 awq4:g32 chunk 256",
        "k8v8:g16 f16 chunk 256", "k8v8:g16 awq4:g32 chunk 256",
        "k8v8:per-tensor f16 chunk 256", "k8v8:per-tensor awq4:g32 chunk 256",
    ]  # fmt: skip
    needing = [c for c in found if c.command("m", 64).endswith("--chunk 64 --calibrate FILE")]
    assert [str(c) for c in needing] == [str(c) for c in found if "awq" in str(c) or "per-tensor" in str(c)]


def test_mixed_precision_keeps_the_most_sensitive_layers() -> None:
    mixed = MixedPrecision("k2v2:g16", "k8v8:g16", (1, 2))
    space = SearchSpace(weights=("f32",), mixed=(mixed,))
    found = space.mixed_configurations(4, {mixed: [2, 0, 1, 3]})
    assert [c.kv for c in found] == ["k2v2:g16;2=k8v8:g16", "k2v2:g16;0,2=k8v8:g16"]


@pytest.mark.parametrize("name", ["space.toml", "space.yaml"])
def test_toml_and_yaml_say_the_same(tmp_path: Path, name: str) -> None:
    text = {
        "space.toml": (
            'bits = ["k4v4"]\ngroup = 16\n[[mixed]]\nlow = "k2v2"\nkeep = "k8v8"\n[tasks.recall]\nfile = "x"\n'
        ),
        "space.yaml": "bits: [k4v4]\ngroup: 16\nmixed: [{low: k2v2, keep: k8v8}]\ntasks: {recall: {file: x}}\n",
    }[name]
    (tmp_path / name).write_text(text)
    space, tasks = read_space(tmp_path / name)
    assert (space.bits, space.group, tasks) == (("k4v4",), (16,), {"recall": {"file": "x"}})
    assert space.mixed == (MixedPrecision("k2v2", "k8v8", (1, 2)),)


def test_an_unknown_entry_of_a_space_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("bitz = [4]\n")
    with pytest.raises(UsageError, match='has an unknown entry "bitz"'):
        read_space(tmp_path / "s.toml")
