"""Compile generated C to object files."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import tvm_ffi

from byoc.codegen import Codegen, CSource
from byoc.errors import CompilerError, ToolchainError

INCLUDE = Path(__file__).resolve().parent.parent / "include"
BASE_FLAGS = ("-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden")
_STANDARDS = {"c": "gnu11", "c++": "c++17"}


def find_compiler(language: str = "c") -> str:
    """Path of the C or C++ compiler: ``$CC``/``$CXX``, else the usual names.

    Raises :class:`ToolchainError` when there is none.
    """
    variable, names = ("CXX", ("c++", "g++", "clang++")) if language == "c++" else ("CC", ("cc", "gcc", "clang"))
    for name in (os.environ.get(variable, ""), *names):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise ToolchainError(
        f"no {language.upper()} compiler is installed",
        f"none of {', '.join(names)} is on PATH, and ${variable} names none",
        "install one, on Debian with: apt-get install build-essential",
    )


@functools.lru_cache(maxsize=8)
def compiler_version(compiler: str) -> str:
    """First line of ``--version``."""
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return shown.partition("\n")[0]


@functools.lru_cache(maxsize=8)
def cpu_features(mcpu: str) -> tuple[str, ...]:
    """Instruction-set extensions that code for `mcpu` may use, in the spelling of ``/proc/cpuinfo``."""
    command = [find_compiler(), f"-march={mcpu}", "-dM", "-E", "-x", "c", os.devnull]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise ToolchainError(
            f'the C compiler does not know the CPU "{mcpu}"', _first_error(shown.stderr), "give another --mcpu"
        )
    macros = set(re.findall(r"#define __(\w+?)__ 1$", shown.stdout, re.MULTILINE))
    return tuple(sorted(flag for macro, flag in _FEATURES.items() if macro in macros))


_FEATURES = {
    "SSE3": "pni", "SSSE3": "ssse3", "SSE4_1": "sse4_1", "SSE4_2": "sse4_2", "AVX": "avx", "AVX2": "avx2", "FMA": "fma",
    "F16C": "f16c", "BMI": "bmi1", "BMI2": "bmi2", "AVX512F": "avx512f", "AVX512BW": "avx512bw", "AVX512VL": "avx512vl",
    "AVX512DQ": "avx512dq", "AVX512CD": "avx512cd", "AVX512VNNI": "avx512_vnni", "AVX512BF16": "avx512_bf16",
    "AVX512FP16": "avx512_fp16", "AVXVNNI": "avx_vnni", "POPCNT": "popcnt", "LZCNT": "abm", "MOVBE": "movbe",
}  # fmt: skip


@dataclass(frozen=True)
class CCompiler:
    """Compiles C for one CPU into a folder, one object for each partition."""

    folder: Path
    mcpu: str = "native"

    def compile(self, name: str, source: CSource, codegen: Codegen) -> str:
        """Object file of a partition's source.  Raises :class:`CompilerError` naming the codegen."""
        suffix = "cc" if source.language == "c++" else "c"
        path = self.folder / f"{name}.{suffix}"
        path.write_text(source.code)
        return self._run(path, source.language, codegen)

    def compile_own(self, name: str, code: str) -> str:
        """Object file of C that byoc writes itself."""
        path = self.folder / f"{name}.c"
        path.write_text(code)
        return self._run(path, "c", Codegen())

    def compile_device_sources(self, codegen: Codegen) -> list[str]:
        """Object files of the C sources that a codegen ships.  Raises :class:`CompilerError`."""
        objects = []
        for source in codegen.sources:
            path = (codegen.folder / source).resolve()
            if not path.is_file():
                raise CompilerError(f'codegen "{codegen.name}" lists the source {source}', f"{path} does not exist")
            language = "c" if path.suffix == ".c" else "c++"
            objects.append(self._run(path, language, codegen, f"{codegen.name}_{path.stem}.o"))
        return objects

    def _run(self, path: Path, language: str, codegen: Codegen, output: str = "") -> str:
        target = self.folder / (output or f"{path.stem}.o")
        include = [INCLUDE, *tvm_ffi.libinfo.include_paths(), codegen.folder]
        include += [codegen.folder / d for d in codegen.include_dirs]
        command = [find_compiler(language), "-c", f"-std={_STANDARDS[language]}", *BASE_FLAGS]
        command += [f"-march={self.mcpu}", *codegen.c_flags, *(f"-I{d}" for d in include)]
        command += [path.name if path.parent == self.folder else str(path), "-o", str(target)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        if shown.returncode:
            raise CompilerError(
                f'the C compiler refuses {path.name} of codegen "{codegen.name}"',
                _first_error(shown.stderr),
                "look at the source with --emit-c DIR",
            )
        return str(target)


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines()
    return lines[0].strip() if lines else "it gave no reason"
