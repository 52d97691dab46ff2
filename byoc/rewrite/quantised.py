"""Lift float ops between dequantize and quantize to integer ops (`byoc.ops.integer`).

``quantize(relu(conv2d(dequantize(x), dequantize(w)) + dequantize(b)))`` becomes ``byoc.qlinear_conv(x, w, b)``, and
likewise for products, sums, averages, concatenations, and ops that only move elements, which then move integers.  What
does not fit stays as it is, in float, with a note that says why; so do weights and biases of such ops, dequantised when
the model is compiled.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from byoc.compat import attrs_to_dict, to_python
from byoc.importer.origin import origin_of, with_origin
from byoc.importer.values import constant
from byoc.lower.outline import used_variables
from byoc.rewrite.bindings import rewrite_bindings
from byoc.rewrite.quantised_affine import AffineChain, affine_chain, affine_product
from byoc.rewrite.quantised_notes import NO_FORM, note_refusals
from byoc.rewrite.quantised_ops import (
    NotInteger,
    Product,
    Terms,
    add_terms,
    average_terms,
    factor_terms,
)
from byoc.rewrite.quantised_values import (
    INTEGERS,
    Rounding,
    array_of,
    dtype_of,
    integer_constant,
    op_name,
    real_constant,
    rounding_of,
    shape_of,
)

_MOVES = frozenset(
    {"reshape", "permute_dims", "squeeze", "expand_dims", "flatten", "strided_slice", "nn.max_pool1d", "nn.max_pool2d",
     "nn.max_pool3d", "nn.pad", "max", "broadcast_to", "take", "repeat", "tile"}
)  # fmt: skip
_POOLS = ("nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d")
_CONVS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")


def has_quantised(module: tvm.IRModule) -> bool:
    """Whether some function quantises or dequantises."""
    return any(
        op_name(binding.value) in ("quantize", "dequantize")
        for _, function in module.functions_items()
        if isinstance(function, relax.Function)
        for block in function.body.blocks
        for binding in block.bindings
    )


def lift_quantised(module: tvm.IRModule) -> tvm.IRModule:
    """The module with integer ops in place of float ops between dequantize and quantize, notes on those left."""
    refusals: dict[Any, str] = {}
    return note_refusals(rewrite_bindings(module, lambda function: _Lifter(function, refusals).rewrite), refusals)


def fold_dequantised(module: tvm.IRModule) -> tvm.IRModule:
    """The module with dequantised constants, which no integer op took, as floats."""

    def rewrite(binding: Any) -> list[Any]:
        if op_name(binding.value) != "dequantize" or array_of(binding.value.args[0]) is None:
            return [binding]
        real = real_constant(binding.value, {})
        if real is None:
            return [binding]
        return [relax.VarBinding(binding.var, constant(real.astype(dtype_of(binding.value))))]

    return rewrite_bindings(module, lambda _: rewrite)


class _Lifter:
    def __init__(self, function: Any, refusals: dict[Any, str]) -> None:
        self.refusals = refusals  # by the variable of the op at fault
        self.at: Any = None
        self.bound: Any = {}
        self.readers: dict[Any, int] = {}
        for block in function.body.blocks:
            for binding in block.bindings:
                self.bound[binding.var] = binding.value
                for variable in used_variables(binding.value):
                    self.readers[variable] = self.readers.get(variable, 0) + 1
        for variable in used_variables(function.body.body):
            self.readers[variable] = self.readers.get(variable, 0) + 1
        self.pending: list[Any] = []
        self.made: dict[tuple[Any, ...], Any] = {}
        self.prefix = ""

    def rewrite(self, binding: Any) -> list[Any]:
        if op_name(binding.value) != "quantize" or not isinstance(binding.var, (relax.Var, relax.DataflowVar)):
            return [binding]
        out = rounding_of(binding.value, dtype_of(binding.value))
        self.at = binding.value.args[0]
        if out is None:
            self.refusals[self.at] = "its result is quantised with several scales, or with one that is computed"
            return [binding]
        self.pending, self.prefix = [], str(binding.var.name)
        made = dict(self.made)
        try:
            result = self._rounded(binding.value.args[0], Terms(out, *INTEGERS[out.dtype]))
        except (NotInteger, ValueError) as reason:
            self.made = made
            self.refusals[self.at] = str(reason)
            return [binding]
        return [*self.pending, relax.VarBinding(binding.var, result)]

    def _emit(self, value: Any, source: Any) -> Any:
        """A variable for `value`, which has the origin of `source`."""
        origin = origin_of(source)
        if origin is not None and isinstance(value, relax.Call):
            value = with_origin(value, origin)
        variable = relax.DataflowVar(f"{self.prefix}_integer{len(self.pending)}", _type_of(value))
        self.pending.append(relax.VarBinding(variable, value))
        return variable

    def _once(self, expr: Any) -> Any:
        """The call behind an expression that nothing else reads."""
        self.at, call = expr, self.bound.get(expr)
        if call is None or not isinstance(call, relax.Call):
            raise NotInteger(NO_FORM)
        if self.readers.get(expr, 0) != 1:
            raise NotInteger("its float result is read elsewhere")
        return call

    def _rounded(self, source: Any, terms: Terms) -> Any:
        """The integers that rounding `source` gives."""
        expr = source
        while True:
            limited = self._limits(expr, terms.out)
            if limited is None:
                break
            self._once(expr)
            expr, least, most = limited
            low = max(terms.low, least)
            terms = Terms(terms.out, low, max(low, min(terms.high, most)))
        self.at, call = expr, self.bound.get(expr)
        name = op_name(call)
        if name in _CONVS or name == "matmul" or (name == "add" and self._is_biased(call)):
            return self._product(self._once(expr), terms)
        affine = affine_chain(expr, self.bound)
        if affine is not None:
            return self._affine(affine, terms)
        if name == "add":
            return self._sum(self._once(expr), terms)
        if name in _POOLS or name == "mean":
            return self._average(self._once(expr), terms)
        if name == "concat":
            return self._concatenated(self._once(expr), terms)
        found = self._integers(expr)
        if found is not None:
            return self._requantised(*found, terms, call)
        if name == "dequantize":
            raise NotInteger("it is dequantised with several scales, or with one that is computed")
        if name not in _MOVES:
            raise NotInteger(NO_FORM)
        inner = self._rounded(self._once(expr).args[0], terms)  # what only moves elements may as well move them rounded
        inner = inner if isinstance(inner, relax.Var) else self._emit(inner, call)
        return self._moved(call, inner, terms.out)

    def _limits(self, expr: Any, out: Rounding) -> tuple[Any, int, int] | None:
        """What an activation limits, and the integers between which it keeps it; ``None`` for what is none."""
        call = self.bound.get(expr)
        name = op_name(call)
        low, high = INTEGERS[out.dtype]
        if name == "nn.relu":
            return call.args[0], out.zero, high
        if name == "clip":
            bounds = [to_python(bound.value) for bound in call.args[1:]]
            if not all(isinstance(bound, (int, float)) for bound in bounds):
                return None
            return call.args[0], max(low, out.nearest(bounds[0])), min(high, out.nearest(bounds[1]))
        if name not in ("maximum", "minimum"):
            return None
        found = [array_of(arg) for arg in call.args]
        at = next((i for i, array in enumerate(found) if array is not None and array.size == 1), None)
        if at is None or shape_of(call) != shape_of(call.args[1 - at]):
            return None
        bound = out.nearest(float(found[at].reshape(-1)[0]))  # type: ignore[union-attr]
        return (call.args[1 - at], max(low, bound), high) if name == "maximum" else (call.args[1 - at], low, bound)

    def _integers(self, expr: Any) -> tuple[Any, Rounding] | None:
        """The integer tensor that a float expression dequantises, moved as the expression moves it."""
        call = self.bound.get(expr)
        name = op_name(call)
        if name == "dequantize":
            found = rounding_of(call, dtype_of(call.args[0]))
            return (call.args[0], found) if found is not None and array_of(call.args[0]) is None else None
        if name not in _MOVES:
            return None
        inner = self._integers(call.args[0])
        if inner is None:
            return None
        integers, rounding = inner
        key = (name, integers, expr)
        if key not in self.made:
            self.made[key] = self._emit(self._moved(call, integers, rounding), call)
        return self.made[key], rounding

    def _moved(self, call: Any, integers: Any, rounding: Rounding) -> Any:
        if op_name(call) == "nn.pad":
            attrs = attrs_to_dict(call.attrs)
            if attrs.get("pad_mode", "constant") == "constant":
                filler = attrs.get("pad_value", 0)
                if filler != 0:
                    raise NotInteger("it pads with something else than zero")
                return relax.op.nn.pad(integers, list(attrs["pad_width"]), pad_value=rounding.zero)
        return relax.Call(call.op, [integers, *call.args[1:]], call.attrs, call.ty_args)

    def _requantised(self, integers: Any, rounding: Rounding, terms: Terms, source: Any) -> Any:
        out = terms.out
        if rounding == out and (terms.low, terms.high) == INTEGERS[out.dtype]:
            return integers
        attrs = {"x_zero": rounding.zero, "x_scale": rounding.scale, **terms.attributes()}
        attrs |= factor_terms([rounding.scale / out.scale])
        from byoc.ops.integer_reference import requantize

        return self._call(requantize, [integers], attrs, source)

    def _call(self, op: Any, arguments: list[Any], attrs: dict[str, Any], source: Any) -> Any:
        from byoc.ops import call

        made = call(op, arguments, attrs)
        origin = origin_of(source) if isinstance(source, relax.Call) else None
        return with_origin(made, origin) if origin is not None else made

    def _is_biased(self, call: Any) -> bool:
        names = [op_name(self.bound.get(arg)) for arg in call.args]
        other = call.args[1] if names[0] in (*_CONVS, "matmul") else call.args[0]
        return any(n in (*_CONVS, "matmul") for n in names) and real_constant(other, self.bound) is not None

    def _product(self, call: Any, terms: Terms) -> Any:
        bias = None
        if op_name(call) == "add":
            left = op_name(self.bound.get(call.args[0])) in (*_CONVS, "matmul")
            product, bias = (call.args[0], call.args[1]) if left else (call.args[1], call.args[0])
            call = self._once(product)
        found = self._integers(call.args[0])
        weight = integer_constant(call.args[1], self.bound)
        if found is None:
            raise NotInteger("its data is not dequantised with one scale")
        if weight is None:
            raise NotInteger("its weights are not integers that are known when the model is compiled")
        built = Product(call, found[1], weight, terms)
        if bias is not None:
            built.add_bias(integer_constant(bias, self.bound), real_constant(bias, self.bound))
        op, arguments, attrs = built.finish()
        return self._call(op, [found[0], *arguments], attrs, call)

    def _affine(self, affine: AffineChain, terms: Terms) -> Any:
        call, *_ = [self._once(step) for step in affine.steps]
        data = self._integers(affine.source)
        if data is None:
            raise NotInteger("its data is not dequantised with one scale")
        op, arguments, attrs = affine_product(affine, data[1], terms)
        return self._call(op, [data[0], *arguments], attrs, call)

    def _sum(self, call: Any, terms: Terms) -> Any:
        parts = [self._integers(arg) for arg in call.args]
        if any(p is None for p in parts) or shape_of(call.args[0]) != shape_of(call.args[1]):
            raise NotInteger("it does not add two dequantised tensors of one shape")
        (a, first), (b, second) = parts  # type: ignore[misc]
        from byoc.ops.integer_reference import qlinear_add

        return self._call(qlinear_add, [a, b], add_terms(first, second, terms), call)

    def _average(self, call: Any, terms: Terms) -> Any:
        found = self._integers(call.args[0])
        if found is None:
            raise NotInteger("it does not average a dequantised tensor")
        op, attrs = average_terms(call, found[1], terms)
        return self._call(op, [found[0]], attrs, call)

    def _concatenated(self, call: Any, terms: Terms) -> Any:
        fields = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else None
        if fields is None:
            raise NotInteger("its parts are not known one by one")
        parts = []
        for field in fields:
            found = self._integers(field)
            if found is None:
                raise NotInteger("one of its parts is float")
            part = self._requantised(*found, terms, self.bound.get(field))
            parts.append(part if isinstance(part, relax.Var) else self._emit(part, call))
        made = relax.Call(call.op, [relax.Tuple(parts)], call.attrs)
        origin = origin_of(call)
        return with_origin(made, origin) if origin is not None else made


def _type_of(value: Any) -> Any:
    return relax.BlockBuilder().normalize(value).ty
