"""The file that a compiled model is: a manifest, the plan, a shared library and the weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.artifact.compatibility import check_compatible
from byoc.artifact.manifest import (
    FORMAT_VERSION,
    CodegenRecord,
    EntryFunction,
    KernelRecord,
    Manifest,
    MemberRecord,
    PartitionRecord,
    WeightRecord,
)
from byoc.artifact.reader import OpenedArtifact, is_signed, open_artifact, read_manifest
from byoc.artifact.weights import WeightStore
from byoc.artifact.writer import write_artifact
from byoc.errors import ArtifactError

if TYPE_CHECKING:
    from byoc.runtime.session import Session

__all__ = [
    "FORMAT_VERSION",
    "Artifact",
    "CodegenRecord",
    "EntryFunction",
    "KernelRecord",
    "Manifest",
    "MemberRecord",
    "OpenedArtifact",
    "PartitionRecord",
    "WeightRecord",
    "WeightStore",
    "check_compatible",
    "is_signed",
    "open_artifact",
    "read_manifest",
]


@dataclass(frozen=True)
class Artifact:
    """A compiled model in memory.

    ``library`` is the content of a shared library.  ``python_functions`` are prototypes, by the symbol of their
    partition; they receive TVM tensors as the library's functions do (inputs, then outputs to fill).  ``sources`` are
    generated files by path, for reading; they are not saved.  ``tokenizer`` is the ``tokenizer.json`` of a language
    model, or empty.
    """

    manifest: Manifest
    plan_json: str
    library: bytes
    weights: WeightStore
    python_functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    tokenizer: bytes = field(repr=False, default=b"")

    @property
    def arrays(self) -> tuple[np.ndarray[Any, Any], ...]:
        """The weights by index, read-only."""
        return self.weights.arrays

    def save(self, path: str | os.PathLike[str], *, sign_key: str | os.PathLike[str] | None = None) -> None:
        """Write the artifact to one file, whole or not at all; the same content gives the same bytes.

        ``sign_key`` is the file of an Ed25519 private key (PEM); whoever has the public one can tell that the artifact
        is from its owner.  Raises :class:`UsageError` if that cannot be used, :class:`ArtifactError` if the artifact
        holds Python functions, or if the file cannot be written.
        """
        if self.python_functions:
            targets = {part.symbol: part.target for part in self.manifest.partitions}
            owners = sorted({targets.get(symbol, symbol) for symbol in self.python_functions})
            raise ArtifactError(
                f"the artifact cannot be saved: partitions of {', '.join(owners)} are Python functions",
                "an artifact runs without Python, so a prototype cannot be part of it",
                "let the codegen's emit return C source or a runtime module",
            )
        write_artifact(path, self.manifest, self.plan_json, self.library, self.weights, self.tokenizer, sign_key)

    def session(self, threads: int | None = None) -> Session:
        """A session on this artifact, as :func:`byoc.load` gives for a saved one."""
        from byoc.runtime.session import Session

        return Session(self, threads=threads)
