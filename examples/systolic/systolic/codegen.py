"""The codegen: integer convolutions, products and sums, with the floats at their edges."""

import copy

import numpy as np

from byoc import Codegen, Peaks, const, op, register_codegen, reject
from systolic import machine
from systolic.commands import (
    ADD,
    DEQUANTIZE,
    LOAD_WEIGHTS,
    QUANTIZE,
    Convolution,
    command,
    convolution_stream,
)

EIGHT_BITS = ("int8", "uint8")


@register_codegen("systolic", version="1.0")
class Systolic(Codegen):
    """An emulated 16 x 16 systolic array: int8, with 128 KiB for weights and 64 KiB for activations."""

    headers = ["device.h"]
    sources = ["device.cc"]
    patterns = {
        "conv": op("byoc.qlinear_conv")("x", const("w"), const("bias")),
        "product": op("byoc.qlinear_matmul")("x", const("w"), const("bias")),
        "add": op("byoc.qlinear_add")("a", "b"),
        "quantize": op("quantize")("x", const("scale"), const("zero")),
        "dequantize": op("dequantize")("x", const("scale"), const("zero")),
    }
    # Per-op times come from `cost`; the link decides what a cut is worth.
    peaks = Peaks(flops=2.5e11, bandwidth=machine.DMA, link_bandwidth=machine.DMA, call_overhead=machine.CALL)

    def __init__(self):
        self.addresses = {}

    def requires(self):
        return ("the emulator, which the artifact contains",)

    def check(self, m):
        value = m.inputs[0]
        for v in (value, m.out):
            if v.shape is None or any(not isinstance(d, int) for d in v.shape[1:]):
                return reject("needs every size but that of the batch when it compiles", at=v)
        if m.pattern in ("quantize", "dequantize"):
            return self._check_edge(m)
        if value.dtype not in EIGHT_BITS or m.out.dtype not in EIGHT_BITS:
            return reject("multiplies and adds 8-bit integers", at=value)
        if m.pattern == "add":
            return None
        if m.pattern == "product" and (value.rank != 2 or m["w"].rank != 2):
            return reject("multiplies matrices, no batches of them", at=value)
        if m.pattern == "conv" and (value.rank != 4 or m.out.attrs["groups"] != 1):
            return reject("convolves images, without groups", at=value)
        c = self._convolution(m)
        if c.channels * c.kernel[0] * c.kernel[1] > 1 << 16:
            return reject("sums of so many terms do not fit into 32 bits", at=m["w"])
        if c.band() == 0:
            need = c.channels * c.rows_read(1) * c.width
            return reject(
                f"one row needs {need} bytes of activation memory, {machine.ACTIVATION_SRAM} are there", value
            )
        if m["w"].size > machine.WEIGHT_SRAM:
            return reject(f"{m['w'].size} bytes of weights do not fit into {machine.WEIGHT_SRAM}", at=m["w"])
        return None

    def _check_edge(self, m):
        if m["scale"].size != 1:
            return reject("converts with one scale for all channels", at=m["scale"])
        eight, wide = (m.out, m["x"]) if m.pattern == "quantize" else (m["x"], m.out)
        if eight.dtype not in EIGHT_BITS or wide.dtype != "float32":
            return reject("converts between float32 and 8-bit integers", at=eight)
        if m["x"].rank == 0:
            return reject("converts tensors, no scalars", at=m["x"])
        return None

    def cost(self, m):
        """Cycles of the array, or the DMA of what moves through it."""
        batch = m.out.shape[0] if isinstance(m.out.shape[0], int) else 1
        if m.pattern in ("conv", "product"):
            c = self._convolution(m)
            moved = c.channels * c.height * c.width + c.filters * c.rows * c.columns + m["w"].size / max(1, batch)
            return batch * max(c.cycles() / machine.CLOCK, moved / machine.DMA)
        elements = int(np.prod([d for d in m.out.shape[1:] if isinstance(d, int)], dtype=np.int64))
        return batch * elements * (3 if m.pattern == "add" else 5) / machine.DMA

    def emit(self, partition):
        """Weights stay in the weight memory while a partition runs: one that needs more is split by the framework."""
        addresses, used = {}, 0
        for m in partition.matches:
            if "w" in m:
                addresses[m.root.index] = used
                used += m["w"].size
        if used > machine.WEIGHT_SRAM:
            return reject(f"its weights take {used} bytes, the weight memory has {machine.WEIGHT_SRAM}")
        placed = copy.copy(self)
        placed.addresses = addresses
        return super(Systolic, placed).emit(partition)

    def emit_match(self, m):
        out_bytes = self._bytes_of_one(m.out)
        x = m["a"] if m.pattern == "add" else m["x"]
        tensors = [str(x), str(m["b"]) if m.pattern == "add" else "0", str(m.out)]
        loads, stream, parameters = [], None, ["0", "0", "0", "0"]
        if m.pattern in ("conv", "product"):
            loads, stream, parameters = self._multiplication(m)
        else:
            stream = np.array(self._elementwise(m), np.int64)
        sizes = [self._bytes_of_one(x), out_bytes]
        return (
            f"const void *const tensors[3] = {{{', '.join(tensors)}}};\n"
            f"const void *const parameters[4] = {{{', '.join(parameters)}}};\n"
            f"const int64_t sizes[2] = {{{sizes[0]}, {sizes[1]}}};\n"
            + (f"systolic_run({m.constant(np.array(loads, np.int64), 'loads')}, {len(loads)}, tensors, parameters, "
               f"sizes, 0);\n" if loads else "")
            + f"for (int64_t image = 0; image < {m.out.shape[0]}; ++image)\n"
            f"  systolic_run({m.constant(stream, 'stream')}, {len(stream)}, tensors, parameters, sizes, image);"
        )  # fmt: skip

    def _multiplication(self, m):
        attrs, c = m.out.attrs, self._convolution(m)
        address, weights = self.addresses[m.root.index], m["w"].constant
        if m.pattern == "product":
            weights = weights.T
        loads = command(LOAD_WEIGHTS, address, weights.size)
        stream = convolution_stream(c, address, attrs["x_zero"], attrs["y_zero"], attrs["low"], attrs["high"])
        signed = [int(m["x"].dtype == "int8"), int(m.out.dtype == "int8")]
        filters = np.broadcast_to
        parameters = [
            m.constant(np.ascontiguousarray(weights), "weights"),
            m.constant(m["bias"].constant.astype(np.int32).reshape(-1), "bias"),
            m.constant(filters(np.array(attrs["multiplier"], np.int64), (c.filters,)), "multiplier"),
            m.constant(filters(np.array(attrs["shift"], np.int64), (c.filters,)), "shift"),
        ]
        for begin in range(0, len(stream), len(loads)):
            stream[begin + 18], stream[begin + 19] = signed
        return loads, stream, parameters

    def _elementwise(self, m):
        count = int(np.prod(m.out.shape[1:], dtype=np.int64))
        if m.pattern == "add":
            a = m.out.attrs
            signs = [int(v.dtype == "int8") for v in (m["a"], m["b"], m.out)]
            return command(ADD, count, a["a_zero"], a["b_zero"], *a["multiplier"], *a["shift"], a["y_zero"], a["low"],
                           a["high"], *signs)  # fmt: skip
        scale = int(np.asarray(m["scale"].constant, np.float32).reshape(-1)[:1].view(np.int32)[0])
        zero = int(m["zero"].constant.reshape(-1)[0])
        eight = m.out if m.pattern == "quantize" else m["x"]
        return command(
            QUANTIZE if m.pattern == "quantize" else DEQUANTIZE, count, scale, zero, int(eight.dtype == "int8")
        )

    def _bytes_of_one(self, value):
        return int(np.prod(value.shape[1:], dtype=np.int64)) * (4 if value.dtype == "float32" else 1)

    def _convolution(self, m):
        if m.pattern == "product":
            inner, columns = m["w"].shape
            return Convolution(inner, 1, 1, columns, 1, 1, (1, 1), (1, 1), (1, 1), (0, 0))
        _, channels, height, width = m["x"].shape
        _, filters, rows, columns = m.out.shape
        a = m.out.attrs
        return Convolution(channels, height, width, filters, rows, columns, tuple(m["w"].shape[2:]),
                           tuple(a["strides"]), tuple(a["dilation"]), tuple(a["padding"][:2]))  # fmt: skip
