"""Fixtures that every room of tests shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from byoc import registry

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real models; tests that ask for it skip themselves where it is absent."""
    root = Path(os.environ.get("BYOC_SHARED", REPOSITORY.parent / "shared"))
    if not (root / "models").is_dir():
        pytest.skip(f"needs the shared models: no folder 'models' in {root} (set BYOC_SHARED)")
    return root / "models"


@pytest.fixture(autouse=True, scope="module")
def _no_codegen_outlives_its_module() -> Iterator[None]:
    yield from _forgetting_new_codegens()


@pytest.fixture(autouse=True)
def _no_codegen_outlives_its_test() -> Iterator[None]:
    """Two files may call their codegens alike, whichever of them a process runs first."""
    yield from _forgetting_new_codegens()


def _forgetting_new_codegens() -> Iterator[None]:
    before = set(registry._registered)
    yield
    # An installed package registers itself when it is imported, which happens once in a process.
    for name in set(registry._registered) - before - set(registry.installed_targets()):
        del registry._registered[name]
