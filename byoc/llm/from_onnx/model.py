"""A language model to plan and compile, from an ONNX file with its past as inputs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvm import relax

from byoc.errors import UnsupportedModelError, UsageError
from byoc.importer import import_model
from byoc.importer.source import read_model
from byoc.llm.config_fields import read_fields
from byoc.llm.from_onnx.attention import find_attentions
from byoc.llm.from_onnx.graph import Bindings, shape_of
from byoc.llm.from_onnx.prove import Prover
from byoc.llm.from_onnx.rebuild import Found, rebuilt_module
from byoc.llm.from_onnx.roles import Roles
from byoc.llm.from_onnx.rotary import Rotations
from byoc.llm.kv_spec import check_fits
from byoc.llm.settings import Settings
from byoc.rewrite.fold_constants import fold_constants
from byoc.rewrite.structure import inline_structure

_CONTEXT = 2048


def module_of(path: Path, settings: Settings) -> tuple[Any, str, Settings, dict[str, Any]]:
    """(module, digest, settings as they hold, facts of the manifest).

    Raises :class:`UnsupportedModelError` where the model is none with a past, or attends otherwise than a cache does;
    :class:`UsageError` for settings that do not fit it.
    """
    imported = import_model(path)
    function = _plain(imported.module)["main"]
    graph, roles = Bindings(function), Roles(list(function.params), imported.inputs)
    attentions = find_attentions(graph)
    told = _told(path)
    settings = _checked(settings, roles, told)
    prover = Prover(graph, roles, settings.context)
    windows = [prover.window(a) for a in attentions]
    rotations = Rotations(prover)
    turned = {var: rotations.of(var) for a in attentions for var in (a.query, a.keys.new)}
    dims = {(a.kv_heads, a.head_dim) for a in attentions}
    if len(dims) != 1:
        raise UnsupportedModelError(
            f"its layers differ in heads: {', '.join(f'{h} of {d} channels' for h, d in sorted(dims))}",
            "caches have one shape",
        )
    ((kv_heads, head_dim),) = dims
    if isinstance(settings.kv, tuple) and len(settings.kv) != len(attentions):
        raise UsageError(f"{len(settings.kv)} cache specifications are given, the model has {len(attentions)} layers")
    for i in range(len(attentions)):
        check_fits(settings.kv_of(i), head_dim)
    logits = _logits(function, imported.outputs, roles)
    as_given = settings.weights.bits == 32
    facts = {
        "architecture": "ONNX", "vocabulary": int((shape_of(logits) or [0])[-1]), "layers": len(attentions),
        "kv_heads": kv_heads, "head_dim": head_dim, "begin": told["begin"], "end": told["end"],
        "context": settings.context, "chunk": settings.chunk, "batch": settings.batch, "kv": settings.kv_text,
        "weights": "as in the file" if as_given else f"{settings.weights}, others as in the file",
        "weight_bits": 0 if as_given else settings.weights.bits, "windows": windows,
    }  # fmt: skip
    found = Found(graph, roles, attentions, windows, {v: r for v, r in turned.items() if r}, logits)
    module = rebuilt_module(found, prover, settings, facts)
    digest = hashlib.sha256(f"{settings!r}{imported.digest}".encode()).hexdigest()
    return module, digest, settings, facts


def layers_of(path: Path) -> int:
    """How many layers have a past among the inputs, for specifications that name layers."""
    pasts = [v for v in read_model(path).proto.graph.input if "past" in v.name.lower()]
    stacked = any(len(v.type.tensor_type.shape.dim) == 5 for v in pasts)  # keys and values in one
    return max(1, len(pasts) if stacked else len(pasts) // 2)


def _plain(module: Any) -> Any:
    """Without aliases, unused bindings and what constants alone decide."""
    for step in (
        relax.transform.Normalize(),
        relax.transform.CanonicalizeBindings(),
        inline_structure,
        fold_constants,
        inline_structure,
        relax.transform.DeadCodeElimination(["main"]),
    ):
        module = step(module)
    return module


def _checked(settings: Settings, roles: Roles, told: dict[str, Any]) -> Settings:
    if settings.weights.method == "awq":
        raise UsageError(
            f"{settings.weights} needs a calibration text, which is read for folders only",
            "it scales weights by what the layers of a model read there",
            f"use rtn{settings.weights.bits}:g{settings.weights.group}",
        )
    if "per-tensor" in settings.kv_text:
        raise UsageError(
            f"{settings.kv_text} needs a calibration text, which is read for folders only",
            "one scale is fixed when the model is compiled",
            "use per-token, per-channel or per-block",
        )
    settings = settings.sized(told["context"] or _CONTEXT)
    if isinstance(roles.batch, int) and roles.batch != settings.batch:
        raise UsageError(
            f"the batch is {settings.batch}, the model was exported for {roles.batch}", "", f"use --batch {roles.batch}"
        )
    return replace(settings, calibration=())


def _logits(function: Any, outputs: Any, roles: Roles) -> Any:
    """The variable of the logits of all tokens."""
    returned = function.body.body
    for binding in (b for block in function.body.blocks for b in block.bindings):
        if binding.var.same_as(returned) and isinstance(binding.value, relax.Tuple):
            returned = binding.value
    results = list(returned.fields) if isinstance(returned, relax.Tuple) else [returned]
    for var, spec in zip(results, outputs, strict=True):
        shape = shape_of(var)
        if spec.name == "logits" or (shape and len(shape) == 3):
            if shape and len(shape) == 3 and not isinstance(shape[1], int) and isinstance(shape[2], int):
                return var
            raise UnsupportedModelError(
                f"the output {spec} is not logits of every token",
                "a session takes those it needs, of chunks of any length",
                "export the model with the logits of all tokens",
            )
    raise UnsupportedModelError("the model has no output of logits", "they are float[batch, tokens, vocabulary]")


def _told(path: Path) -> dict[str, Any]:
    """Begin, end and longest text, from ``genai_config.json`` or ``config.json`` beside the model.

    Raises :class:`ModelFileError` where that is damaged.
    """
    beside = [path.parent / name for name in ("genai_config.json", "config.json")]
    found = next((file for file in beside if file.is_file()), None)
    if found is None:
        return {"begin": -1, "end": [], "context": 0}
    fields = read_fields(found)
    fields = fields.inner("model") or fields
    longest = "context_length" if "context_length" in fields else "max_position_embeddings"
    return {
        "begin": next(iter(fields.ids("bos_token_id")), -1),
        "end": list(fields.ids("eos_token_id")),
        "context": fields.whole(longest, 0, least=0),
    }
