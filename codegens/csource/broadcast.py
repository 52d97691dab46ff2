"""Element-wise loops over tensors of different shapes: axes merged, one C function for the tile, one for the walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from byoc_codegens.csource.c_text import c_helper, computed, int64s, item_size, load, row_strides, short, store, stored

from byoc import Match, Value

NAMES = "abc"


@dataclass(frozen=True)
class LoopNest:
    """A broadcast as few loops as possible.

    Attributes
    ----------
    extents: of the loops, outermost first; at least one.
    strides: for each input its stride, in elements, in each loop; 0 where it is repeated.
    """

    extents: tuple[Any, ...]
    strides: tuple[tuple[Any, ...], ...]

    @property
    def repeats_last(self) -> tuple[bool, ...]:
        """For each input, whether it stays the same in the innermost loop."""
        return tuple(isinstance(s[-1], int) and s[-1] == 0 for s in self.strides)


def is_one(dim: Any) -> bool:
    return isinstance(dim, int) and dim == 1


def can_broadcast(shape: Sequence[Any], to: Sequence[Any]) -> bool:
    """Whether a tensor of `shape` is known, when the model is compiled, to fit into shape `to`."""
    return len(shape) <= len(to) and all(
        is_one(d) or d == t for d, t in zip(reversed(shape), reversed(to), strict=False)
    )


def loop_nest(out_shape: Sequence[Any], shapes: Sequence[Sequence[Any]]) -> LoopNest:
    """Merge the axes along which every input either moves or repeats."""
    rank = len(out_shape)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    extents: list[Any] = []
    moves: list[tuple[bool, ...]] = []
    for axis, extent in enumerate(out_shape):
        if is_one(extent):
            continue
        moving = tuple(not is_one(shape[axis]) for shape in padded)
        if moves and moves[-1] == moving:
            extents[-1] = extents[-1] * extent
        else:
            extents.append(extent)
            moves.append(moving)
    if not extents:
        extents, moves = [1], [tuple(True for _ in padded)]
    strides = []
    for i in range(len(padded)):
        own = row_strides(e if m[i] else 1 for e, m in zip(extents, moves, strict=True))
        strides.append(tuple(s if m[i] else 0 for s, m in zip(own, moves, strict=True)))
    return LoopNest(tuple(extents), tuple(strides))


def emit_broadcast(
    m: Match,
    name: str,
    expression: str,
    inputs: Sequence[Value],
    *,
    out: Value | None = None,
    shapes: Sequence[Sequence[Any]] | None = None,
    grain: int = 32768,
) -> str:
    """C statements for ``out = expression`` at every element.

    Parameters
    ----------
    name: part of the tile function's name that tells this expression from others.
    expression: in ``a``, ``b``, ``c``, the elements of the inputs.
    shapes: of the inputs, where they are to be seen with another shape than their own.
    grain: elements below which no second thread is worth its start.
    """
    out = out or m.out
    nest = loop_nest(out.shape or (), shapes or [v.shape or () for v in inputs])
    m.helper(c_helper("broadcast"))
    function, text = _tile(name, expression, [v.dtype for v in inputs], out.dtype, nest.repeats_last)
    m.helper(text)
    pointers = ", ".join(str(v) for v in inputs)
    strides = int64s(s for own in nest.strides for s in own)
    return (
        f"csource_broadcast({function}, {out}, {item_size(out.dtype)}, {len(inputs)},\n"
        f"                  (const void *const[]){{{pointers}}}, {int64s(item_size(v.dtype) for v in inputs)},\n"
        f"                  {len(nest.extents)}, {int64s(nest.extents)}, {strides}, {grain});"
    )


def _tile(name: str, expression: str, dtypes: Sequence[str], out: str, repeats: Sequence[bool]) -> tuple[str, str]:
    """Name and text of the C function that computes `rows` x `cols` elements."""
    tags = [short(dtype) for dtype, _ in groupby([*dtypes, out])]
    function = "_".join(["csource", name, *tags, "".join("s" if r else "v" for r in repeats)])
    lines = [
        f"/* {expression}, with {_describe(repeats)} */",
        f"static void {function}(int64_t rows, int64_t cols, void *out, const void *const *in, const int64_t *step) {{",
        "  for (int64_t row = 0; row < rows; ++row) {",
        f"    {stored(out)} *BYOC_RESTRICT y = ({stored(out)} *)out + row * cols;",
    ]
    fixed: list[str] = []
    moving: list[str] = []
    for i, (dtype, repeat) in enumerate(zip(dtypes, repeats, strict=True)):
        letter = NAMES[i]
        pointer = f"(const {stored(dtype)} *)in[{i}] + row * step[{i}]"
        lines.append(f"    const {stored(dtype)} *in_{letter} = {pointer};")
        element = load(dtype, f"in_{letter}[{'0' if repeat else 'col'}]")
        (fixed if repeat else moving).append(f"const {computed(dtype)} {letter} = {element};")
    lines += [f"    {text}" for text in fixed]
    lines.append("    for (int64_t col = 0; col < cols; ++col) {")
    lines += [f"      {text}" for text in moving]
    lines.append(f"      y[col] = {store(out, _cast(expression, out))};")
    lines += ["    }", "  }", "}"]
    return function, "\n".join(lines)


def _cast(expression: str, dtype: str) -> str:
    return f"({stored(dtype)})({expression})" if dtype not in ("float16", "bfloat16") else expression


def _describe(repeats: Sequence[bool]) -> str:
    scalars = [NAMES[i] for i, r in enumerate(repeats) if r]
    if not scalars:
        return f"{' and '.join(NAMES[: len(repeats)])} moving along the columns"
    return f"{' and '.join(scalars)} the same in all columns"
