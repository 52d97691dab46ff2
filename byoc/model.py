"""A model ready to be planned: imported, in canonical form, with its graphs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from byoc.codegen import VENDOR_FAULTS, guilty_line
from byoc.compat import check_versions
from byoc.dim import dim_of
from byoc.errors import CheckError, UnsupportedModelError
from byoc.graph import Graph
from byoc.importer import import_model
from byoc.importer.origin import keep_origins
from byoc.llm.model import LanguageModel, is_model_folder, language_model
from byoc.ops import STATES
from byoc.ops.cache_formats import check_cache_formats
from byoc.partitioner.target import Target
from byoc.relax_graph import graph_of
from byoc.rewrite.canonical import canonicalise, entry_functions
from byoc.rewrite.layout import convert_layouts
from byoc.tensor_spec import TensorSpec


@dataclass(frozen=True)
class Signature:
    """Inputs, outputs and states of one entry function, under the names that a caller uses.

    States are parameters after the inputs that the function updates in place.  A Relax function names them in its
    attribute ``byoc_states``; functions that name the same state share it.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True)
class PreparedModel:
    """A canonical module with a graph and a signature for each entry function."""

    name: str
    digest: str
    module: tvm.IRModule
    graphs: Mapping[str, Graph]
    signatures: Mapping[str, Signature]
    language_model: Mapping[str, Any] | None = None
    tokenizer: bytes = b""


def prepare_model(
    source: Any, targets: Sequence[Target], *, shapes: Mapping[str, Sequence[Any]] | None = None
) -> PreparedModel:
    """Import `source` and bring it into canonical form.

    It is the path, the bytes or the proto of an ONNX model, a Relax module, the path of a Hugging Face folder, or a
    :class:`byoc.llm.LanguageModel`.

    The targets' `passes` and `layout` hooks are applied.  Raises :class:`ModelError` and :class:`PluginError`.
    """
    check_versions()
    facts: Mapping[str, Any] | None = None
    tokenizer = b""
    if is_model_folder(source):
        source = language_model(source)
    if isinstance(source, LanguageModel):
        name, digest, module = source.name, source.digest, source.module
        signatures, facts, tokenizer = _signatures(module), source.facts, source.tokenizer
    elif isinstance(source, tvm.IRModule):
        name, digest, module = "module", _digest(source), source
        signatures = _signatures(module)
    else:
        imported = import_model(source, shapes=shapes)
        name, digest, module = imported.name, imported.digest, imported.module
        signatures = {"main": Signature(imported.inputs, imported.outputs)}
    check_cache_formats(entry_functions(module))
    _check_states(signatures)
    entries = list(signatures)
    module = canonicalise(module, entries)
    module = _run_passes(module, targets, entries)
    module = convert_layouts(module, targets, entries)
    functions = entry_functions(module)
    graphs = {n: graph_of(n, functions[n]) for n in entries}
    return PreparedModel(name, digest, module, graphs, signatures, facts, tokenizer)


def _run_passes(module: tvm.IRModule, targets: Sequence[Target], entries: list[str]) -> tvm.IRModule:
    changed = False
    for target in targets:
        try:
            for step in target.codegen.passes():
                module = keep_origins(step)(module)
                changed = True
            if changed:
                relax.analysis.well_formed(module)
        except VENDOR_FAULTS as error:
            raise CheckError(
                f'codegen "{target.name}": one of its passes failed: {type(error).__name__}: {error}',
                f"at {guilty_line(error)}",
            ) from error
    return canonicalise(module, entries) if changed else module


def _digest(module: tvm.IRModule) -> str:
    return hashlib.sha256(str(tvm.ir.save_json(module)).encode()).hexdigest()


def _signatures(module: tvm.IRModule) -> dict[str, Signature]:
    signatures = {name: _signature(function) for name, function in entry_functions(module).items()}
    if not signatures:
        raise UnsupportedModelError("the module has no public Relax function", "", "give one a global_symbol")
    return signatures


def _signature(function: Any) -> Signature:
    inputs = []
    states = _state_names(function)
    for param in function.params:
        if not isinstance(param.ty, relax.TensorType):
            raise UnsupportedModelError(
                f"parameter {param.name} is a {type(param.ty).__name__}", "entry functions take tensors only"
            )
        inputs.append(_spec(str(param.name), param.ty))
    returned = function.ret_ty
    fields = list(returned.fields) if isinstance(returned, relax.TupleType) else [returned]
    outputs = [_spec(f"output{i}" if len(fields) > 1 else "output", ty) for i, ty in enumerate(fields)]
    count = len(inputs) - len(states)
    return Signature(tuple(inputs[:count]), tuple(outputs), tuple(inputs[count:]))


def _check_states(signatures: Mapping[str, Signature]) -> None:
    """Functions that name the same state must agree on what it is."""
    seen: dict[str, tuple[str, TensorSpec]] = {}
    for function, signature in signatures.items():
        for spec in signature.states:
            other, known = seen.setdefault(spec.name, (function, spec))
            if known != spec:
                raise UnsupportedModelError(
                    f'the state "{spec.name}" is {known} in {other} and {spec} in {function}',
                    "entry functions share a state by its name, so that it is one tensor",
                    "give both the same shape and dtype, or two names",
                )
            if any(isinstance(dim, str) for dim in spec.shape):
                raise UnsupportedModelError(
                    f"the state {spec} has a dimension of unknown size",
                    "states are allocated once",
                    "fix the dimension",
                )


def _state_names(function: Any) -> list[str]:
    names = [str(n) for n in function.attrs[STATES]] if function.attrs is not None and STATES in function.attrs else []
    last = [str(p.name) for p in function.params][len(function.params) - len(names) :]
    if names != last:
        raise UnsupportedModelError(
            f"the states {', '.join(names)} are not the last parameters ({', '.join(last)})",
            "states are passed after the inputs, in the order in which they are named",
        )
    return names


def _spec(name: str, ty: Any) -> TensorSpec:
    if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
        raise UnsupportedModelError(f"{name} has no shape", "entry functions take and return tensors of known rank")
    shape = tuple(d if isinstance(d, int) else str(d) for d in (dim_of(v) for v in ty.shape.values))
    return TensorSpec(name, str(ty.dtype).removeprefix("T."), shape)
