"""The same model gives the same plan and the same artifact, whatever the process and its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

# TVM orders the arithmetic of symbolic shapes by addresses, so that the library of a symbolic model may differ in a few
# instructions; its plan may not.
PROGRAM = """
import sys, byoc
plan = byoc.partition("m.onnx", ["csource", "null"], policy=sys.argv[2], options={"null": {"refuse": "exp,add"}})
open(f"plan{sys.argv[1]}.json", "w").write(plan.to_json())
byoc.compile(plan, use_cache=False).save(f"model{sys.argv[1]}.byoc")
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


def compile_with_two_seeds(folder: Path, policy: str) -> None:
    for seed in ("1", "2"):
        command = [sys.executable, "-c", PROGRAM, seed, policy]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)


@pytest.mark.parametrize("policy", ["priority", "cost"])
@pytest.mark.parametrize("rows", [4, "N"])
def test_two_processes_with_different_hash_seeds_write_the_same_plan(
    tmp_path: Path, policy: str, rows: int | str
) -> None:
    diamonds(tmp_path, rows)
    compile_with_two_seeds(tmp_path, policy)
    assert (tmp_path / "plan1.json").read_bytes() == (tmp_path / "plan2.json").read_bytes()
    if rows == 4:
        assert (tmp_path / "model1.byoc").read_bytes() == (tmp_path / "model2.byoc").read_bytes()
