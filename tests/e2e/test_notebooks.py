"""The notebooks under ``examples`` run from top to bottom, and show plans."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_shows_its_plan(path: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    metadata = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=metadata).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    (plan,) = [data for data in shown if "text/html" in data]
    assert "srcdoc=" in plan["text/html"] and "data:image/svg+xml;base64," in plan["text/html"]
    assert " ops (" in plan["text/plain"]


def test_there_are_notebooks() -> None:
    assert [p.stem for p in NOTEBOOKS] == ["partition_and_look", "write_a_codegen"]
