"""Packages of vendors under ``examples/``, installed by pip as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def install_example(name: str, folder: Path) -> Path:
    """The folder for ``PYTHONPATH`` into which pip has put the example; its source is copied, and left as it is."""
    source = shutil.copytree(EXAMPLES / name, folder / "source")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, "--target", folder / "site", source], check=True)
    return folder / "site"


def byoc_command(*arguments: object, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with the vendor's packages if given."""
    path = os.pathsep.join(filter(None, (packages and str(packages), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "byoc", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)
