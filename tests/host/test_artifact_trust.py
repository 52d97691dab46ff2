"""Artifacts that somebody changed on purpose: signatures, and manifests that lie with all checksums made to fit."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

import byoc
from byoc.artifact import Manifest, is_signed, open_artifact, read_manifest
from byoc.artifact.archive import Member, Seal, layout
from byoc.errors import ArtifactError, SignatureError, UsageError
from byoc.tensor_spec import TensorSpec
from tests.handmade import offset_model, offset_model_reference

X = np.ones((2, 4), np.float32)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys: own.pem and own.pub, other.pem and other.pub, rsa.pem, locked.pem, text.pem."""
    folder = tmp_path_factory.mktemp("keys")
    plain = serialization.NoEncryption()
    for name in ("own", "other"):
        write_key(folder / f"{name}.pem", ed25519.Ed25519PrivateKey.generate(), plain)
    write_key(folder / "rsa.pem", rsa.generate_private_key(65537, 2048), plain)
    locked = serialization.BestAvailableEncryption(b"secret")
    write_key(folder / "locked.pem", ed25519.Ed25519PrivateKey.generate(), locked)
    (folder / "text.pem").write_text("not a key")
    return folder


def write_key(path: Path, key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, encryption: object) -> None:
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))  # type: ignore[arg-type]
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)


def forged(path: Path, saved: Path, change: Callable[[Manifest], Manifest], seal: Seal | None = None) -> Path:
    """The artifact with another manifest, digests and checksums made to fit it."""
    text = change(read_manifest(saved)).to_json().encode()
    with zipfile.ZipFile(saved) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist() if name != "manifest.json"]
    contents = [("manifest.json", text), *members]
    seal = seal or Seal(hashlib.sha256(text).hexdigest())
    form = layout([Member(name, len(data), zlib.crc32(data)) for name, data in contents], seal)
    path.write_bytes(b"".join(h + c for h, (_, c) in zip(form.headers, contents, strict=True)) + form.tail)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "m.byoc"
    offset_model().save(path)
    return path


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    path = tmp_path_factory.mktemp("signed") / "m.byoc"
    offset_model().save(path, sign_key=keys / "own.pem")
    return path


def test_a_signed_artifact_runs_where_its_key_is_asked_for_and_where_none_is(signed: Path, keys: Path) -> None:
    assert is_signed(signed)
    for key in (keys / "own.pub", None):
        with byoc.load(signed, verify_key=key) as session:
            np.testing.assert_allclose(session.run({"x": X}, entry="main")["y"], offset_model_reference(X), rtol=1e-6)


def test_an_unsigned_artifact_is_refused_where_a_key_is_asked_for(saved: Path, keys: Path) -> None:
    assert not is_signed(saved)
    with pytest.raises(SignatureError) as caught:
        byoc.load(saved, verify_key=keys / "own.pub")
    assert str(caught.value) == (
        f'[BYOC-601] the artifact "{saved}" is not signed\n'
        f"  why: {keys / 'own.pub'} is to verify it\n"
        "  do:  ask for a signed one (--sign KEY)"
    )


def test_another_keys_signature_is_refused(signed: Path, keys: Path) -> None:
    with pytest.raises(SignatureError, match="is not signed by the owner of"):
        byoc.load(signed, verify_key=keys / "other.pub")


def test_a_changed_manifest_under_the_old_signature_is_refused(signed: Path, keys: Path, tmp_path: Path) -> None:
    old = open_artifact(signed).seal
    text = replace(read_manifest(signed), model_digest="another").to_json().encode()
    seal = replace(old, manifest_sha256=hashlib.sha256(text).hexdigest())
    path = forged(tmp_path / "m.byoc", signed, lambda m: replace(m, model_digest="another"), seal)
    assert read_manifest(path).model_digest == "another"
    with pytest.raises(SignatureError, match="another key's, or of another content"):
        read_manifest(path, verify_key=keys / "own.pub")


def test_an_opened_artifact_can_be_signed_and_signed_again(
    saved: Path, signed: Path, keys: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.byoc"
    open_artifact(saved).save(path, sign_key=keys / "own.pem")
    assert path.read_bytes() == signed.read_bytes()
    open_artifact(path).save(path, sign_key=keys / "other.pem")
    assert open_artifact(path, verify_key=keys / "other.pub").manifest == read_manifest(saved)
    with pytest.raises(SignatureError):
        open_artifact(path, verify_key=keys / "own.pub")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent.pem", "the signing key"),
        ("text.pem", "it is not one in PEM form"),
        ("rsa.pem", "it is a key of another kind"),
        ("own.pub", "it is not one in PEM form"),
        ("locked.pem", "the key is encrypted"),
    ],
)
def test_a_file_that_cannot_sign_is_refused_and_nothing_is_written(
    saved: Path, keys: Path, tmp_path: Path, name: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        open_artifact(saved).save(tmp_path / "m.byoc", sign_key=keys / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["absent.pub", "text.pem", "rsa.pub", "own.pem"])
def test_a_file_that_holds_no_public_key_is_refused(signed: Path, keys: Path, name: str) -> None:
    with pytest.raises(UsageError):
        byoc.load(signed, verify_key=keys / name)


def entry_changed(**fields: object) -> Callable[[Manifest], Manifest]:
    def change(manifest: Manifest) -> Manifest:
        main, *others = manifest.entry_functions
        return replace(manifest, entry_functions=(replace(main, **fields), *others))  # type: ignore[arg-type]

    return change


def weights_reshaped(manifest: Manifest) -> Manifest:
    first, *others = manifest.weights
    return replace(manifest, weights=(replace(first, shape=first.shape[::-1]), *others))


def partition_constants_exchanged(manifest: Manifest) -> Manifest:
    (partition,) = manifest.partitions
    return replace(manifest, partitions=(replace(partition, constants=(0,)),))


LIES = {
    "a larger input": entry_changed(inputs=(TensorSpec("x", "float32", ("n", 400)),)),
    "an input of another dtype": entry_changed(inputs=(TensorSpec("x", "float64", ("n", 4)),)),
    "an output of another dtype": entry_changed(outputs=(TensorSpec("y", "float64", ("n", 8)),)),
    "another order of weights": entry_changed(weights=(1,)),
    "a state that is not there": lambda m: replace(m, states=(TensorSpec("s", "float32", (4,)),)),
    "a weight of another shape": weights_reshaped,
    "a partition's constants exchanged": partition_constants_exchanged,
    "no constants bound": lambda m: replace(m, partitions=(replace(m.partitions[0], bind=None),)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_found_out_before_the_first_call(saved: Path, tmp_path: Path, lie: str) -> None:
    path = forged(tmp_path / "m.byoc", saved, LIES[lie])
    with pytest.raises(ArtifactError) as caught:
        byoc.load(path)
    assert str(caught.value) == (
        "[BYOC-600] the artifact's manifest does not describe its library\n"
        "  why: the inputs, outputs, states, weights or partitions in it are not those "
        "that the library was compiled for\n"
        "  do:  compile the model again"
    )
