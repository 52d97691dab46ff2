"""Fixtures that every room of tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real models; tests that ask for it skip themselves where it is absent."""
    root = Path(os.environ.get("BYOC_SHARED", REPOSITORY.parent / "shared"))
    if not (root / "models").is_dir():
        pytest.skip(f"needs the shared models: no folder 'models' in {root} (set BYOC_SHARED)")
    return root / "models"
