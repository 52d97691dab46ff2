"""The functions prefill, decode and score of a model whose past was an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, tirx

from byoc.dim import substitute
from byoc.errors import UnsupportedModelError
from byoc.importer.origin import Origin, origin_of, with_origin
from byoc.llm.cache_state import state_layouts
from byoc.llm.from_onnx.attention import Attention
from byoc.llm.from_onnx.graph import Bindings, op_name, shape_of, symbols
from byoc.llm.from_onnx.kept_layers import KeptLayers
from byoc.llm.from_onnx.prove import Prover
from byoc.llm.from_onnx.roles import Roles
from byoc.llm.from_onnx.rotary import Rotation
from byoc.llm.graph import ENTRIES
from byoc.llm.kv_spec import FixedScale
from byoc.llm.settings import Settings
from byoc.ops import STATES
from byoc.ops.hadamard import rotated
from byoc.ops.kv_append import append_tokens
from byoc.ops.kv_attention import attend
from byoc.ops.rope import rotate

_FIXED = FixedScale()
_BY_ROW = ("add", "multiply", "divide", "subtract", "astype", "tanh", "matmul", "byoc.linear_w4", "byoc.linear_w8")


@dataclass(frozen=True)
class Found:
    """A model with a past, understood.

    Attributes
    ----------
    logits: the variable of float[batch, tokens, vocabulary].
    windows: of each attention, 0 for none.
    rotations: of queries and keys that are turned by their positions.
    """

    graph: Bindings
    roles: Roles
    attentions: Sequence[Attention]
    windows: Sequence[int]
    rotations: Mapping[Any, Rotation]
    logits: Any


def rebuilt_module(found: Found, prover: Prover, settings: Settings, facts: Mapping[str, Any]) -> tvm.IRModule:
    """The module with the entry functions that :func:`byoc.llm.graph.build_module` describes."""
    builder, layers = relax.BlockBuilder(), KeptLayers(found.graph, settings.weights)
    for name in ENTRIES:
        _Function(builder, name, found, prover, settings, facts, layers).build()
    module = builder.get()
    relax.analysis.well_formed(module)
    return module


class _Function:
    def __init__(
        self,
        builder: relax.BlockBuilder,
        name: str,
        found: Found,
        prover: Prover,
        settings: Settings,
        facts: Mapping[str, Any],
        layers: KeptLayers,
    ) -> None:
        self.layers = layers
        self.builder, self.name, self.found, self.prover, self.settings = builder, name, found, prover, settings
        self.layouts = state_layouts(facts)
        self.count: Any = 1 if name == "decode" else tirx.Var("n", "int64")
        self.sizes = {found.roles.tokens: self.count}
        if not isinstance(found.roles.batch, int):
            self.sizes[found.roles.batch] = settings.batch
        self.results = {a.result: i for i, a in enumerate(found.attentions)}
        self.mapped: dict[Any, Any] = {}

    def build(self) -> None:
        batch = self.settings.batch
        self.tokens = relax.Var("tokens", relax.TensorType((batch, self.count), "int64"))
        self.lengths, self.counts, self.rows = (
            relax.Var(n, relax.TensorType((batch,), "int64")) for n in ("lengths", "counts", "rows")
        )
        inputs = [self.tokens, self.lengths, self.counts, *([self.rows] if self.name == "prefill" else [])]
        self.caches = [
            [
                relax.Var(f"{side}.{i}", relax.TensorType((batch, a.kv_heads, layout.nbytes), "uint8"))
                for side, layout in zip(("keys", "values"), self.layouts[i], strict=True)
            ]
            for i, a in enumerate(self.found.attentions)
        ]
        states = [cache for pair in self.caches for cache in pair]
        attrs = {STATES: [str(s.name) for s in states]}
        with self.builder.function(self.name, [*inputs, *states], attrs=attrs):
            with self.builder.dataflow():
                result = self.builder.emit_output(self._logits())
            self.builder.emit_func_output(result)

    def _emit(self, node: str, op_type: str, call: Any) -> Any:
        return self.builder.emit(with_origin(call, Origin(node, op_type)))

    def _as(self, node: str, x: Any, dtype: str) -> Any:
        same = str(x.ty.dtype).removeprefix("T.") == dtype
        return x if same else self._emit(f"{node}/cast", "Cast", relax.op.astype(x, dtype))

    def _shape(self, extents: Sequence[Any]) -> relax.ShapeExpr:
        return relax.ShapeExpr([d if isinstance(d, int) else substitute(d, self.sizes) for d in extents])

    def _logits(self) -> Any:
        """The last rows are taken before what computes logits row by row."""
        graph, base, tail = self.found.graph, self.found.logits, []
        batch, vocabulary = self.settings.batch, (shape_of(self.found.logits) or [0])[-1]
        while self.name == "prefill" and _is_by_row(graph, base):
            tail.append(base)
            base = graph.call(base).args[0]
        x = self._value(base)
        if self.name == "prefill":
            width = (shape_of(base) or [0])[-1]
            flat = self._emit("last/flatten", "Reshape", relax.op.reshape(x, self._shape([batch * self.count, width])))
            x = self._emit("last", "Gather", relax.op.take(flat, self.rows, axis=0, mode="clip"))
            x = self._emit("last/row", "Reshape", relax.op.reshape(x, self._shape([batch, 1, width])))
            for var in reversed(tail):
                call = graph.call(var)
                again = relax.Call(call.op, [x, *list(call.args)[1:]], call.attrs, call.ty_args, span=call.span)
                kept = self.layers.kept(var, x)
                x = self.builder.emit(again if kept is None else kept)
        x = self._as("logits", x, "float32")
        if self.name == "score":
            return x
        return self._emit("logits/rows", "Reshape", relax.op.reshape(x, self._shape([batch, vocabulary])))

    def _value(self, var: Any) -> Any:
        """The variable that stands for one of the model's; what it needs is emitted first."""
        todo = [var]
        while todo:  # not recursive: graphs are deep
            top = todo[-1]
            if top in self.mapped:
                todo.pop()
                continue
            missing = [v for v in self._needs(top) if v not in self.mapped]
            if missing:
                todo += reversed(missing)
                continue
            self.mapped[top] = self._made(top)
            todo.pop()
        return self.mapped[var]

    def _needs(self, var: Any) -> list[Any]:
        if var in self.results:
            a = self.found.attentions[self.results[var]]
            return [self._before(var) for var in (a.query, a.keys.new, a.values.new)]
        if var not in self.found.graph.values or self._tells_length(var):
            return []
        return self.found.graph.needs(var)

    def _before(self, var: Any) -> Any:
        """What is turned into a query or a key; others are as they are."""
        rotation = self.found.rotations.get(var)
        return var if rotation is None else rotation.before

    def _tells_length(self, var: Any) -> bool:
        """Whether the value follows from lengths alone, and is what a session knows."""
        return bool(self._counted(var))

    def _counted(self, var: Any) -> str:
        return self.prover.counted(var)

    def _made(self, var: Any) -> Any:
        graph, roles = self.found.graph, self.found.roles
        if var in self.results:
            return self._attended(self.results[var])
        if var not in graph.values:
            return self._parameter(var)
        kind = self._counted(var)
        if kind:
            return self._count(var, kind)
        call = graph.call(var)
        known = {roles.tokens, roles.batch}
        if call is None or not isinstance(call.op, tvm.ir.Op) or any(s not in known for s in symbols(call)):
            raise self._unknown(var)
        kept = self.layers.kept(var, self.mapped.get(call.args[0]))
        return self.builder.emit(self._renewed(call) if kept is None else kept)

    def _renewed(self, value: Any) -> Any:
        """A call with its variables and symbols replaced."""
        if isinstance(value, relax.Call):
            args = [self._renewed(arg) for arg in value.args]
            return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._renewed(field) for field in value.fields])
        if isinstance(value, relax.ShapeExpr):
            return self._shape(list(value.values))
        if isinstance(value, tvm.ir.GenericConst):
            return value
        if isinstance(getattr(value, "ty", None), tvm.ir.PrimType):
            new = value if isinstance(value, tirx.IntImm) else substitute(value, self.sizes)
            return tirx.IntImm("int64", new) if isinstance(new, int) else new
        return self.mapped[value]

    def _parameter(self, param: Any) -> Any:
        roles = self.found.roles
        if param.same_as(roles.ids):
            return self._as("tokens", self.tokens, str(param.ty.dtype).removeprefix("T."))
        if roles.steers(param) and self._counted(param):
            return self._count(param, self._counted(param))
        raise self._unknown(param)

    def _unknown(self, var: Any) -> UnsupportedModelError:
        graph = self.found.graph
        what = graph.node(var) if var in graph.values else f'the input "{self.found.roles.name_of(var)}"'
        return UnsupportedModelError(
            f"{what} depends on how long the past is, in a way that a session cannot follow",
            "beside attention, a session knows where each token stands and how many stand before",
            "compile the model without --kv and --context, with its past as inputs",
        )

    def _count(self, var: Any, kind: str) -> Any:
        """Lengths, or the positions of the new tokens, in the shape and type of the model's own."""
        batch, dtype = self.settings.batch, str(var.ty.dtype).removeprefix("T.")
        extents = [d if isinstance(d, int) else substitute(d, self.sizes) for d in shape_of(var) or ()]
        if batch > 1 and not any(isinstance(d, int) and d == batch for d in extents[:1]):
            raise UnsupportedModelError(
                f"{self.found.graph.node(var)} gives all sequences of a batch the same positions",
                "sequences of a session differ in length",
                "compile it with --batch 1",
            )
        x = self.lengths
        if kind == "positions":
            x = self._emit("positions/lengths", "Reshape", relax.op.reshape(x, self._shape([batch, 1])))
        if kind == "positions" and self.name != "decode":
            steps = self._emit("positions/steps", "Range", relax.op.arange(0, self.count, 1, "int64"))
            x = self._emit("positions", "Add", relax.op.add(x, steps))
        x = self._emit("positions/shape", "Reshape", relax.op.reshape(x, relax.ShapeExpr(extents)))
        return self._as("positions", x, dtype)

    def _attended(self, i: int) -> Any:
        a, graph = self.found.attentions[i], self.found.graph
        origin = origin_of(graph.values[a.result])
        at = origin.node if origin else f"attention.{i}"
        dtype = str(a.query.ty.dtype).removeprefix("T.")
        q, k, v = (
            self._emit(
                f"{at}/{n}_tokens", "Transpose",
                relax.op.permute_dims(self._as(f"{at}/{n}", self.mapped[self._before(var)], "float32"), [0, 2, 1, 3]),
            )
            for n, var in (("q", a.query), ("k", a.keys.new), ("v", a.values.new))
        )  # fmt: skip
        q, k = (self._turned(f"{at}/{n}_rope", x, var) for n, x, var in (("q", q, a.query), ("k", k, a.keys.new)))
        if self.settings.kv_of(i).key_transform == "hadamard":
            q, k = (self._emit(f"{at}/{n}_hadamard", "Hadamard", rotated(y)) for n, y in (("q", q), ("k", k)))
        keys, values = (
            self._emit(
                f"{at}/{n}_append", "KVAppend",
                append_tokens(cache, y, self.lengths, self.counts, layout, _FIXED),
            )
            for n, cache, y, layout in zip("kv", self.caches[i], (k, v), self.layouts[i], strict=True)
        )  # fmt: skip
        call = attend(
            q, keys, values, self.lengths, self.counts, self.layouts[i], (_FIXED, _FIXED),
            scale=a.scale, window=self.found.windows[i],
        )  # fmt: skip
        mixed = self._emit(f"{at}/attend", "KVAttention", call)
        result = self._emit(f"{at}/heads", "Transpose", relax.op.permute_dims(mixed, [0, 2, 1, 3]))
        return self._as(at, result, dtype)

    def _turned(self, node: str, x: Any, var: Any) -> Any:
        rotation = self.found.rotations.get(var)
        if rotation is None:
            return x
        turn = rotation.turn
        frequencies = relax.const(turn.frequencies)
        call = rotate(x, self.lengths, frequencies, interleaved=turn.interleaved, factor=turn.factor)
        return self._emit(node, "RoPE", call)


def _is_by_row(graph: Bindings, var: Any) -> bool:
    """Whether a value is computed row by row from its first argument and constants."""
    call = graph.call(var)
    if op_name(call) not in _BY_ROW or not all(isinstance(a, tvm.ir.GenericConst) for a in list(call.args)[1:]):
        return False
    if op_name(call) == "matmul":
        return len(call.args[1].ty.shape.values) == 2
    return all(op_name(call).startswith("byoc.") or a.value.numpy().ndim <= 1 for a in list(call.args)[1:])
