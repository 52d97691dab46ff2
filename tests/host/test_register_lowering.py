"""Operators that a user teaches the importer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tvm import relax

import byoc
from byoc.errors import UnsupportedModelError, UsageError
from byoc.importer import table
from tests.imported import make_model, node

X = np.array([[-1.0, 2.0, -3.0]], np.float32)


@pytest.fixture(autouse=True)
def the_table_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(table, "_ENTRIES", {key: list(entries) for key, entries in table._ENTRIES.items()})
    monkeypatch.setattr(table, "_REFUSED", dict(table._REFUSED))
    yield


def acme(version: int = 1, **attributes: object) -> onnx.ModelProto:
    model = make_model([node("Half", "x", domain="com.acme", **attributes)], {"x": ("float32", X.shape)})
    del model.opset_import[1:]
    model.opset_import.append(helper.make_opsetid("com.acme", version))
    return model


def run(model: onnx.ModelProto, **keywords: object) -> np.ndarray:
    results = byoc.compile(model, **{"use_cache": False, **keywords}).session().run({"x": X})
    return next(iter(results.values()))


def halves(view) -> relax.Expr:
    return relax.op.multiply(view.tensor(0), relax.const(view.attribute("by", 0.5), "float32"))


def test_an_operator_of_another_domain_runs_once_it_has_a_lowering() -> None:
    with pytest.raises(UnsupportedModelError, match="Half"):
        run(acme())
    byoc.register_lowering("Half", domain="com.acme")(halves)
    np.testing.assert_array_equal(run(acme()), X / 2)
    np.testing.assert_array_equal(run(acme(by=0.25)), X / 4)


def test_the_lowering_of_the_newest_version_that_is_old_enough_is_taken() -> None:
    byoc.register_lowering("Half", domain="com.acme")(halves)
    byoc.register_lowering("Half", domain="com.acme", since=3)(lambda view: relax.op.negative(view.tensor(0)))
    np.testing.assert_array_equal(run(acme(version=2)), X / 2)
    np.testing.assert_array_equal(run(acme(version=3)), -X)


def test_an_attribute_that_the_lowering_does_not_read_is_refused() -> None:
    byoc.register_lowering("Half", domain="com.acme")(lambda view: view.tensor(0))
    with pytest.raises(UnsupportedModelError, match='its attribute "by" is unknown'):
        run(acme(by=0.25))


def test_a_lowering_may_refuse_a_node_with_its_own_reason() -> None:
    byoc.register_lowering("Half", domain="com.acme")(lambda view: view.refuse("its input is not in metres"))
    with pytest.raises(UnsupportedModelError, match="its input is not in metres"):
        run(acme())


def test_a_lowering_takes_the_place_of_the_one_that_byoc_has() -> None:
    byoc.register_lowering("Relu")(lambda view: relax.op.abs(view.tensor(0)))
    np.testing.assert_array_equal(run(make_model([node("Relu", "x")], {"x": ("float32", X.shape)})), np.abs(X))


def test_a_lowering_comes_before_a_function_of_the_model() -> None:
    model = acme()
    body = [helper.make_node("Neg", ["a"], ["b"])]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("com.acme", "Half", ["a"], ["b"], body, imports))
    np.testing.assert_array_equal(run(model), -X)
    byoc.register_lowering("Half", domain="com.acme")(halves)
    np.testing.assert_array_equal(run(model), X / 2)


def test_a_plugin_of_lowerings_alone_is_a_plugin_and_an_edited_one_is_compiled_again(tmp_path: Path) -> None:
    text = """
import byoc
from tvm import relax

@byoc.register_lowering("Half", domain="com.acme")
def half(view):
    return relax.op.multiply(view.tensor(0), relax.const(FACTOR, "float32"))
"""
    plugin = tmp_path / "half.py"
    for factor in (0.5, 0.25):
        plugin.write_text(text.replace("FACTOR", str(factor)))
        byoc.load_plugin(plugin)
        np.testing.assert_array_equal(run(acme(), use_cache=True, cache_dir=tmp_path / "cache"), X * factor)


def test_a_lowering_of_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="it needs the name of an operator"):
        byoc.register_lowering(domain="com.acme")
