"""Codegens that want other layouts get them, and transposes between their partitions cancel."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

import byoc
from byoc import Codegen, op, register_codegen, reject
from tests.host.modules import run_on_host

NHWC_CONV = """\
for (int64_t i = 0; i < {height}; ++i) for (int64_t j = 0; j < {width}; ++j) for (int64_t o = 0; o < {outputs}; ++o) {{
  float sum = 0;
  for (int64_t u = 0; u < 3; ++u) for (int64_t v = 0; v < 3; ++v) {{
    int64_t y = i + u - 1, x = j + v - 1;
    if (y < 0 || x < 0 || y >= {height} || x >= {width}) continue;
    for (int64_t c = 0; c < {channels}; ++c)
      sum += {data}[(y * {width} + x) * {channels} + c] * {weight}[((o * 3 + u) * 3 + v) * {channels} + c];
  }}
  {out}[(i * {width} + j) * {outputs} + o] = sum;
}}"""


def two_convolutions(groups_of_second: int = 1) -> tvm.IRModule:
    rng = np.random.default_rng(0)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 8, 6, 5), "float32"))
    weights = [
        relax.const(rng.standard_normal((8, 8, 3, 3), dtype="float32") / 8),
        relax.const(rng.standard_normal((8, 8 // groups_of_second, 3, 3), dtype="float32") / 8),
    ]
    with builder.function("main", [x]):
        with builder.dataflow():
            first = builder.emit(relax.op.nn.conv2d(x, weights[0], padding=1))
            middle = builder.emit(relax.op.nn.relu(first))
            second = builder.emit(relax.op.nn.conv2d(middle, weights[1], padding=1, groups=groups_of_second))
            result = builder.emit_output(relax.op.exp(second))
        builder.emit_func_output(result)
    return builder.get()


@pytest.fixture
def nhwc() -> str:
    @register_codegen("nhwc", version="1")
    class Nhwc(Codegen):
        """3x3 convolutions, channels last."""

        patterns = {"conv": op("nn.conv2d")("x", "w"), "relu": op("nn.relu")("x")}
        layout = {"nn.conv2d": ("NHWC", "OHWI")}

        def check(self, m: byoc.Match) -> object:
            if m.pattern == "conv" and m.out.attrs["data_layout"] != "NHWC":
                return reject(f"takes NHWC, this is {m.out.attrs['data_layout']}", at=m.out)
            if m.pattern == "conv" and m.out.attrs["groups"] != 1:
                return reject("takes one group only", at=m.out)
            return None

        def emit_match(self, m: byoc.Match) -> str:
            if m.pattern == "relu":
                return f"for (int64_t i = 0; i < {m.out.size}; ++i) {m.out}[i] = {m['x']}[i] > 0 ? {m['x']}[i] : 0;"
            _, height, width, channels = m["x"].shape
            return NHWC_CONV.format(data=m["x"], weight=m["w"], out=m.out, height=height, width=width,
                                    channels=channels, outputs=m.out.shape[-1])  # fmt: skip

    return "nhwc"


X = np.random.default_rng(1).standard_normal((1, 8, 6, 5), dtype="float32")


def check(module: tvm.IRModule, target: str) -> byoc.Plan:
    plan = byoc.partition(module, [target])
    got = byoc.compile(plan, use_cache=False).session().run({"x": X})["output"]
    np.testing.assert_allclose(got, run_on_host(module, "main", X)[0], rtol=1e-4, atol=1e-5)
    return plan


def test_convolutions_are_converted_and_transposes_stand_only_at_the_edges(nhwc: str) -> None:
    plan = check(two_convolutions(), nhwc)
    ops = plan.functions[0].ops
    assert [o.owner for o in ops if o.op in ("nn.conv2d", "nn.relu")] == ["nhwc"] * 3
    assert sum(o.op == "permute_dims" for o in ops) == 2
    assert len(plan.functions[0].partitions) == 1


def test_an_op_that_the_codegen_refuses_keeps_its_own_layout(nhwc: str) -> None:
    plan = check(two_convolutions(groups_of_second=2), nhwc)
    owners = [o.owner for o in plan.functions[0].ops if o.op == "nn.conv2d"]
    assert owners == ["nhwc", "host"]
    refused = [o for o in plan.functions[0].ops if o.op == "nn.conv2d"][1]
    assert refused.verdicts[0].reason in ("takes NHWC, this is NCHW", "takes one group only")
