"""The same model gives the same plan and the same artifact, whatever the process and its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

PROGRAM = """
import sys, byoc
plan = byoc.partition("m.onnx", ["csource", "null"], policy=sys.argv[2], options={"null": {"refuse": "exp,add"}})
open(f"plan{sys.argv[1]}.json", "w").write(plan.to_json())
byoc.compile(plan, use_cache=False).save(f"model{sys.argv[1]}.byoc")
"""


def diamonds(folder: Path) -> None:
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
        nodes, "diamonds", [info("x", TensorProto.FLOAT, ["N", 8])], [info(last, TensorProto.FLOAT, ["N", 8])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "m.onnx")


def test_two_processes_with_different_hash_seeds_write_the_same_plan_and_artifact(tmp_path: Path) -> None:
    diamonds(tmp_path)
    for policy in ("priority", "cost"):
        for seed in ("1", "2"):
            subprocess.run(
                [sys.executable, "-c", PROGRAM, seed, policy],
                cwd=tmp_path,
                env={**os.environ, "PYTHONHASHSEED": seed},
                check=True,
            )
        assert (tmp_path / "plan1.json").read_bytes() == (tmp_path / "plan2.json").read_bytes()
        assert (tmp_path / "model1.byoc").read_bytes() == (tmp_path / "model2.byoc").read_bytes()
