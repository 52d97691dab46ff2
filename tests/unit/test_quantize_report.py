"""What a quantisation reports, and layers that it keeps in float by itself."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import onnx
import pytest

from byoc.cli.guard import guarded
from byoc.quant import quantize, quantize_dynamic
from byoc.quant.sensitivity import Comparison
from tests.float_models import decibels, float_model, images, run, small_cnn


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(small_cnn(), "m.onnx")
    np.savez("b.npz", x=images())
    return tmp_path


def test_the_text_names_the_layers_with_least_signal_over_noise_first():
    report = quantize(small_cnn(), {"x": images()}).report()
    worst = min((r.snr, name) for _, name, r in report.tensors)[1]
    lines = report.text().splitlines()
    assert lines[0] == "9 layers take integers of 8 bits, 0 nodes stay float"
    assert lines[lines.index("least signal over noise:") + 3].startswith(worst)


def test_nodes_that_stay_float_are_named_with_their_reason():
    text = quantize(small_cnn(), {"x": images()}, keep=["conv1"]).report().text()
    assert "float: conv1: kept in float (conv1)" in text


def test_measured_costs_rank_all_layers_with_weights():
    report = quantize(small_cnn(), {"x": images()}).report(measure=True)
    assert {c.layer for c in report.costs} == {"conv0", "conv1", "conv2", "fc"}
    assert [c.gain for c in report.costs] == sorted((c.gain for c in report.costs), reverse=True)
    assert all(c.seconds > 0 for c in report.costs)


def test_auto_keep_leaves_layers_in_float_until_the_budget_holds():
    rng = np.random.default_rng(0)
    weights = {"a": rng.standard_normal((64, 16)), "b": rng.standard_normal((32, 64))}
    nodes = [onnx.helper.make_node("Gemm", ["x", "a"], ["h"], "first", transB=1),
             onnx.helper.make_node("Gemm", ["h", "b"], ["y"], "second", transB=1)]  # fmt: skip
    model = float_model(nodes, {n: w.astype("float32") for n, w in weights.items()}, ("N", 16))
    x = rng.standard_normal((500, 16)).astype("float32")
    coarse = quantize(model, {"x": x}, power_of_two=True, per_channel=False)
    before = Comparison(coarse).disagreement(coarse.proto)
    assert before > 0.5
    kept = quantize(model, {"x": x}, power_of_two=True, per_channel=False, auto_keep=before * 0.9)
    assert Comparison(kept).disagreement(kept.proto) <= before * 0.9
    assert kept.layers.float_nodes and any("kept in float" in note for note in kept.notes)


def test_the_page_stands_alone_and_shows_every_tensor():
    report = quantize(small_cnn(), {"x": images()}).report(measure=True)
    tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            assert not any(name in ("src", "href") for name, _ in attrs)

    Parser().feed(report.html())
    assert tags.count("figure") == len(report.tensors) and tags.count("svg") == len(report.tensors) + 2


def test_the_command_writes_model_parameters_and_page(folder, capsys):
    assert guarded(["quantize", "m.onnx", "--calibrate", "b.npz", "-o", "q.onnx", "--report", "r.html", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["written"] == {"model": "q.onnx", "parameters": "q.quant.json", "report": "r.html"}
    assert decibels(run(small_cnn(), images()), run(onnx.load("q.onnx"), images())) > 25


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ([], "no calibration data is given"),
        (["--dynamic", "--calibrate", "b.npz"], "--dynamic takes no calibration data"),
        (["--calibrate", "none.npz"], "none.npz does not exist"),
        (["--calibrate", "m.onnx"], "m.onnx is no .npz file"),
    ],
)
def test_wrong_calls_of_the_command_write_nothing(folder, capsys, flags, what):
    assert guarded(["quantize", "m.onnx", "-o", "q.onnx", *flags]) == 2
    assert what in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["b.npz", "m.onnx"]


def test_dynamic_quantisation_needs_no_data_and_stays_near_to_float():
    quantised = quantize_dynamic(small_cnn())
    assert quantised.products == ("fc",)
    assert decibels(run(small_cnn(), images()), run(quantised.proto, images())) > 30
