"""A codegen package to start from: Python that plans, C++ that runs, tests, CI."""

from __future__ import annotations

import keyword
import os
import re
import shutil
import tempfile
from pathlib import Path

from byoc.compat import TVM_FFI_VERSION
from byoc.errors import UsageError
from byoc.registry import installed_targets

TEMPLATE = Path(__file__).with_name("template")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


def new_codegen(name: str, folder: Path) -> tuple[str, ...]:
    """Write a package for the target `name` into `folder`, and return the files' names.

    Raises :class:`UsageError` for a name that no target can have or that is taken, and for a folder that exists.
    """
    if not _NAME.match(name) or keyword.iskeyword(name) or name in ("host", "byoc", "tvm", "test", "tests"):
        raise UsageError(
            f'a codegen cannot be called "{name}"',
            "the name becomes that of a Python package, of C++ and of a target",
            "use lower-case letters, digits and underscores, starting with a letter",
        )
    if name in installed_targets():
        raise UsageError(f'there is a target "{name}" already', "", "choose another name, or uninstall that package")
    if folder.exists():
        raise UsageError(f"{folder} exists", "nothing that is there is overwritten", "name another folder with -o")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"cannot write {folder}", f"the folder {folder.parent} does not exist", "create it first")
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    try:
        partial.chmod(0o755)
        written = _write(name, partial)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _write(name: str, folder: Path) -> tuple[str, ...]:
    class_name = "".join(part.capitalize() for part in name.split("_"))
    words = {"MYACCEL": name.upper(), "MyAccel": class_name, "myaccel": name, "@TVM_FFI@": TVM_FFI_VERSION}
    written = []
    for source in sorted(TEMPLATE.rglob("*.in")):
        path, text = str(source.relative_to(TEMPLATE).with_suffix("")), source.read_text(encoding="utf-8")
        for word, replacement in words.items():
            path, text = path.replace(word, replacement), text.replace(word, replacement)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(path)
    return tuple(written)
