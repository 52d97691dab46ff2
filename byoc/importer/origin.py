"""Where each Relax call came from: the ONNX node's name and operator type, kept on the call's span.

A span survives TVM's own passes as long as the call itself does.  Calls that a pass makes have none;
:func:`inherit_origins` gives them the one of the op that they most plainly stem from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import tvm
from tvm import ir, relax

_MARK = "onnx\x1f"


@dataclass(frozen=True)
class Origin:
    """The ONNX node that an op stems from.  ``op_type`` carries its domain if it is not ONNX's own.

    ``note`` is what a rewrite has to say about the op: why it could not become a better one.
    """

    node: str
    op_type: str
    note: str = field(default="", compare=False)


def origin_of(expr: relax.Expr) -> Origin | None:
    """The origin on ``expr``'s span, or None."""
    span = expr.span
    if isinstance(span, ir.SequentialSpan):
        return next((origin for origin in map(_origin, span.spans) if origin is not None), None)
    return _origin(span)


def _origin(span: ir.Span | None) -> Origin | None:
    if span is None or not span.source_name.name.startswith(_MARK):
        return None
    _, op_type, note, node = span.source_name.name.split("\x1f", 3)
    return Origin(node, op_type, note)


def absorbed_origins(expr: relax.Expr) -> tuple[Origin, ...]:
    """The origins of the other nodes that ``expr`` computes, for an op that stands for several."""
    span = expr.span
    if not isinstance(span, ir.SequentialSpan):
        return ()
    found = (_origin(part) for part in span.spans)
    return tuple(origin for origin in found if origin is not None)[1:]


def with_origin(call: relax.Call, origin: Origin, absorbed: Sequence[Origin] = ()) -> relax.Call:
    """The same call, carrying ``origin``, and those of other nodes whose work it does too."""
    others = [other for other in dict.fromkeys(absorbed) if other != origin]
    if not others:
        return _with_span(call, _span(origin))
    return _with_span(call, ir.SequentialSpan([_span(one) for one in (origin, *others)]))


def with_note(call: relax.Call, note: str) -> relax.Call:
    """The same call with a note on its origin; the call itself if it has no origin."""
    origin = origin_of(call)
    return call if origin is None else with_origin(call, replace(origin, note=note), absorbed_origins(call))


def inherit_origins(module: tvm.IRModule) -> tvm.IRModule:
    """Give each call without an origin the one of its consumer, else of its producer, else one of its own.

    Stable and idempotent; returns ``module`` itself if no call lacks an origin.
    """
    changed = {}
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            seen = _inherit_in_function(function, None)
            if seen is not function:
                changed[name] = seen
    if not changed:
        return module
    module = tvm.IRModule(dict(module.functions_items()), attrs=module.attrs, global_infos=module.global_infos)
    for name, function in changed.items():
        module.update_func(name, function)
    return relax.transform.Normalize()(module)  # a rebuilt If has no type until then


def keep_origins(pass_: Callable[[tvm.IRModule], tvm.IRModule]) -> Callable[[tvm.IRModule], tvm.IRModule]:
    """The pass, after which its new calls get origins: of the node that they took the place of, else inherited."""

    def run(module: tvm.IRModule) -> tvm.IRModule:
        before = {name.name_hint: _order(function) for name, function in module.functions_items()}
        return inherit_origins(_replace_vanished(pass_(module), before))

    return run


def stamp(binding: relax.Binding, origin: Origin) -> relax.Binding:
    """The binding with ``origin`` on the call that it binds, unless that call has an origin already."""
    value = binding.value
    if not isinstance(value, relax.Call) or origin_of(value) is not None:
        return binding
    return _rebind(binding, with_origin(value, origin))


def _span(origin: Origin) -> ir.Span:
    return ir.Span(ir.SourceName(f"{_MARK}{origin.op_type}\x1f{origin.note}\x1f{origin.node}"), 1, 1, 1, 1)


def _with_span(call: relax.Call, span: ir.Span) -> relax.Call:
    return relax.Call(call.op, call.args, call.attrs, call.ty_args, span=span)


def _rebind(binding: relax.Binding, value: relax.Expr) -> relax.Binding:
    if isinstance(binding, relax.MatchCast):
        return relax.MatchCast(binding.var, value, binding.ty)
    return relax.VarBinding(binding.var, value)


def _inherit_in_function(function: relax.Function, fallback: Origin | None) -> relax.Function:
    before = function.body
    body = _inherit_in_sequence(before, fallback)
    if body is before:  # an attribute of a TVM object is a new Python object at each access: compare what was passed
        return function
    return _with_body(function, body)


def _with_body(function: relax.Function, body: relax.SeqExpr) -> relax.Function:
    return relax.Function(
        function.params, body, function.ret_ty, is_pure=function.is_pure, attrs=function.attrs, span=function.span
    )


def _inherit_in_sequence(sequence: relax.SeqExpr, fallback: Origin | None) -> relax.SeqExpr:
    bindings = [binding for block in sequence.blocks for binding in block.bindings]
    origins = _spread(bindings, fallback)
    changed = False
    blocks = []
    position = 0
    for block in sequence.blocks:
        fresh = []
        for binding in block.bindings:
            renewed = _renew(binding, origins[position])
            changed |= renewed is not binding
            fresh.append(renewed)
            position += 1
        blocks.append(type(block)(fresh))
    return relax.SeqExpr(blocks, sequence.body, sequence.span) if changed else sequence


def _spread(bindings: list[relax.Binding], fallback: Origin | None) -> list[Origin | None]:
    """One origin per binding: its own, else its first consumer's, else its last producer's, else ``fallback``."""
    origins = [origin_of(b.value) if isinstance(b.value, relax.Call) else None for b in bindings]
    if all(o is not None or not isinstance(b.value, relax.Call) for o, b in zip(origins, bindings, strict=True)):
        return origins
    place = {binding.var: index for index, binding in enumerate(bindings)}
    reads = [[place[var] for var in _vars_read(binding.value) if var in place] for binding in bindings]
    for index in range(len(bindings) - 1, -1, -1):  # consumers come later, so they are settled first
        for producer in reads[index]:
            if origin_of_own(bindings[producer]) is None and origins[index] is not None:
                origins[producer] = origins[index]
    for index, producers in enumerate(reads):
        if origins[index] is None:
            origins[index] = next((origins[p] for p in reversed(producers) if origins[p] is not None), fallback)
    return origins


def _with_functions(module: tvm.IRModule, functions: dict[tvm.ir.GlobalVar, relax.Function]) -> tvm.IRModule:
    """A copy of the module with these functions in place of those of the same names."""
    copy = tvm.IRModule(dict(module.functions_items()), attrs=module.attrs, global_infos=module.global_infos)
    for name, function in functions.items():
        copy.update_func(name, function)
    return relax.transform.Normalize()(copy)  # fills in the types of what was rebuilt


def _order(function: tvm.ir.BaseFunc) -> list[Origin]:
    """The distinct origins of the function's outermost calls, in order of first appearance."""
    if not isinstance(function, relax.Function):
        return []
    found = (origin_of_own(binding) for block in function.body.blocks for binding in block.bindings)
    return list(dict.fromkeys(origin for origin in found if origin is not None))


def _replace_vanished(module: tvm.IRModule, before: dict[str, list[Origin]]) -> tvm.IRModule:
    """Passes keep the order of bindings: new calls stand where the node stood whose calls are gone."""
    changed = {}
    for name, function in module.functions_items():
        known = before.get(name.name_hint, [])
        if not known or not isinstance(function, relax.Function):
            continue
        bindings = [binding for block in function.body.blocks for binding in block.bindings]
        given = _vanished_between(bindings, known)
        if given:
            blocks, position = [], 0
            for block in function.body.blocks:
                fresh = []
                for binding in block.bindings:
                    fresh.append(stamp(binding, given[position]) if position in given else binding)
                    position += 1
                blocks.append(type(block)(fresh))
            body = relax.SeqExpr(blocks, function.body.body, function.body.span)
            changed[name] = _with_body(function, body)
    return _with_functions(module, changed) if changed else module


def _vanished_between(bindings: list[relax.Binding], known: list[Origin]) -> dict[int, Origin]:
    """Per position of a call without an origin: the one node that vanished between its neighbours."""
    place = {origin: index for index, origin in enumerate(known)}
    origins = [origin_of_own(binding) for binding in bindings]
    alive = {origin for origin in origins if origin is not None}
    following, after = [len(known)] * len(bindings), len(known)
    for position in range(len(bindings) - 1, -1, -1):
        own = origins[position]
        after = place.get(own, after) if own is not None else after
        following[position] = after
    given: dict[int, Origin] = {}
    last = -1
    for position, binding in enumerate(bindings):
        own = origins[position]
        if own is not None:
            last = place.get(own, last)
        elif isinstance(binding.value, relax.Call):
            gone = [origin for origin in known[last + 1 : following[position]] if origin not in alive]
            if len(gone) == 1:
                given[position] = gone[0]
    return given


def origin_of_own(binding: relax.Binding) -> Origin | None:
    """The origin that the bound call itself carries."""
    return origin_of(binding.value) if isinstance(binding.value, relax.Call) else None


def _vars_read(expr: relax.Expr) -> list[relax.Var]:
    found: list[relax.Var] = []
    pending = [expr]
    while pending:
        item = pending.pop()
        if isinstance(item, relax.Var):
            found.append(item)
        elif isinstance(item, relax.Call):
            pending.extend(reversed(list(item.args)))
        elif isinstance(item, relax.Tuple):
            pending.extend(reversed(list(item.fields)))
        elif isinstance(item, relax.TupleGetItem):
            pending.append(item.tuple_value)
        elif isinstance(item, relax.If):
            pending.extend((item.true_branch.body, item.false_branch.body, item.cond))
    return found


def _renew(binding: relax.Binding, origin: Origin | None) -> relax.Binding:
    value = binding.value
    if isinstance(value, relax.Call):
        if origin_of(value) is not None:
            return binding
        return _rebind(binding, with_origin(value, origin or _own_origin(binding)))
    if isinstance(value, relax.If):
        before = [value.true_branch, value.false_branch]
        after = [_inherit_in_sequence(branch, origin) for branch in before]
        if all(new is old for new, old in zip(after, before, strict=True)):
            return binding
        return _rebind(binding, relax.If(value.cond, after[0], after[1], value.span))
    if isinstance(value, relax.Function):
        inner = _inherit_in_function(value, origin)
        return binding if inner is value else _rebind(binding, inner)
    return binding


def _own_origin(binding: relax.Binding) -> Origin:
    """For a call that no ONNX node leads to: its variable and its Relax op."""
    op = binding.value.op
    return Origin(
        binding.var.name_hint if hasattr(binding.var, "name_hint") else binding.var.name,
        f"relax.{op.name if isinstance(op, ir.Op) else 'call'}",
    )
