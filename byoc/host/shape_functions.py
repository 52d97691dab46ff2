"""Make the functions that compute symbolic shapes the same in every process."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx

_PREFIX = "shape_func"


@tvm.transform.module_pass(opt_level=0, name="OrderShapeFunctions")
def order_shape_functions(module: tvm.IRModule, _: Any) -> tvm.IRModule:
    """The module as ``VMShapeLower`` leaves it, with the sizes of every shape function stored by rising slot.

    ``VMShapeLower`` takes the sizes that become known together from a map over addresses.  None of them reads another's
    slot, so that any order computes the same.
    """
    changed = {
        var: function.with_body(_ordered(function.body))
        for var, function in module.functions_items()
        if var.name_hint.startswith(_PREFIX) and isinstance(function, tirx.PrimFunc)
    }
    return tvm.IRModule({**dict(module.functions_items()), **changed}, attrs=module.attrs)


def _ordered(body: Any) -> Any:
    if not isinstance(body, tirx.SeqStmt) or not all(isinstance(s, tirx.BufferStore) for s in body.seq):
        return body
    return tirx.SeqStmt(sorted(body.seq, key=lambda store: int(store.indices[0])))
