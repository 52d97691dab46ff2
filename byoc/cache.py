"""A folder of results that are expensive to make, found again by what they were made from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

VARIABLE = "BYOC_CACHE_DIR"
_DIGEST_LENGTH = 64
_KEY = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


_chosen: ContextVar[Path | None] = ContextVar("cache folder", default=None)


class CacheWarning(UserWarning):
    """The cache's folder cannot be used; nothing is kept, the work itself goes on."""


class Cache:
    """Entries are files, by key (what they were made from) and name.

    Any number of processes may use one folder: an entry appears whole, under a name that holds its own SHA-256, and
    never changes.  A damaged entry counts as absent.  Where the folder cannot be written, entries go to a temporary
    folder that this object owns, after one :class:`CacheWarning`.

    ``root`` None: what the compilation under way was told (:func:`default_folder`), else the environment's
    BYOC_CACHE_DIR, else ``~/.cache/byoc``.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(root) if root is not None else _default_root()
        self._spare: Path | None = None

    @staticmethod
    def key(*parts: str | bytes) -> str:
        """A key for a result made from exactly these parts, in this order."""
        digest = hashlib.sha256()
        for part in parts:
            content = part.encode("utf-8") if isinstance(part, str) else part
            digest.update(f"{'text' if isinstance(part, str) else 'bytes'} {len(content)}\n".encode("ascii"))
            digest.update(content)
        return digest.hexdigest()

    def get(self, key: str, name: str) -> Path | None:
        """The entry's file, its content verified, or None.  The file must not be changed."""
        for root in self._roots():
            folder = _entry_folder(root, key, name)
            with contextlib.suppress(OSError):
                for file in sorted(os.listdir(folder)):
                    if file[_DIGEST_LENGTH:] == f"-{name}" and _verified(folder / file, file[:_DIGEST_LENGTH]):
                        return folder / file
        return None

    def put(self, key: str, name: str, write: Callable[[Path], None]) -> Path | None:
        """Keep what ``write`` writes to the path it is given, and return the entry's file.

        If the cache cannot take it, ``write`` is called a second time, for a temporary folder; None if that cannot
        take it either.  What ``write`` raises that is no ``OSError`` nor due to one is raised; no part of the entry
        stays behind.
        """
        try:
            return _put(_entry_folder(self.root, key, name), name, write)
        except Exception as error:
            why = _why(error)
        try:
            return _put(_entry_folder(self._spare_root(why), key, name), name, write)
        except Exception as error:
            _warn(f"nor can the temporary folder {tempfile.gettempdir()} be used ({_why(error)})")
            return None

    def engine_dir(self, codegen_name: str, key: str) -> Path:
        """A folder where a codegen keeps what it builds at first use, such as engines; it exists."""
        if not _NAME.fullmatch(codegen_name) or not _KEY.fullmatch(key):
            raise ValueError(f"no engine folder can be named after {codegen_name!r} and {key!r}")
        try:
            return _writable_folder(self.root / "engines" / codegen_name / key)
        except OSError as error:
            return _writable_folder(self._spare_root(_why(error)) / "engines" / codegen_name / key)

    def _roots(self) -> list[Path]:
        return [self.root] if self._spare is None else [self.root, self._spare]

    def _spare_root(self, why: str) -> Path:
        if self._spare is None:
            _warn(f"the cache {self.root} cannot be used ({why}); nothing is kept for the next time")
            self._spare = Path(tempfile.mkdtemp(prefix="byoc-cache-"))
            weakref.finalize(self, shutil.rmtree, self._spare, ignore_errors=True)
        return self._spare


def _warn(text: str) -> None:
    warnings.warn(text, CacheWarning, stacklevel=4)


def _why(error: BaseException) -> str:
    """What the ``OSError`` says that ``error`` is, or is due to; raises ``error`` if there is none."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if not isinstance(cause, OSError):
        raise error
    return cause.strerror or str(cause)


@contextlib.contextmanager
def default_folder(root: str | os.PathLike[str] | None) -> Iterator[None]:
    """Within it, caches without a folder of their own use `root`; None changes nothing."""
    token = _chosen.set(_chosen.get() if root is None else Path(root))
    try:
        yield
    finally:
        _chosen.reset(token)


def _default_root() -> Path:
    named = _chosen.get() or os.environ.get(VARIABLE)
    return Path(named) if named else Path(os.path.expanduser("~")) / ".cache" / "byoc"


def _entry_folder(root: Path, key: str, name: str) -> Path:
    if not _KEY.fullmatch(key) or not _NAME.fullmatch(name):
        raise ValueError(f"no cache entry can be named {name!r} under the key {key!r}")
    return root / "entries" / key[:2] / key


def _put(folder: Path, name: str, write: Callable[[Path], None]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    # The name keeps its ending, which tools that write the file may go by.
    part = folder / f"part-{secrets.token_hex(8)}-{name}"
    try:
        write(part)
        final = folder / f"{_sha256(part)}-{name}"
        os.replace(part, final)
        return final
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _verified(path: Path, digest: str) -> bool:
    if _sha256(path) == digest:
        return True
    with contextlib.suppress(OSError):
        path.unlink()
    return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _writable_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", str(path))
    return path
