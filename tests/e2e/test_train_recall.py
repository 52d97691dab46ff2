"""The script that trains a small Llama on recall: byoc computes what PyTorch computes, and the task reads its data."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import byoc
from byoc.llm import LanguageSession, Settings, language_model, parse_kv, read_calibration
from byoc.pareto.tasks import make_task
from byoc.pareto.tasks.task import Subject

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install -e ".[reference]"')


@pytest.fixture
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "pareto" / "train.py"
    spec = importlib.util.spec_from_file_location("train_recall", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_what_it_writes_is_a_model_with_data_to_search_on(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    monkeypatch.setattr(script, "save", lambda model, *rest, save=script.save: kept.append(model) or save(model, *rest))
    shape = ["--hidden", "32", "--heads", "2", "--kv-heads", "1", "--intermediate", "64"]
    monkeypatch.setattr(sys, "argv", ["train.py", str(tmp_path), "--context", "96", "--minutes", "0.02", *shape])
    script.main()

    figures = json.loads((tmp_path / "training.json").read_text())
    assert figures["steps"] > 0 and set(figures["recall"]) == {"32", "48", "96"}
    settings = Settings(kv=parse_kv("k32v32", 2), chunk=32)
    session = LanguageSession(byoc.compile(language_model(tmp_path, settings), ["csource"], use_cache=False).session())
    assert session.context == 96
    with np.load(tmp_path / "eval.npz") as file:
        ids, answers = file["ids_96"].astype(np.int64), file["answer_96"]
    assert (ids[answers] >= script.VALUES[0]).all() and answers.sum() == 32 * 2 * 2
    with torch.no_grad():
        wanted = kept[0](torch.from_numpy(ids[:1]))[0].numpy()
    np.testing.assert_allclose(session.score(ids[0])[0], wanted, rtol=1e-3, atol=1e-4)
    task = make_task("recall", {"file": str(tmp_path / "eval.npz"), "length": 96}, Subject(None, 96))
    totals, weights = np.transpose([task.run(session, i) for i in range(len(task))])
    assert totals.sum() / weights.sum() == pytest.approx(figures["recall"]["96"], abs=0.02)
    assert len(read_calibration(tmp_path / "calibrate.npy", tmp_path)) >= 2048
