"""One small artifact on disk, and a session on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import byoc
from byoc.runtime import Session
from tests.handmade import offset_model


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "model.byoc"
    offset_model().save(path)
    return path


@pytest.fixture
def session(saved: Path) -> Iterator[Session]:
    with byoc.load(saved) as session:
        yield session


@pytest.fixture
def no_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading native code fails the test."""

    def refuse(content: bytes) -> None:
        pytest.fail("native code was loaded")

    monkeypatch.setattr("byoc.runtime.session.load_library", refuse)
