"""The contract between byoc and a codegen.

A codegen subclasses :class:`Codegen` and is registered under a name with `register_codegen`.  The smallest one has
`patterns` and `emit_match`; everything else has a default.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from byoc.graph import Node, Value

if TYPE_CHECKING:
    import numpy as np

    from byoc.lower.partition_function import PartitionFunction


@dataclass(frozen=True)
class Reject:
    """A codegen's no, with its reason and the value at fault."""

    reason: str
    at: str = ""


def reject(reason: str, at: Value | None = None) -> Reject:
    """Refuse a match in `check`, or a partition in `emit`.

    Parameters
    ----------
    reason: one sentence that a deployer can act on, such as ``"takes float32 only"``.
    at: the value at fault.
    """
    return Reject(str(reason), repr(at) if at is not None else "")


@dataclass(frozen=True)
class Option:
    """An option of a codegen that a deployer sets with ``--option name.key=value``.

    Its type is the type of `default`: bool, int, float or str.
    """

    default: bool | int | float | str
    help: str = ""
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Peaks:
    """What a target can do at best; the cost model's roofline.

    Attributes
    ----------
    flops: floating-point operations per second.
    bandwidth: bytes per second between the target and its memory.
    link_bandwidth: bytes per second between the host and the target.
    call_overhead: seconds that one call of a partition costs.
    families: floating-point operations per second of one family of ops, where it differs from `flops`; see
        :data:`byoc.partitioner.work.FAMILIES`.
    op_overhead: seconds that every composite takes, however little it does.
    family_overheads: the same for one family of ops, where it differs, as it does where threads have to be started.
    layout_bandwidth: bytes per second at which an image (a tensor of four dimensions or more) that crosses the
        target's boundary is brought into a layout of its own, or out of it.
    switch_overhead: seconds that a run loses where it goes from the target to another owner or back, as it does where
        the target has threads of its own that keep those of the runtime off the processors for a while.
    """

    flops: float = 1e11
    bandwidth: float = 2e10
    link_bandwidth: float = 2e10
    call_overhead: float = 2e-6
    families: Mapping[str, float] = field(default_factory=dict)
    op_overhead: float = 0.0
    family_overheads: Mapping[str, float] = field(default_factory=dict)
    layout_bandwidth: float = float("inf")
    switch_overhead: float = 0.0


class Match:
    """One place in the graph where a pattern matched.

    ``m["x"]`` is the captured :class:`Value`.  While a partition is emitted, ``str(m["x"])`` is the C expression that
    points at its data, and `constant`, `scratch` and `helper` add to the generated source.
    """

    def __init__(
        self,
        pattern: str,
        nodes: tuple[Node, ...],
        captures: Mapping[str, Value],
        options: Mapping[str, Any],
    ) -> None:
        self.pattern, self.nodes, self.captures, self.options = pattern, nodes, captures, options
        self.root = nodes[-1]
        self.source: SourceContext | None = None

    def __getitem__(self, name: str) -> Value:
        try:
            return self.captures[name]
        except KeyError:
            known = ", ".join(sorted(self.captures)) or "nothing"
            raise KeyError(f'pattern "{self.pattern}" captures no "{name}" here; it captures {known}') from None

    def __contains__(self, name: str) -> bool:
        return name in self.captures

    @property
    def out(self) -> Value:
        """The result of the match."""
        return self.root.outputs[0]

    @property
    def outs(self) -> tuple[Value, ...]:
        """All results of the match; more than one where its root returns a tuple."""
        return self.root.outputs

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Every tensor that the match reads from outside, constants included, each once."""
        inside = {node.index for node in self.nodes}
        seen: dict[int, Value] = {}
        for node in self.nodes:
            for value in node.inputs:
                if value.producer is None or value.producer.index not in inside:
                    seen.setdefault(id(value), value)
        return tuple(seen.values())

    def _emitting(self) -> SourceContext:
        if self.source is None:
            raise RuntimeError("constant(), scratch() and helper() work only in emit_match")
        return self.source

    def constant(self, array: np.ndarray, name: str = "packed") -> str:
        """Add a constant, such as repacked weights, to the artifact; returns the C expression that points at it."""
        return self._emitting().constant(array, name)

    def scratch(self, nbytes: Any) -> str:
        """Reserve `nbytes` (int or Dim) of 64-byte aligned memory for this match; returns a C ``char *``."""
        return self._emitting().scratch(nbytes)

    def helper(self, code: str) -> None:
        """Add C code at file scope, once however often it is asked for."""
        self._emitting().helper(code)

    def __repr__(self) -> str:
        return f"{self.pattern}@{self.root.node or self.root.op}"


class SourceContext:
    """What `emit_match` may add to the source of its partition; implemented by the framework."""

    def constant(self, array: np.ndarray, name: str) -> str:
        raise NotImplementedError

    def scratch(self, nbytes: Any) -> str:
        raise NotImplementedError

    def helper(self, code: str) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class CSource:
    """C or C++ source that defines the symbols of a partition.

    Attributes
    ----------
    code: the translation unit.
    symbols: partition symbols it defines, each as ``__tvm_ffi_<symbol>``.
    constants: (name, array) in the order in which the bind function takes them.
    bind: symbol that is called once after loading with the constants, or ``""``.
    workspace: bytes (int or Dim) of memory passed as the last argument on every call; 0 for none.
    libraries: what the artifact is linked to because of it: objects, shared libraries, flags of the linker.
    """

    code: str
    symbols: tuple[str, ...]
    language: str = "c"
    constants: tuple[tuple[str, Any], ...] = ()
    bind: str = ""
    workspace: Any = 0
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuntimeModule:
    """A TVM runtime module (such as a C++ ``ffi::ModuleObj``) that implements the symbols of a partition.

    It must be able to save itself to bytes.  `libraries` are shared libraries that register its loader and are linked
    to the artifact.
    """

    module: Any
    symbols: tuple[str, ...]
    constants: tuple[tuple[str, Any], ...] = ()
    bind: str = ""
    workspace: Any = 0
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class PyFunc:
    """A Python function that runs a partition: inputs, then outputs to write into, all as NumPy arrays.

    For prototypes: an artifact with one runs in this process and refuses to be saved.
    """

    function: Callable[..., None]


class Codegen:
    """Base of every codegen.  Class attributes declare, methods decide.

    Attributes
    ----------
    patterns: pattern by name.  Earlier ones win where two could take the same op.
    options: option by name.
    headers, sources, include_dirs: C files of the device library, relative to the codegen's own file; headers are
        included in the generated source, sources are compiled into the artifact.
    libraries: names or paths of shared libraries that the artifact is linked to.
    c_flags: flags for compiling the generated source.
    peaks: for the cost model.
    layout: op name -> layouts of its inputs that the target wants, such as ``{"nn.conv2d": ("NHWC", "OHWI")}``; the
        framework converts the ops that the codegen then accepts, and cancels transposes.
    loses_nan: names of ops whose results may lack a NaN that an input has, as the maxima of many devices do; `byoc
        conformance` says so, and tries these ops without NaN.
    for_tests: whether its results are not the model's, so that `byoc explain` never suggests it.
    """

    patterns: ClassVar[Mapping[str, Any]] = {}
    options: ClassVar[Mapping[str, Option]] = {}
    headers: ClassVar[list[str]] = []
    sources: ClassVar[list[str]] = []
    include_dirs: ClassVar[list[str]] = []
    libraries: ClassVar[list[str]] = []
    c_flags: ClassVar[list[str]] = []
    peaks: ClassVar[Peaks] = Peaks()
    layout: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    loses_nan: ClassVar[frozenset[str]] = frozenset()
    for_tests: ClassVar[bool] = False
    name: ClassVar[str] = ""
    version: ClassVar[str] = ""
    folder: ClassVar[Path] = Path()

    def available(self) -> str:
        """Why the target cannot be used on this machine, or ``""`` if it can."""
        return ""

    def requires(self) -> tuple[str, ...]:
        """What the machine that runs the artifact needs.

        ``"file:/dev/npu0"`` (a path that exists) and ``"cpu:avx512vnni"`` (an instruction-set extension) are checked
        before an artifact is loaded; anything else is text for ``byoc inspect``.
        """
        return ()

    def check(self, m: Match) -> Any:
        """Accept a match by returning ``None`` or ``True``; refuse it by returning ``reject(...)``."""
        return None

    def cost(self, m: Match) -> float | None:
        """Seconds that the match takes on the target; ``None`` for the roofline of `peaks`."""
        return None

    def passes(self) -> list[Any]:
        """TVM passes to run on the module before patterns are matched."""
        return []

    def optimize(self, function: Any) -> Any:
        """Rewrite a partition's Relax function (same parameters and results) before it is emitted."""
        return function

    def emit_match(self, m: Match) -> str | Reject:
        """C statements that compute one match."""
        raise NotImplementedError(f"{type(self).__name__} defines neither emit_match nor emit")

    def emit(self, partition: PartitionFunction) -> CSource | RuntimeModule | PyFunc | Reject:
        """Compile a whole partition; by default the matches' statements, stitched into one C function."""
        from byoc.lower.stitch import stitch

        return stitch(self, partition)


@dataclass(frozen=True)
class RegisteredCodegen:
    """A codegen class under its name, with where it came from."""

    name: str
    version: str
    codegen: type[Codegen]
    origin: str
    compiled_patterns: Mapping[str, Any] = field(default_factory=dict, compare=False)


# What a vendor's code may raise: `sys.exit` in it must not pass for a success of byoc.
VENDOR_FAULTS = (Exception, SystemExit)


def guilty_line(error: BaseException) -> str:
    """``file.py:12 in check`` of the innermost frame of an exception; of a syntax error, where it is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} in {last.name}"
