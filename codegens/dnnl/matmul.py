"""Products of matrices."""

from __future__ import annotations

from typing import Any

from byoc_codegens.dnnl.family import Kernel, Translation
from byoc_codegens.dnnl.program import Tensor

from byoc import Match, reject


def _check(m: Match) -> Any:
    a, b = m.root.inputs
    if m.root.attrs.get("out_dtype") not in (None, "", "void", "float32"):
        return reject(f"gives float32, not {m.root.attrs['out_dtype']}", at=m.out)
    assert a.shape is not None and b.shape is not None
    if any(
        isinstance(d, int) != isinstance(e, int) for d, e in zip(a.shape[:-2][::-1], b.shape[:-2][::-1], strict=False)
    ):
        return reject("whether a symbolic batch is broadcast is not known", at=b)
    return None


def _matmul(m: Match, to: Translation) -> Tensor:
    a, b = (to.tensor(v) for v in m.root.inputs)
    shape = m.out.shape
    assert shape is not None
    if a.rank == 1:
        a = to.reshape(a, (1, a.shape[0]))
    if b.rank == 1:
        b = to.reshape(b, (b.shape[0], 1))
    columns = b.shape[-1]
    batch = _broadcast(a.shape[:-2], b.shape[:-2])
    product = to.add("matmul", [a, b], (*batch, a.shape[-2], columns))
    return product if product.shape == shape else to.reshape(product, shape)


def _broadcast(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return tuple(e if d == 1 else d for d, e in pairs)


KERNELS = (Kernel("matmul", _matmul, _check),)
