"""What a compiled artifact is made from, as the compile cache's key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import byoc
from byoc.compat import TVM_FFI_VERSION, TVM_VERSION
from byoc.contract import requirements
from byoc.host.pipeline import host_target
from byoc.importer.table import digest_of_users_lowerings
from byoc.lower.compile_c import compiler_version, cpu_features, find_compiler
from byoc.partitioner.plan import Plan
from byoc.partitioner.target import Target
from byoc.tune import Tuning


def cache_parts(plan: Plan, targets: Sequence[Target], on_fail: str, mcpu: str, tuning: Tuning | None) -> list[str]:
    """Model, plan, codegens, CPU, choices for the host's kernels, users' lowerings, versions of all that compiles."""
    sources = [f"{t.name} {source_digest(t)} {' '.join(requirements(t.name, t.codegen))}" for t in targets]
    cpu = str(host_target(mcpu).attrs.get("mcpu", mcpu)) + " ".join(cpu_features(mcpu))
    own = _folder_digest(Path(byoc.__file__).parent)
    versions = [byoc.__version__, own, TVM_VERSION, TVM_FFI_VERSION, compiler_version(find_compiler())]
    tokenizer = hashlib.sha256(plan.model.tokenizer).hexdigest()
    choices = tuning.digest() if tuning is not None else ""
    lowerings = digest_of_users_lowerings() or ""
    return [plan.model_digest, tokenizer, plan.to_json(), *sources, on_fail, cpu, choices, lowerings, *versions]


def source_digest(target: Target) -> str:
    """Of the file a codegen is defined in, or its whole package: an edited plugin must not hit an old entry.

    Empty where there is no such file, as for a class in a notebook; what it compiles is not cached.
    """
    from byoc.registry import find_codegen

    origin = Path(find_codegen(target.name).origin)
    if not origin.is_file():
        return ""
    if (origin.parent / "__init__.py").is_file():
        return _folder_digest(origin.parent)
    listed = [origin, *(target.codegen.folder / f for f in (*target.codegen.sources, *target.codegen.headers))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in listed if f.is_file())).hexdigest()


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".py", ".c", ".cc", ".h") and file.is_file():
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()
