"""Stitch the statements of a partition's matches into one C function."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from byoc.codegen import Codegen, CSource, Match, Reject, SourceContext
from byoc.errors import EmitError
from byoc.graph import Value, item_bytes
from byoc.lower.buffers import BufferPlan, Request, plan_buffers
from byoc.lower.in_place import storage_of
from byoc.lower.partition_function import PartitionFunction

C_TYPES = {
    "float32": "float", "float64": "double", "float16": "byoc_half", "bfloat16": "byoc_bfloat", "bool": "uint8_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip

_PROLOGUE = """\
BYOC_EXPORT int __tvm_ffi_{symbol}(void *self, const TVMFFIAny *args, int32_t num_args, TVMFFIAny *result) {{
  (void)self; (void)result;
  if (num_args != {count}) {{
    TVMFFIErrorSetRaisedFromCStr("TypeError", "{symbol} takes {count} arguments");
    return -1;
  }}
"""
_BIND = """\
static const void *{symbol}_constants[{count}];
BYOC_EXPORT int __tvm_ffi_{bind}(void *self, const TVMFFIAny *args, int32_t num_args, TVMFFIAny *result) {{
  (void)self;
  if (num_args != {count}) {{
    TVMFFIErrorSetRaisedFromCStr("TypeError", "{bind} takes {count} constants");
    return -1;
  }}
  for (int i = 0; i < {count}; ++i) {symbol}_constants[i] = byoc_data(args + i);
  result->type_index = kTVMFFIInt;
  result->v_int64 = 0;
  return 0;
}}
"""


def c_type(dtype: str) -> str:
    """The C type that stores an element of `dtype`."""
    return C_TYPES.get(dtype, "uint8_t")


class Source(SourceContext):
    """The translation unit of one partition while it is being put together."""

    def __init__(self, partition: PartitionFunction) -> None:
        self.partition = partition
        self.constants: list[tuple[str, np.ndarray]] = []
        self.helpers: dict[str, None] = {}
        self.scratches: list[tuple[str, Any, int]] = []
        self.step = 0
        self._by_identity: dict[int, str] = {}
        self._fetched: list[np.ndarray] = []

    def constant(self, array: np.ndarray, name: str = "packed") -> str:
        array = np.ascontiguousarray(array)
        self.constants.append((name, array))
        pointer = f"{self.partition.symbol}_constants[{len(self.constants) - 1}]"
        return f"((const {c_type(str(array.dtype))} *){pointer})"

    def model_constant(self, value: Value) -> str:
        """The C expression of a constant of the model; the same constant is stored once."""
        array = value.constant
        assert array is not None
        self._fetched.append(array)
        key = id(value.ref) if value.ref is not None else id(value)
        if key not in self._by_identity:
            self._by_identity[key] = self.constant(array, value.name)
        return self._by_identity[key]

    def scratch(self, nbytes: Any) -> str:
        name = f"scratch{len(self.scratches)}"
        self.scratches.append((name, nbytes, self.step))
        return name

    def helper(self, code: str) -> None:
        self.helpers.setdefault(code.strip("\n"), None)


def stitch(codegen: Codegen, partition: PartitionFunction) -> CSource | Reject:
    """The C source of a partition from its matches' statements.

    Raises :class:`EmitError` when `emit_match` returns something else than text or a refusal.
    """
    source = Source(partition)
    name_values(partition, source)
    bodies: list[tuple[Match, str]] = []
    for source.step, match in enumerate(partition.matches):
        match.source = source
        statements = codegen.emit_match(match)
        match.source = None
        if isinstance(statements, Reject):
            return statements
        if not isinstance(statements, str):
            raise EmitError(
                f'codegen "{codegen.name}": emit_match returned {type(statements).__name__} for {match!r}',
                "it must return C statements as text, or reject(...)",
            )
        bodies.append((match, statements))
    plan = plan_buffers(_requests(partition, source))
    symbol = partition.symbol
    text, constants = _used_constants(symbol, _function(partition, source, bodies, plan), source.constants)
    bind = f"{symbol}_bind" if constants else ""
    parts = [_head(codegen, partition)]
    if bind:
        parts.append(_BIND.format(symbol=symbol, bind=bind, count=len(constants)))
    parts.extend(source.helpers)
    parts.append(text)
    code = "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
    return CSource(code, (symbol,), constants=constants, bind=bind, workspace=plan.nbytes)


def _used_constants(
    symbol: str, text: str, constants: list[tuple[str, np.ndarray]]
) -> tuple[str, tuple[tuple[str, np.ndarray], ...]]:
    """Those that the function mentions, numbered anew: what a codegen packs anew must not be stored twice."""
    mention = re.compile(rf"\b{symbol}_constants\[(\d+)\]")
    used = sorted({int(k) for k in mention.findall(text)})
    number = {old: new for new, old in enumerate(used)}
    text = mention.sub(lambda found: f"{symbol}_constants[{number[int(found[1])]}]", text)
    return text, tuple(constants[k] for k in used)


def _head(codegen: Codegen, partition: PartitionFunction) -> str:
    includes = "".join(f'#include "{header}"\n' for header in codegen.headers)
    count = len(partition.matches)
    return (
        f"/* {partition.symbol}: {count} composite{'s' * (count != 1)} of {partition.entry}, "
        f'by codegen "{codegen.name}" {codegen.version}. */\n#include "byoc.h"\n{includes}'
    )


def name_values(partition: PartitionFunction, source: Source) -> None:
    """Give every value that crosses matches its C name."""
    taken: set[str] = {"args", "self", "result", "num_args", "workspace"}
    for i, value in enumerate(partition.inputs):
        value.c_name = _identifier(value.name, f"in{i}", taken)
    for match in partition.matches:
        for value in match.inputs:
            if value.is_constant:
                value.c_name = source.model_constant(value)
        for value in match.outs:
            storage = storage_of(value)
            if storage is not value:
                value.c_name = storage.c_name
                continue
            value.c_name = _identifier(value.node.rsplit("/", 1)[-1], match.root.op.rsplit(".", 1)[-1], taken)


def _identifier(wanted: str, fallback: str, taken: set[str]) -> str:
    base = re.sub(r"\W+", "_", wanted).strip("_")[:40] or fallback
    # The prefix keeps tensors apart from C's words, from functions, and from variables in a codegen's statements.
    base = f"t_{base}"
    name, i = base, 1
    while name in taken:
        i += 1
        name = f"{base}_{i}"
    taken.add(name)
    return name


def _requests(partition: PartitionFunction, source: Source) -> list[Request]:
    outputs = {id(v) for v in partition.outputs}
    last: dict[int, int] = {}
    for step, match in enumerate(partition.matches):
        for value in (*match.inputs, *match.outs):
            last[id(storage_of(value))] = step
    requests = []
    for step, match in enumerate(partition.matches):
        for value in match.outs:
            if id(value) not in outputs and storage_of(value) is value:
                nbytes = value.size * max(1, int(item_bytes(value.dtype)))
                requests.append(Request(value.c_name, nbytes, step, last.get(id(value), step)))
    if not outputs:
        requests.append(Request("done", 1, 0, 0))  # what runs afterwards needs a result of the call to depend on
    return requests + [Request(name, nbytes, step, step) for name, nbytes, step in source.scratches]


def _function(partition: PartitionFunction, source: Source, bodies: list[tuple[Match, str]], plan: BufferPlan) -> str:
    inputs, outputs = len(partition.inputs), len(partition.outputs)
    shape_args = 1 if partition.shape_args else 0
    has_workspace = not (isinstance(plan.nbytes, int) and plan.nbytes == 0)
    count = inputs + shape_args + outputs + has_workspace
    lines = [_PROLOGUE.format(symbol=partition.symbol, count=count).rstrip("\n")]
    lines += [f"  const int64_t {name} = {text}; (void){name};" for name, text in symbol_sources(partition)]
    results = [v for m in partition.matches for node in m.nodes for v in node.outputs]
    updated = {id(storage_of(v)) for v in results if storage_of(v) is not v}
    for i, value in enumerate(partition.inputs):
        kind = f"{'' if id(value) in updated else 'const '}{c_type(value.dtype)}"
        lines.append(f"  {kind} *{value} = ({kind} *)byoc_data(args + {i});")
    for i, value in enumerate(partition.outputs):
        position = inputs + shape_args + i
        lines.append(f"  {c_type(value.dtype)} *{value} = ({c_type(value.dtype)} *)byoc_data(args + {position});")
    if has_workspace:
        lines.append(f"  char *workspace = (char *)byoc_data(args + {count - 1});")
        lines += _workspace_pointers(partition, source, plan)
    lines += [f"  (void){v};" for v in (*partition.inputs, *partition.outputs)]
    for match, statements in bodies:
        origin = ", ".join(dict.fromkeys(n.node for n in match.nodes if n.node))
        lines.append(f"  {{ /* {match.pattern}{': ' + _comment(origin) if origin else ''} */")
        lines += [f"    {line}" if line else "" for line in statements.strip("\n").split("\n")]
        lines.append("  }")
    return "\n".join([*lines, "  return 0;", "}"])


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")


def symbol_sources(partition: PartitionFunction) -> list[tuple[str, str]]:
    """(symbol, C expression) for every symbolic dimension, read from an input's shape or the shape argument."""
    found: dict[str, str] = {}
    for i, value in enumerate(partition.inputs):
        for axis, dim in enumerate(value.shape or ()):
            if not isinstance(dim, int) and str(dim).isidentifier():
                found.setdefault(str(dim), f"byoc_tensor(args + {i})->shape[{axis}]")
    for i, name in enumerate(partition.shape_args):
        found[name] = f"byoc_shape_dim(args + {len(partition.inputs)}, {i})"
    return list(found.items())


def _workspace_pointers(partition: PartitionFunction, source: Source, plan: BufferPlan) -> list[str]:
    types = {v.c_name: c_type(v.dtype) for m in partition.matches for v in m.outs}
    lines = [
        f"  {kind} *{key} = ({kind} *)(workspace + {offset}); (void){key};"
        for key, offset in plan.static.items()
        for kind in [types.get(str(key), "char")]
    ]
    if plan.symbolic:
        lines.append(f"  char *slot = byoc_align(workspace + {plan.static_bytes});")
    for keys, nbytes in plan.symbolic:
        lines += [f"  {types.get(str(k), 'char')} *{k} = ({types.get(str(k), 'char')} *)slot; (void){k};" for k in keys]
        lines.append(f"  slot = byoc_align(slot + {nbytes});")
    return lines
