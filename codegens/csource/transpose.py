"""Permutation of axes."""

from __future__ import annotations

from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves, emit_copy, strides_of

from byoc import Match, op


def _emit(m: Match) -> str:
    x = m["x"]
    axes = m.root.attrs["axes"]
    order = [axis_of(a, x.rank) for a in axes] if axes is not None else list(reversed(range(x.rank)))
    strides = strides_of(x)
    return emit_copy(m, m.out, strides_of(m.out), x, [strides[a] for a in order], m.out.shape or ())


KERNELS = (Kernel({"permute_dims": op("permute_dims")("x")}, check_moves, _emit),)
