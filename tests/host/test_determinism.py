"""The same model gives the same plan and the same artifact, whatever the process and its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.language_models import make_folder

PROGRAM = """
import sys, byoc
plan = byoc.partition("m.onnx", ["csource", "null"], policy=sys.argv[2], options={"null": {"refuse": "exp,add"}})
open(f"plan{sys.argv[1]}.json", "w").write(plan.to_json())
byoc.compile(plan, use_cache=False).save(f"model{sys.argv[1]}.byoc")
"""
# TVM's maps over addresses differ from one compilation to the next, in one process as well.
LANGUAGE_MODEL = """
import sys, byoc
from byoc.llm import Settings, language_model, parse_kv
for round in range(3):
    model = language_model("m", Settings(kv=parse_kv("k8v4:g8", 2), chunk=8))
    byoc.compile(model, ["csource"], use_cache=False).save(f"model{sys.argv[1]}{round}.byoc")
"""


def diamonds(folder: Path, rows: int | str) -> None:
    """Many ops of equal standing, so that an order taken from a hash would show."""
    nodes, last = [], "x"
    for k in range(6):
        nodes += [
            helper.make_node("Relu", [last], [f"r{k}"], name=f"/{k}/Relu"),
            helper.make_node("Exp", [last], [f"e{k}"], name=f"/{k}/Exp"),
            helper.make_node("Sin", [last], [f"s{k}"], name=f"/{k}/Sin"),
            helper.make_node("Add", [f"r{k}", f"e{k}"], [f"a{k}"], name=f"/{k}/Add"),
            helper.make_node("Mul", [f"a{k}", f"s{k}"], [f"m{k}"], name=f"/{k}/Mul"),
        ]
        last = f"m{k}"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "diamonds", [info("x", TensorProto.FLOAT, [rows, 8])], [info(last, TensorProto.FLOAT, [rows, 8])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "m.onnx")


def run_with_two_seeds(folder: Path, program: str, *arguments: str) -> None:
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, seed, *arguments]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)


@pytest.mark.parametrize("policy", ["priority", "cost"])
@pytest.mark.parametrize("rows", [4, "N"])
def test_two_processes_with_different_hash_seeds_write_the_same_plan_and_artifact(
    tmp_path: Path, policy: str, rows: int | str
) -> None:
    diamonds(tmp_path, rows)
    run_with_two_seeds(tmp_path, PROGRAM, policy)
    assert (tmp_path / "plan1.json").read_bytes() == (tmp_path / "plan2.json").read_bytes()
    assert (tmp_path / "model1.byoc").read_bytes() == (tmp_path / "model2.byoc").read_bytes()


def test_a_language_model_compiled_again_and_again_is_the_same_artifact(tmp_path: Path) -> None:
    make_folder(tmp_path / "m")
    run_with_two_seeds(tmp_path, LANGUAGE_MODEL)
    found = {(tmp_path / f"model{seed}{round}.byoc").read_bytes() for seed in (1, 2) for round in range(3)}
    assert len(found) == 1
