"""myaccel: an accelerator that multiplies matrices and clamps the result at zero in one call."""

from byoc import Codegen, op, register_codegen, reject


@register_codegen("myaccel", version="1.0")
class MyAccel(Codegen):
    """A matrix multiplier that is driven by library calls."""

    headers = ["myaccel.h"]
    sources = ["myaccel.c"]
    patterns = {"dense_relu": op("nn.relu")(op("matmul")("x", "w"))}

    def check(self, m):
        for value in (m["x"], m["w"]):
            if value.dtype != "float32" or value.rank != 2:
                return reject("takes float32 matrices only", at=value)

    def emit_match(self, m):
        rows, inner = m["x"].shape
        return f"myaccel_dense_relu({m['x']}, {m['w']}, {m.out}, {rows}, {inner}, {m.out.shape[1]});"
