"""Examine a target from a process that cannot be forked, since TVM's threads may be running in it: from a new one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from byoc.conformance.outcome import Outcome, Report
from byoc.conformance.run import TIMEOUT
from byoc.errors import PluginError
from byoc.registry import find_codegen, installed_targets


def conformance_apart(
    target: str,
    cases: Sequence[str],
    *,
    options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    timeout: float = TIMEOUT,
) -> Report:
    """As :func:`byoc.conformance.run.conformance`, for the cases of these names.

    A codegen that is not installed is loaded from the file that registered it.  Raises :class:`PluginError` when the
    other process cannot examine it.
    """
    command = [sys.executable, "-m", "byoc", "conformance", "--json", "--target", target]
    command += ["--timeout", str(timeout), *(["--jobs", str(jobs)] if jobs else [])]
    if target not in installed_targets():
        command += ["--plugin", find_codegen(target).origin]
    for key, value in (options or {}).items():
        command += ["--option", f"{target}.{key}={value}"]
    for name in cases:
        command += ["--case", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
        outcomes = tuple(Outcome(**{**o, "patterns": tuple(o["patterns"])}) for o in told["outcomes"])
    except (ValueError, KeyError):
        raise PluginError(
            f'target "{target}" cannot be examined', done.stderr.strip()[-500:] or done.stdout[-500:]
        ) from None
    return Report(told["target"], told["version"], outcomes, tuple(told["untried_patterns"]), tuple(told["loses_nan"]))
