"""Integer ops in C: bit for bit what the reference in NumPy computes, on every instruction set, without floats."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

import byoc
from byoc.ops import call
from byoc.ops.integer_reference import (
    matmul_integer,
    qlinear_add,
    qlinear_average_pool,
    qlinear_conv,
    qlinear_matmul,
    qlinear_mean,
    requantize,
)
from byoc.quant import quantize
from byoc.quant.fixed_point import fixed_point, requantise
from tests.codegens.ops import FLAGS, ROOT, Compiled, relax_function
from tests.float_models import densenet_end, images, small_cnn

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
MACHINES = {
    "avx512 vnni": ("avx512", ()),
    "avx512": ("avx512", ("-mno-avx512vnni",)),
    "avx2 vnni": ("avx2", ()),
    "avx2": ("avx2", ("-mno-avxvnni", "-mno-avx512f")),
    "portable": ("portable", ("-march=x86-64",)),
}


def integers(shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Over the whole range."""
    low, high = RANGES[dtype]
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(dtype)


def rounding(factors, dtype: str, zero: int = 0, bits: int = 31, low: int | None = None) -> dict:
    """Attributes of a requantisation."""
    fixed = fixed_point(factors, bits)
    lowest, highest = RANGES[dtype]
    return {
        "multiplier": fixed.multiplier, "shift": fixed.shift, "y_zero": zero, "out_dtype": dtype,
        "low": lowest if low is None else low, "high": highest,
    }  # fmt: skip


def rounded(total: np.ndarray, attrs: dict, axis: int = -1) -> np.ndarray:
    """The reference's last step; channels lie along `axis`."""
    shape = [1] * total.ndim
    shape[axis] = -1
    multiplier, shift = (np.array(attrs[n], "int64").reshape(shape) for n in ("multiplier", "shift"))
    result = requantise(total, multiplier, shift, attrs["y_zero"], attrs["low"], attrs["high"])
    return result.astype(attrs["out_dtype"])


def conv_reference(x: np.ndarray, w: np.ndarray, bias: np.ndarray, attrs: dict) -> np.ndarray:
    rank, groups = w.ndim - 2, attrs["groups"]
    pads = [(0, 0), (0, 0), *zip(attrs["padding"][:rank], attrs["padding"][rank:], strict=True)]
    padded = np.pad(x.astype("int64") - attrs["x_zero"], pads)
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], attrs["dilation"], strict=True)]
    out = [(n - span) // s + 1 for n, span, s in zip(padded.shape[2:], spans, attrs["strides"], strict=True)]
    total = np.zeros((x.shape[0], w.shape[0], *out), "int64") + bias.reshape(-1, *[1] * rank)
    per, outs = w.shape[1], w.shape[0] // groups
    for group, tap in itertools.product(range(groups), itertools.product(*(range(k) for k in w.shape[2:]))):
        view = padded[:, group * per : (group + 1) * per]
        view = view[(slice(None), slice(None), *_window(tap, attrs, out))]
        chosen = w[(slice(group * outs, (group + 1) * outs), slice(None), *tap)].astype("int64")
        total[:, group * outs : (group + 1) * outs] += np.einsum("nc...,oc->no...", view, chosen)
    return rounded(total, attrs, 1)


def _window(tap, attrs: dict, out) -> list[slice]:
    """What one tap of the kernel reads."""
    places = zip(tap, attrs["dilation"], out, attrs["strides"], strict=True)
    return [slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in places]


def conv_attrs(rank: int, strides=None, padding=None, dilation=None, groups=1, x_zero=0) -> dict:
    ones = (1,) * rank
    return {
        "strides": strides or ones, "padding": padding or (0,) * 2 * rank, "dilation": dilation or ones,
        "groups": groups, "x_zero": x_zero,
    }  # fmt: skip


def compiled(op, attrs: dict, constants, *shapes, isa: str = "native", flags=()) -> Compiled:
    def body(*inputs):
        return call(op, [*inputs, *(relax.const(c, c.dtype.name) for c in constants)], attrs)

    return Compiled(relax_function(body, *shapes), (*FLAGS, *flags), isa=isa)


CONVOLUTIONS = {
    "3x3": ((2, 5, 9, 13), (11, 5, 3, 3), conv_attrs(2, padding=(1, 1, 1, 1))),
    "pointwise": ((1, 16, 7, 9), (24, 16, 1, 1), conv_attrs(2)),
    "pointwise of whole panels": ((1, 6, 8, 8), (8, 6, 1, 1), conv_attrs(2)),
    "strided": ((1, 3, 20, 17), (9, 3, 7, 7), conv_attrs(2, strides=(2, 2), padding=(3, 3, 3, 3))),
    "dilated": ((1, 4, 12, 12), (4, 4, 3, 3), conv_attrs(2, dilation=(2, 3), padding=(2, 3, 2, 3))),
    "uneven padding": ((1, 4, 6, 5), (3, 4, 2, 4), conv_attrs(2, padding=(0, 1, 1, 3))),
    "groups": ((2, 8, 6, 6), (12, 2, 3, 3), conv_attrs(2, groups=4, padding=(1, 1, 1, 1))),
    "depthwise": ((1, 6, 9, 150), (6, 1, 3, 3), conv_attrs(2, groups=6, padding=(1, 1, 1, 1))),
    "depthwise strided": ((1, 6, 9, 9), (12, 1, 3, 3), conv_attrs(2, groups=6, strides=(2, 2), padding=(0, 0, 1, 1))),
    "line": ((2, 3, 40), (5, 3, 5), conv_attrs(1, strides=(2,), padding=(2, 2))),
    "volume": ((1, 2, 4, 5, 6), (3, 2, 2, 3, 3), conv_attrs(3, padding=(0, 1, 1, 1, 1, 1))),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_agree_with_the_reference(case, machine):
    shape, weight, attrs = CONVOLUTIONS[case]
    dtype = "int8" if len(case) % 2 else "uint8"
    x, w, bias = integers(shape, dtype), integers(weight, "int8", 1), integers(weight[:1], "int16", 2).astype("int32")
    taps = int(np.prod(weight[1:]))
    attrs = {**attrs, "x_zero": 7, **rounding(np.linspace(0.1, 2, weight[0]) / (60 * taps**0.5), "int8", 3)}
    isa, flags = MACHINES[machine]
    ours = compiled(qlinear_conv, attrs, (w, bias), (shape, dtype), isa=isa, flags=flags)(x)
    assert np.array_equal(ours, conv_reference(x, w, bias, attrs))


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["int8", "uint8"]), st.integers(1, 9), st.integers(1, 20), st.integers(1, 3), st.integers(1, 2),
    st.integers(0, 2), st.integers(3, 12), st.integers(-100, 100), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_convolution_agrees_with_the_reference(dtype, channels, outs, kernel, stride, pad, size, zero, seed):
    x, w = integers((1, channels, size, size), dtype, seed), integers((outs, channels, kernel, kernel), "int8", seed)
    bias = integers((outs,), "int16", seed).astype("int32")
    zero = max(zero, 0) if dtype == "uint8" else zero
    attrs = conv_attrs(2, (stride, stride), (pad,) * 4, x_zero=zero) | rounding([0.01] * outs, "uint8", 10, low=10)
    ours = compiled(qlinear_conv, attrs, (w, bias), (x.shape, dtype))(x)
    assert np.array_equal(ours, conv_reference(x, w, bias, attrs))


@pytest.mark.parametrize(("x_dtype", "w_dtype"), [("int16", "int16"), ("uint16", "int8"), ("int8", "int16")])
def test_convolutions_of_sixteen_bits_count_in_64(x_dtype, w_dtype):
    x, w = integers((1, 4, 5, 6), x_dtype), integers((3, 4, 3, 3), w_dtype, 1)
    bias = np.array([2**31 - 1, -(2**31), 5], "int32")
    attrs = conv_attrs(2, padding=(1, 1, 1, 1)) | rounding([1e-6, 1e-7, 3e-6], "int16", bits=16)
    ours = compiled(qlinear_conv, attrs, (w, bias), (x.shape, x_dtype))(x)
    assert np.array_equal(ours, conv_reference(x, w, bias, attrs))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 64, 10), (9, 37, 70), (32, 128, 64), (3, 1, 1)])
def test_products_agree_with_the_reference(rows, depth, columns, machine):
    x, w = integers((rows, depth), "int8"), integers((depth, columns), "int8", 1)
    bias = integers((columns,), "int16", 2).astype("int32")
    attrs = {"x_zero": -5, **rounding(np.linspace(0.5, 2, columns) / 3000, "int8", -2)}
    isa, flags = MACHINES[machine]
    ours = compiled(qlinear_matmul, attrs, (w, bias), (x.shape, "int8"), isa=isa, flags=flags)(x)
    assert np.array_equal(ours, rounded((x.astype("int64") + 5) @ w + bias, attrs))


def test_products_of_sixteen_bits_and_of_symbolic_rows():
    x, w, bias = integers((2, 5, 8), "int16"), integers((8, 6), "int16", 1), np.arange(6, dtype="int32")
    attrs = {"x_zero": 0, **rounding([1e-5] * 6, "int16", bits=16)}
    ours = compiled(qlinear_matmul, attrs, (w, bias), ((2, "n", 8), "int16"))(x)
    assert np.array_equal(ours, rounded(x.astype("int64") @ w + bias, attrs))


def test_totals_of_products_with_a_zero_point_of_run_time():
    x, w = integers((5, 33), "uint8"), integers((33, 40), "int8", 1)

    def body(x, zero):
        return call(matmul_integer, [x, zero, relax.const(w, "int8")])

    ours = Compiled(relax_function(body, (x.shape, "uint8"), ((), "uint8")))(x, np.array(130, "uint8"))
    assert np.array_equal(ours, (x.astype("int32") - 130) @ w.astype("int32"))


@pytest.mark.parametrize("types", [("uint8", "int8", "int8"), ("int8", "int8", "uint8"), ("int16", "int16", "int16")])
@pytest.mark.parametrize("factors", [(0.7, 0.3), (1e-4, 2.5), (1e-7, 1e-8)])
def test_sums_agree_with_the_reference(types, factors):
    a, b = integers((3, 700), types[0]), integers((3, 700), types[1], 1)
    (shift,) = fixed_point([max(factors)], 21).shift
    attrs = {
        "a_zero": 2, "b_zero": 1, **rounding([1.0], types[2], 3),
        "multiplier": tuple(round(f * 2.0**shift) for f in factors), "shift": (shift,),
    }  # fmt: skip
    ours = compiled(qlinear_add, attrs, (), (a.shape, types[0]), (b.shape, types[1]))(a, b)
    total = (a.astype("int64") - 2) * attrs["multiplier"][0] + (b.astype("int64") - 1) * attrs["multiplier"][1]
    assert np.array_equal(ours, rounded(total, attrs | {"multiplier": (1,)}))


@pytest.mark.parametrize(("dtype", "out"), [("uint8", "int8"), ("int8", "uint8"), ("int16", "int8"), ("int8", "int16")])
def test_changes_of_scale_agree_with_the_reference(dtype, out):
    x = integers((1000,), dtype)
    attrs = {"x_zero": 4, **rounding([0.37], out, 9)}
    ours = compiled(requantize, attrs, (), (x.shape, dtype))(x)
    assert np.array_equal(ours, rounded(x.astype("int64") - 4, attrs))


@pytest.mark.parametrize("axes", [(2, 3), (1, 2), (1,)])
def test_means_agree_with_the_reference(axes):
    x = integers((2, 5, 7, 9), "uint8")
    count = int(np.prod([x.shape[a] for a in axes]))
    attrs = {"x_zero": 3, "axes": axes, "keepdims": False, **rounding([0.8 / count], "uint8", 1)}
    ours = compiled(qlinear_mean, attrs, (), (x.shape, "uint8"))(x)
    assert np.array_equal(ours, rounded((x.astype("int64") - 3).sum(axes), attrs))


def test_averages_over_windows_agree_with_the_reference():
    x = integers((2, 3, 8, 9), "int8")
    attrs = {"x_zero": -3, "pool_size": (2, 3), "strides": (2, 3), "padding": (0, 0, 0, 0)}
    attrs |= rounding([0.9 / 6], "int8")
    ours = compiled(qlinear_average_pool, attrs, (), (x.shape, "int8"))(x)
    total = (x.astype("int64") + 3).reshape(2, 3, 4, 2, 3, 3).sum((3, 5))
    assert np.array_equal(ours, rounded(total, attrs))


def excluding_padding(x: np.ndarray, zero: int, out: str = "") -> tuple[np.ndarray, dict]:
    """What averages over 3 by 3 elements should be, where those in the padding do not count, and their attributes."""
    attrs = {"x_zero": zero, "pool_size": (3, 3), "strides": (1, 2), "padding": (1, 1, 1, 1)}
    attrs |= rounding([0.8713 / n for n in range(1, 10)], out or x.dtype.name, 2)
    padded, inside = (
        np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1))) for a in (x.astype("int64") - zero, np.ones(x.shape, "int64"))
    )
    total, count = (
        sum(a[:, :, i : i + x.shape[2], j : j + x.shape[3] : 2] for i in range(3) for j in range(3))
        for a in (padded, inside)
    )
    chosen = {name: np.array(attrs[name])[count - 1] for name in ("multiplier", "shift")}
    result = requantise(total, chosen["multiplier"], chosen["shift"], 2, attrs["low"], attrs["high"])
    return result.astype(out or x.dtype), attrs


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_averages_without_padding_divide_by_what_they_count(dtype):
    x = integers((2, 3, 7, 9), dtype)
    wanted, attrs = excluding_padding(x, 5)
    assert np.array_equal(compiled(qlinear_average_pool, attrs, (), (x.shape, dtype))(x), wanted)


def integer_part(model):
    """The model between the quantised input and the quantised output."""
    import onnx

    graph = model.graph
    first, last = graph.node[0], graph.node[-1]
    assert (first.op_type, last.op_type) == ("QuantizeLinear", "DequantizeLinear")
    dtypes = {t.name: t.data_type for t in graph.initializer}
    source = onnx.helper.make_tensor_value_info(first.output[0], dtypes[first.input[2]], [2, 3, 8, 8])
    result = onnx.helper.make_tensor_value_info(last.input[0], dtypes[last.input[2]], None)
    inner = onnx.helper.make_graph(list(graph.node)[1:-1], "integers", [source], [result], list(graph.initializer))
    return onnx.helper.make_model(inner, opset_imports=list(model.opset_import), ir_version=model.ir_version)


FLOAT_INSTRUCTION = re.compile(
    r"\bv?(?:add|sub|mul|div|sqrt|max|min|cmp|comi|ucomi|round|rndscale|fn?m(?:add|sub)\d*|cvt\w*|dp|hadd)[ps][sdh]\b"
    r"|\bv?cvt\w+\b|\bf(?:add|mul|sub|div|ld|st)\w*\b"
)


@pytest.mark.parametrize("make", [small_cnn, densenet_end])
@pytest.mark.parametrize("march", ["native", "x86-64"])
def test_the_object_of_an_integer_model_has_no_float_instruction(tmp_path: Path, march, make):
    model = integer_part(quantize(make(), {"x": images()}).proto)
    artifact = byoc.compile(model, ["csource"], use_cache=False, options={"csource": {"isa": "native"}})
    (code,) = artifact.sources.values()
    assert not re.search(r"\b(?:float|double|rintf|fma)\b", code)
    (tmp_path / "integers.c").write_text(code)
    include = [f"-I{p}" for p in (ROOT / "byoc" / "include", *tvm_ffi.libinfo.include_paths())]
    command = ["gcc", "-c", "-O3", "-std=gnu11", f"-march={march}", *include, "integers.c", "-o", "integers.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    listing = subprocess.run(["objdump", "-d", "integers.o"], cwd=tmp_path, check=True, capture_output=True, text=True)
    instructions = [line.split("\t")[2] for line in listing.stdout.splitlines() if line.count("\t") >= 2]
    assert len(instructions) > 1000
    assert [i for i in instructions if FLOAT_INSTRUCTION.search(i)] == []


def test_the_search_for_float_instructions_finds_some():
    assert FLOAT_INSTRUCTION.search("vfmadd213ps %zmm0,%zmm1,%zmm2") and FLOAT_INSTRUCTION.search("vcvtdq2ps %ymm0")
    assert FLOAT_INSTRUCTION.search("mulss %xmm0,%xmm1") and not FLOAT_INSTRUCTION.search("vpaddd %zmm0,%zmm1")


@pytest.mark.parametrize("make", [small_cnn, densenet_end])
def test_csource_and_the_host_agree_bit_for_bit_on_a_whole_model(make):
    model = integer_part(quantize(make(), {"x": images()}).proto)
    x = integers((2, 3, 8, 8), "int8")
    name = model.graph.input[0].name
    ours, host = (
        next(iter(byoc.Session(byoc.compile(model, targets, use_cache=False)).run({name: x}).values()))
        for targets in (["csource"], [])
    )
    assert ours.dtype == np.int8 and np.array_equal(ours, host)
