"""Linear layers with weights of four or eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from byoc_codegens.csource.c_text import c_helper, product
from byoc_codegens.csource.family import Kernel

from byoc import Match, const, op, reject

_LANES = 16  # outputs of a panel
_MASKS = {4: "0x0f0f0f0f", 8: "-1"}
_BITS = {"byoc.linear_w4": 4, "byoc.linear_w8": 8}


def _group(m: Match) -> int:
    return int(m.root.attrs["group"])


def _block(group: int) -> int:
    """Inputs that are quantised with one scale."""
    return 32 if group % 32 == 0 else group


def _check(m: Match) -> Any:
    if m["x"].dtype != "float32":
        return reject(f"{m.root.op} of {m['x'].dtype} is not done", at=m["x"])
    if m["scale"].dtype != "float16":
        return reject(f"scales of {m['scale'].dtype} are not done, only float16", at=m["scale"])
    if m.root.attrs.get("exact", 0):
        return reject("its input must not be rounded to eight bits", at=m["x"])
    if _group(m) % 8:
        return reject(f"groups of {_group(m)} inputs are not done, only multiples of 8", at=m["packed"])
    return None


def _emit(m: Match) -> str:
    bits, group = _BITS[m.root.op], _group(m)
    packed, scale, zero = (_constant(m, name) for name in ("packed", "scale", "zero"))
    outputs = packed.shape[0]
    inputs = packed.shape[1] * 8 // bits
    uniform = int(zero.flat[0]) if zero.size and (zero == zero.flat[0]).all() else -1
    rows = product((m["x"].shape or ())[:-1])
    m.helper(c_helper("kv_vector"))
    m.helper(c_helper("linear_dot"))
    name = f"w{bits}_g{group}_z{uniform if uniform >= 0 else 'any'}"
    m.helper(
        c_helper("packed_linear", id=name, bits=bits, group=group, block=_block(group), zero=uniform, mask=_MASKS[bits])
    )
    weights = m.constant(pack_panels(packed, scale, None if uniform >= 0 else zero, bits, group), "panels")
    # A row's integers, its blocks' scales and its groups' sums.
    scratch = m.scratch(rows * (inputs + 4 * (inputs // _block(group)) + 4 * (inputs // group)))
    return f"linear_{name}({weights}, {m['x']}, {rows}, {inputs}, {outputs}, {scratch}, {m.out});"


def _constant(m: Match, name: str) -> np.ndarray:
    array = m[name].constant
    assert array is not None
    return array


def pack_panels(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, bits: int, group: int) -> np.ndarray:
    """uint8 panels as ``c/packed_linear.c`` describes them; outputs are filled up to whole panels with zeros."""
    outputs = packed.shape[0]
    padding = -outputs % _LANES
    quanta = (packed[:, :, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & ((1 << bits) - 1)
    quanta = np.pad(quanta.reshape(outputs, -1), ((0, padding), (0, 0)))
    panels, groups, words = quanta.shape[0] // _LANES, scale.shape[1], 32 // bits
    # [panel][group][words of inputs][output][byte], a byte holding input byte + 4 k in its k-th bits
    parts = quanta.reshape(panels, _LANES, groups, group // words, words // 4, 4)
    shifted = parts.astype(np.uint8) << (np.arange(words // 4, dtype=np.uint8) * bits)[:, None]
    bytes_ = np.bitwise_or.reduce(shifted, axis=4).transpose(0, 2, 3, 1, 4).reshape(panels, groups, -1)
    columns = [bytes_, _per_group(scale, padding, panels).view(np.uint8)]
    if zero is not None:
        columns.append(_per_group(zero, padding, panels))
    return np.ascontiguousarray(np.concatenate(columns, axis=2)).reshape(-1)


def _per_group(values: np.ndarray, padding: int, panels: int) -> np.ndarray:
    """[outputs][groups] as [panel][group][output]."""
    padded = np.pad(values, ((0, padding), (0, 0)))
    return np.ascontiguousarray(padded.reshape(panels, _LANES, -1).transpose(0, 2, 1))


_CONSTANTS = tuple(const(name) for name in ("packed", "scale", "zero"))
KERNELS = (Kernel({name.removeprefix("byoc."): op(name)("x", *_CONSTANTS) for name in _BITS}, _check, _emit),)
