"""Whether an artifact can run here, judged from its manifest before any native code is loaded."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

from byoc.artifact.manifest import FORMAT_VERSION, CodegenRecord, Manifest
from byoc.compat import installed_version

# LLVM's and GCC's names, where the kernel's name for the same feature differs in more than punctuation.
_KERNEL_NAMES = {
    "sse3": "pni",
    "lzcnt": "abm",
    "pclmul": "pclmulqdq",
    "rdrnd": "rdrand",
    "sha": "shani",
    "sahf": "lahflm",
    "prfchw": "3dnowprefetch",
    "f16c": "f16c",
    "neon": "asimd",
    "dotprod": "asimddp",
    "fullfp16": "asimdhp",
    "i8mm": "i8mm",
    "lse": "atomics",
    "crc": "crc32",
}


@lru_cache(maxsize=1)
def processor_features() -> frozenset[str] | None:
    """Instruction-set extensions that this processor and kernel offer, in one spelling; None if that is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(_spelling(flag) for flag in value.split())
    return None


def _spelling(feature: str) -> str:
    return feature.lower().removeprefix("+").replace("_", "").replace(".", "").replace("-", "")


def missing_features(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``wanted`` (as LLVM, GCC or the kernel spell them) that this machine lacks."""
    present = processor_features()
    if present is None:
        return wanted
    return tuple(name for name in wanted if not {_spelling(name), _KERNEL_NAMES.get(_spelling(name))} & present)


def _unmet(codegen: CodegenRecord) -> list[str]:
    """Which of a codegen's requirements this machine fails, of those that say how to check them."""
    reasons = []
    for need in codegen.requires:
        kind, _, what = need.partition(":")
        if kind == "file" and not Path(what).exists():
            reasons.append(f"codegen {codegen.name} needs {what}, which is not there")
        if kind == "cpu" and missing_features((what,)):
            reasons.append(f"codegen {codegen.name} needs a processor with {what}")
    return reasons


def check_compatible(manifest: Manifest) -> list[str]:
    """Reasons why the artifact cannot run here, as sentences; empty if it can."""
    reasons = []
    if manifest.format_version != FORMAT_VERSION:
        reasons.append(f"it has format version {manifest.format_version}; this byoc reads version {FORMAT_VERSION}")
    for package, wanted in (("apache-tvm", manifest.tvm_version), ("apache-tvm-ffi", manifest.tvm_ffi_version)):
        found = installed_version(package)
        if found != wanted:
            reasons.append(f"it was compiled with {package} {wanted}; {found or 'none'} is installed")
    reasons += [reason for codegen in manifest.codegens for reason in _unmet(codegen)]
    if manifest.architecture != platform.machine():
        reasons.append(f"it is for {manifest.architecture} processors; this is {platform.machine()}")
        return reasons
    missing = missing_features(manifest.cpu_features)
    if missing and processor_features() is None:
        reasons.append(f"it needs {', '.join(missing)}, and what this processor has cannot be found out")
    elif missing:
        reasons.append(f"it is for {manifest.cpu} processors; this one lacks {', '.join(missing)}")
    return reasons
