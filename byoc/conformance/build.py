"""A case as a Relax module, and as numpy computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from byoc.conformance.case import Case, Step
from byoc.conformance.fill import fill
from byoc.conformance.oracle import definition
from byoc.conformance.oracle.integer import OPS as _INTEGER
from byoc.conformance.tolerance import Tolerance, single_op
from byoc.ops import (  # noqa: F401 - registered by it
    STATES,
    call,
    find_op,
    hadamard,
    in_place_argument,
    integer_reference,
    kv_append,
    kv_attention,
    linear,
    rope,
    swiglu,
)


def module_of(case: Case) -> tvm.IRModule:
    """The case as a module whose only function is ``main``."""
    symbols: dict[str, Any] = {}
    values: dict[str, Any] = {}
    params = []
    for operand in sorted(case.operands, key=lambda o: o.state):  # states come last
        if operand.constant:
            values[operand.name] = relax.const(fill(operand, {}))
            continue
        dims = [d if isinstance(d, int) else symbols.setdefault(d, tirx.Var(d, "int64")) for d in operand.shape]
        values[operand.name] = relax.Var(operand.name, relax.TensorType(dims, operand.dtype))
        params.append(values[operand.name])
    builder = relax.BlockBuilder()
    attrs = {STATES: [operand.name for operand in case.states]} if case.states else {}
    with builder.function("main", params, attrs=attrs):
        with builder.dataflow():
            for number, step in enumerate(case.steps):
                result = builder.emit(_call(step, [values[name] for name in step.inputs]))
                values[f"s{number}"] = result
                if isinstance(result.ty, relax.TupleType):
                    for i in range(len(result.ty.fields)):
                        values[f"s{number}.{i}"] = builder.emit(relax.TupleGetItem(result, i))
            returned = [values[name] for name in case.returned]
            output = builder.emit_output(returned[0] if len(returned) == 1 else relax.Tuple(returned))
        builder.emit_func_output(output)
    return builder.get()


_LISTED = ("concat", "stack")


def _call(step: Step, inputs: list[Any]) -> Any:
    own = find_op(step.op) if step.op.startswith("byoc.") else None
    if own is not None:
        return call(own, inputs, step.attrs)
    make: Callable[..., Any] = reduce(getattr, step.op.split("."), relax.op)
    attrs = {k: relax.const(v[0], v[1]) if k in ("fill_value",) else v for k, v in step.attrs.items()}
    if step.op == "one_hot":
        attrs = {k: relax.prim_value(v) if k in ("on_value", "off_value") else v for k, v in step.attrs.items()}
    if step.op in _LISTED:
        return make(inputs, **attrs)
    return make(*inputs, **attrs)


@dataclass(frozen=True)
class Expected:
    """What a case returns: values by result, in float64 for floats, and how far an implementation may be off.

    `states` are what the states hold after the call.
    """

    arrays: tuple[np.ndarray, ...]
    tolerance: Callable[[str], Tolerance]
    states: Mapping[str, np.ndarray]


def inputs_of(case: Case, sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays for the operands that are no constants."""
    return {o.name: fill(o, sizes, seed) for o in case.operands if not o.constant and not o.state}


def expected(case: Case, inputs: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray] | None = None) -> Expected:
    """The oracle's results for these inputs, and for these contents of the states."""
    values: dict[str, Any] = {**inputs, **(states or {})}
    held = {name: name for name in states or ()}  # the state that a value is a newer content of
    values |= {o.name: fill(o, {}) for o in case.operands if o.constant}
    kinds: list[tuple[str, int]] = []
    quantized, slack = False, 0.0
    with np.errstate(all="ignore"):
        for number, step in enumerate(case.steps):
            defined = definition(step.op)
            arrays = [values[name] for name in step.inputs]
            result = defined.function(arrays, dict(step.attrs))
            values[f"s{number}"] = result
            for i, field in enumerate(result if isinstance(result, tuple) else ()):
                values[f"s{number}.{i}"] = field
            kinds.append((defined.kind, defined.terms(arrays, result)))
            quantized |= step.op == "quantize" or step.op in _INTEGER
            slack += defined.slack(arrays, step.attrs)
            place = in_place_argument(step.op)
            if place >= 0 and step.inputs[place] in held:
                held[f"s{number}"] = held[step.inputs[place]]
    order = ("exact", "rounded", "transcendental", "sum")
    kind = max((k for k, _ in kinds), key=order.index)
    length = max((n for _, n in kinds), default=1)
    if kind == "sum" and any(k == "transcendental" for k, _ in kinds):
        length *= 16
    arrays_out = tuple(np.asarray(values[name]) for name in case.returned)
    after = {state: values[name] for name, state in held.items()}

    def tolerance(dtype: str) -> Tolerance:
        found = single_op(kind, dtype, length, quantized)
        return replace(found, absolute=found.absolute + slack)

    return Expected(arrays_out, tolerance, after)
