"""Resizing of images: nearest, linear and cubic, in every coordinate mode."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import FLOATS, INTEGERS, c_helper, literal, load, product, short, store, stored
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import check_moves

from byoc import Match, op, reject

TAPS = {"nearest_neighbor": 1, "linear": 2, "cubic": 4}
COORDINATES = (
    "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "tf_half_pixel_for_nn", "tf_crop_and_resize",
)  # fmt: skip
ROUNDINGS = ("round", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    attrs, x = m.root.attrs, m["x"]
    if attrs["layout"] not in ("NCHW", "NHWC"):
        return reject(f"resize2d of layout {attrs['layout']} is not done, only NCHW and NHWC", at=x)
    if attrs["method"] not in TAPS or attrs["coordinate_transformation_mode"] not in COORDINATES:
        how = f"{attrs['method']} and {attrs['coordinate_transformation_mode']}"
        return reject(f"resize2d with {how} is not done", at=x)
    if x.dtype not in FLOATS | INTEGERS or m.out.dtype != x.dtype:
        return reject(f"resize2d of {x.dtype} into {m.out.dtype} is not done", at=x)
    if not all(isinstance(v, (int, float)) for v in attrs["roi"]):
        return reject("resize2d of a region that is not known when the model is compiled is not done", at=x)
    return None


def _rounding(attrs: Any) -> str:
    if attrs["rounding_method"] in ROUNDINGS:
        return str(attrs["rounding_method"])
    return "round" if attrs["coordinate_transformation_mode"] == "align_corners" else "floor"


def _emit(m: Match) -> str:
    x, out, attrs = m["x"], m.out, m.root.attrs
    taps, dtype = TAPS[attrs["method"]], x.dtype
    name = f"{attrs['method'].split('_')[0]}_{short(dtype)}"
    first = 2 if attrs["layout"] == "NCHW" else 1
    shape, target = x.shape or (), out.shape or ()
    kind = _computed(dtype, taps)
    m.helper(c_helper("resize_axis"))
    m.helper(
        c_helper(
            "resize",
            name=name,
            taps=taps,
            T=stored(dtype),
            C=kind,
            load_nearest=load(dtype, "lines[0][index[0] * r->inner + c]"),
            load=f"({kind}){load(dtype, 'lines[k][index[j] * r->inner + c]')}",
            store=store(dtype, "sum") if dtype in FLOATS else f"({stored(dtype)})sum",
        )
    )
    tables = m.scratch((target[first] + target[first + 1]) * (8 * taps + 1))
    roi = [*attrs["roi"], 0.0, 0.0, 0.0, 0.0][:4]
    coordinates = attrs["coordinate_transformation_mode"].upper()
    how = f"CSOURCE_{coordinates}, CSOURCE_{_rounding(attrs).upper()}, {taps}, {int(attrs['cubic_exclude'])}"
    fill = literal(attrs["extrapolation_value"], "float64" if kind == "double" else "float32")
    return (
        f"const CsourceResize how = {{{how}, {literal(attrs['cubic_alpha'], 'float64')}}};\n"
        f"csource_resize_{name}({out}, {x}, {tables}, {product(shape[:first])}, {shape[first]}, {shape[first + 1]},\n"
        f"    {target[first]}, {target[first + 1]}, {product(shape[first + 2 :])}, &how,\n"
        f"    (const double[]){{{', '.join(literal(v, 'float64') for v in roi)}}}, {fill});"
    )


def _computed(dtype: str, taps: int) -> str:
    """The C type in which elements are blended; the nearest one is only copied, and keeps its own."""
    if dtype == "float64":
        return "double"
    return stored(dtype) if taps == 1 and dtype in INTEGERS else "float"


KERNELS = (Kernel({"resize2d": op("image.resize2d")("x")}, _check, _emit),)
