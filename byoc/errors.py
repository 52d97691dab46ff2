"""The exception tree of byoc.

Every error a person can meet is a :class:`ByocError`.  It says what happened (names, shapes), why, and what to do;
it carries a stable ``code`` for searching and an ``exit_code`` that the command line returns.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ByocError(Exception):
    """Base of all errors of byoc.

    Parameters
    ----------
    what: one sentence, what happened, with the names and shapes at fault.
    why: one sentence, the cause, if it is not plain from ``what``.
    todo: one sentence, what to do about it.
    """

    code = "BYOC-000"
    exit_code = 1

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        self.what, self.why, self.todo = what, why, todo
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.what}"]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.todo:
            lines.append(f"  do:  {self.todo}")
        return "\n".join(lines)


class UsageError(ByocError):
    """The caller asked for something that does not exist or cannot be."""

    code, exit_code = "BYOC-100", 2


class UnknownTargetError(UsageError):
    """No codegen of that name is registered."""

    code = "BYOC-101"


class PinError(UsageError):
    """A pin matches no op, or names an owner that cannot take the op."""

    code = "BYOC-102"


class OptionError(UsageError):
    """A codegen option is unknown or has a value of the wrong type."""

    code = "BYOC-103"


class ShapeError(UsageError):
    """A ``--shape`` names an unknown input, or contradicts the model."""

    code = "BYOC-104"


class InputError(UsageError):
    """A run was given wrong inputs: names, dtypes or shapes."""

    code = "BYOC-105"


class CalibrationError(UsageError):
    """Calibration data does not fit the model, or no range can be told from it."""

    code = "BYOC-106"


class ModelError(ByocError):
    """The model cannot be taken in."""

    code, exit_code = "BYOC-200", 3


class ModelFileError(ModelError):
    """The file is missing, empty, truncated, or not an ONNX model."""

    code = "BYOC-201"


class ExternalDataError(ModelError):
    """Weights kept beside the model are missing, or lie outside its folder."""

    code = "BYOC-202"


class UnsupportedModelError(ModelError):
    """The model uses operators, or an opset, that the importer does not take."""

    code = "BYOC-203"


class QuantizationError(ModelError):
    """The model cannot be quantised: it is already, or nothing in it has an integer form."""

    code = "BYOC-204"


class LimitError(ModelError):
    """The model is larger, or would become larger at import, than a limit lets it be."""

    code = "BYOC-205"


class PluginError(ByocError):
    """A codegen broke its contract."""

    code, exit_code = "BYOC-300", 4


class PluginLoadError(PluginError):
    """A plugin file or entry point cannot be loaded, or registers wrongly."""

    code = "BYOC-301"


class CheckError(PluginError):
    """A codegen's ``check``, ``cost`` or ``passes`` raised or returned nonsense."""

    code = "BYOC-302"


class EmitError(PluginError):
    """A codegen's ``emit`` raised, refused, or returned nonsense."""

    code = "BYOC-303"


class MissingSymbolError(PluginError):
    """A codegen promised a symbol that its code does not define."""

    code = "BYOC-304"


class PlanError(ByocError):
    """A plan cannot be used: malformed, for another model, or violating an invariant."""

    code, exit_code = "BYOC-400", 5


class RequirementError(PlanError):
    """The plan offloads less than ``--require`` asks for."""

    code, exit_code = "BYOC-401", 8


class ToolchainError(ByocError):
    """A compiler, library or package that byoc needs is missing or has the wrong version."""

    code, exit_code = "BYOC-500", 6


class CompilerError(ToolchainError):
    """The C compiler or the linker refused generated code."""

    code = "BYOC-501"


class HostError(ToolchainError):
    """TVM could not compile the host part."""

    code = "BYOC-502"


class ArtifactError(ByocError):
    """An artifact is damaged, from another format or TVM version, or cannot be written."""

    code, exit_code = "BYOC-600", 7


class SignatureError(ArtifactError):
    """An artifact is not signed, or not with the key that is asked for."""

    code = "BYOC-601"


class SessionError(ByocError):
    """A session is used wrongly, or a run failed inside a partition."""

    code, exit_code = "BYOC-700", 7


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known spelling, or lists what is known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    if not known:
        return "none is known."
    listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"known: {listed}."
