"""A codegen that takes what small NPUs take, for tests of plans on real models: convolutions, products, little else."""

from __future__ import annotations

from byoc import Codegen, Match, Option, const, op, register_codegen, reject

_CONV = op("nn.conv2d")("x", const("w")).named("conv")


@register_codegen("npu", version="1.0")
class Npu(Codegen):
    """Convolutions and matrix products with static shapes; float32 only."""

    patterns = {
        "conv_add_relu": op("nn.relu")(op("add")(_CONV, const("b"))),
        "conv_relu": op("nn.relu")(_CONV),
        "conv_add": op("add")(_CONV, const("b")),
        "conv": _CONV,
        "matmul": op("matmul")("x", const("w")),
        "max_pool": op("nn.max_pool2d")("x"),
    }
    options = {
        "pool": Option(False, "whether the pooling unit is used"),
        "strides": Option("1", "largest stride of a convolution", ("1", "2")),
    }

    def check(self, m: Match) -> object:
        if not m["x"].is_static:
            return reject("takes static shapes only", at=m["x"])
        if m.pattern == "max_pool" and not m.options["pool"]:
            return reject("the pooling unit is off", at=m.out)
        if "conv" in m:
            strides = max(int(s) for s in m["conv"].attrs["strides"])
            if strides > int(m.options["strides"]):
                return reject(f"takes strides up to {m.options['strides']}, not {strides}", at=m["conv"])
            if int(m["conv"].attrs["groups"]) != 1:
                return reject("takes one group only", at=m["conv"])
        return None

    def emit_match(self, m: Match) -> str:
        return f"memset({m.out}, 0, sizeof(*{m.out}) * (size_t)({m.out.size}));"
