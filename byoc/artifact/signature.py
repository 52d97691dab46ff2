"""Signing artifacts with Ed25519 keys (RFC 8032), through the package ``cryptography``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.artifact.archive import Seal
from byoc.errors import SignatureError, ToolchainError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MAKE_KEY = "openssl genpkey -algorithm ed25519 -out key.pem"
_MAKE_PUBLIC = "openssl pkey -in key.pem -pubout -out public.pem"


def sign(seal: Seal, key: str | os.PathLike[str]) -> Seal:
    """The seal with a signature by the private key in a PEM file, in place of any it has.

    The same key signs the same manifest with the same bytes.  Raises :class:`UsageError` for a file that holds no such
    key, :class:`ToolchainError` without the package ``cryptography``.
    """
    return replace(seal, signature=private_key(Path(key)).sign(seal.signed_text).hex())


def require_signature(seal: Seal, key: str | os.PathLike[str], artifact: Path) -> None:
    """Raise :class:`SignatureError` unless the private half of the public key in a PEM file signed the seal.

    Raises :class:`UsageError` and :class:`ToolchainError` as :func:`sign` does.
    """
    public = _public_key(Path(key))
    if not seal.signature:
        raise SignatureError(
            f'the artifact "{artifact}" is not signed', f"{key} is to verify it", "ask for a signed one (--sign KEY)"
        )
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(bytes.fromhex(seal.signature), seal.signed_text)
    except (InvalidSignature, ValueError):
        raise SignatureError(
            f'the artifact "{artifact}" is not signed by the owner of {key}',
            "its signature is another key's, or of another content",
            "do not run it; take the artifact and the key from a place that you trust",
        ) from None


def private_key(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file; raises as :func:`sign` does."""
    asymmetric, serialization = _cryptography()
    try:
        key = serialization.load_pem_private_key(_content(path, "signing key"), password=None)
    except UsageError:
        raise
    except TypeError:
        raise UsageError(f"{path} cannot sign", "the key is encrypted", "give one without a password") from None
    except Exception as error:
        raise _no_key(path, "private", error, _MAKE_KEY) from None
    if not isinstance(key, asymmetric.Ed25519PrivateKey):
        raise _no_key(path, "private", None, _MAKE_KEY)
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    asymmetric, serialization = _cryptography()
    try:
        key = serialization.load_pem_public_key(_content(path, "public key"))
    except UsageError:
        raise
    except Exception as error:
        raise _no_key(path, "public", error, _MAKE_PUBLIC) from None
    if not isinstance(key, asymmetric.Ed25519PublicKey):
        raise _no_key(path, "public", None, _MAKE_PUBLIC)
    return key


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise ToolchainError(
            "signatures need the package cryptography", "it is not installed", "pip install 'byoc[sign]'"
        ) from None
    return ed25519, serialization


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the {what} {path} cannot be read", error.strerror or str(error), "check the path") from None


def _no_key(path: Path, half: str, error: Exception | None, cure: str) -> UsageError:
    why = "it is a key of another kind" if error is None else "it is not one in PEM form"
    return UsageError(f"{path} holds no {half} Ed25519 key", why, f"make one with: {cure}")
