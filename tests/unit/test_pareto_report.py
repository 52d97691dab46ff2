"""Memory, tasks, and the report, without a compiler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byoc.cli.pareto import parse_task
from byoc.errors import UsageError
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import freeze, thaw
from byoc.pareto.memory import Memory, at_context, cache_bytes, eager_baseline, tiled_baseline
from byoc.pareto.report import Report, heat_map, parse_bytes, recommend
from byoc.pareto.tasks.exact_match import matches
from byoc.pareto.tasks.long_qa import f1
from byoc.pareto.tasks.needle import Needle
from byoc.pareto.tasks.task import Subject, fitted, read_tokens
from tests.unit.pareto_samples import CONFIG


def test_baselines_differ_by_the_scores_of_one_layer() -> None:
    eager, tiled = eager_baseline(CONFIG, 128), tiled_baseline(CONFIG, 128)
    assert eager.total - tiled.total == eager.scores == 2 * 4 * 128 * 128
    settings = Configuration("k4v4:g16", "f32", 8).settings(CONFIG, 128)
    assert cache_bytes(CONFIG, settings, 128) == 4 * 2 * 2 * 128 * (8 + 2 + 2)


def test_a_longer_context_grows_the_cache_and_not_what_a_chunk_takes() -> None:
    measured, chunked = Memory(1000, 1, 500), Configuration("k4v4:g16", "f32", 8).settings(CONFIG, 128)
    found = at_context(measured, CONFIG, chunked, 128, 256)
    assert (found.weights, found.cache, found.activations) == (1000, cache_bytes(CONFIG, chunked, 256), 500)
    whole = Configuration("k4v4:g16", "f32", 0).settings(CONFIG, 128)
    assert at_context(measured, CONFIG, whole, 128, 256).activations == 1000


def test_options_survive_freezing() -> None:
    options = {"file": "x", "depths": [0, 50], "draw": {"K": [1, 2]}}
    assert thaw(freeze(options)) == options and hash(freeze(options))


def test_tasks_are_written_with_options_after_a_colon() -> None:
    assert parse_task("recall:file=a.npz,length=512") == ("recall", {"file": "a.npz", "length": 512})
    with pytest.raises(UsageError, match='"length" in "recall:length" gives no value'):
        parse_task("recall:length")


def test_a_needle_lies_at_its_depth_and_the_first_items_see_every_cell() -> None:
    options = {
        "filler": [20, 29], "draw": {"K": [5, 5], "V": [6, 6]}, "needle": [2, "K", "V"], "question": [4, "K"],
        "answer": ["V"], "lengths": [16, 32], "depths": [0, 100], "repeats": 2,
    }  # fmt: skip
    task = Needle(options, Subject(None, 32))
    assert len(task) == 8 and len(set(task.cells[:4])) == 4
    index = task.cells.index(("16 tokens", "0% deep"))
    tokens, answer = task._items[index]
    assert (tokens[:3], tokens[-3:], answer, len(tokens)) == ([2, 5, 6], [4, 5, 6], [6], 16)


def test_a_model_without_a_tokenizer_reads_token_ids(tmp_path: Path) -> None:
    subject = Subject(None, 32)
    np.save(tmp_path / "ids.npy", np.array([3, 1, 4], np.int16))
    assert read_tokens(tmp_path / "ids.npy", subject) == [3, 1, 4]
    np.save(tmp_path / "floats.npy", np.zeros((2, 2)))
    with pytest.raises(UsageError, match=r"holds float64\[2, 2\]"):
        read_tokens(tmp_path / "floats.npy", subject)
    (tmp_path / "text.npy").write_text("text")
    with pytest.raises(UsageError, match="cannot be read"):
        read_tokens(tmp_path / "text.npy", subject)


def test_answers_are_compared_as_gsm8k_and_longbench_do() -> None:
    assert matches(" 6 times 7 is 42.", "42") and matches("it is 1,000", "1000") and not matches("none", "42")
    assert matches(" Paris\nQuestion: more", "Paris") and not matches("", "Paris")
    assert f1("The cat sat.", "a cat") == pytest.approx(2 / 3) and f1("dog", "cat") == 0
    assert fitted([1, 2, 3, 4, 5, 6], 4) == [1, 2, 5, 6]


def test_a_heat_map_is_in_the_order_of_numbers() -> None:
    cells = [("1024 tokens", "50% deep"), ("512 tokens", "50% deep"), ("1024 tokens", "50% deep")]
    assert heat_map(cells, [(1, 2), (2, 2), (2, 2)]) == [
        {"row": "512 tokens", "column": "50% deep", "score": 1.0},
        {"row": "1024 tokens", "column": "50% deep", "score": 0.75},
    ]


def sample_report() -> Report:
    def row(kv: str, total: int, loss: float, front: bool) -> dict[str, Any]:
        interval = {"value": loss, "low": loss - 1, "high": loss + 1}
        memory = {"weights": total, "cache": 0, "activations": 0, "scores": 0, "total": total}
        return {
            "kv": kv, "weights": "rtn4:g32", "chunk": 256, "frontier": front, "instead": None if front else "k4v4",
            "memory": memory, "loss": interval, "scores": {"needle": {"value": 0.9, "low": 0.8, "high": 1.0}},
            "maps": {"needle": [{"row": "512 tokens", "column": "0% deep", "score": 0.5}]}, "part": 1.0,
        }  # fmt: skip

    rows = [row("k2v2", 2**20, 40, True), row("k4v4", 2 * 2**20, 1, True), row("k8v8", 3 * 2**20, 1, False)]
    base = {"weights": 8 * 2**20, "cache": 0, "activations": 0, "scores": 0, "total": 8 * 2**20}
    tasks = [{"name": "needle", "items": 8, "higher": True, "options": {}}]
    layers = [{"low": "k2v2", "keep": "k8v8", "losses": [{"value": 3.0, "low": 1.0, "high": 5.0}]}]
    reference = {"kv": "k16v16", "weights": "f32", "chunk": 256}
    loss = {"value": -39.0, "low": -41.0, "high": -37.0}
    bits = {"axis": "bits", "value": "k4v4", "than": "k2v2", "pairs": 1, "loss": loss, "cache": 0, "memory": 2**20}
    baselines = {"eager": base, "tiled": base}
    return Report("</script><b>tiny", 512, reference, tasks, rows, baselines, [], layers, [], [bits])


def test_the_budget_buys_the_least_loss_that_fits() -> None:
    assert recommend(sample_report(), parse_bytes("2MiB"))["kv"] == "k4v4"
    assert recommend(sample_report(), parse_bytes("2MB"))["kv"] == "k2v2"
    with pytest.raises(UsageError, match=r"fits in 512 KiB\n.*smallest on the frontier takes 1 MiB"):
        recommend(sample_report(), parse_bytes("512KiB"))


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "nan", "12XB"])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no number of bytes"):
        parse_bytes(text)


def test_a_report_survives_its_file_and_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(sample_report().to_json())
    assert Report.read(path) == sample_report()
    path.write_text(json.dumps({"pareto": 99}))
    with pytest.raises(UsageError, match="is no report of byoc pareto"):
        Report.read(path)


def test_the_table_has_one_line_for_each_configuration() -> None:
    lines = sample_report().to_csv().splitlines()
    assert len(lines) == 4 and lines[2].startswith("k4v4,rtn4:g32,256,1,2097152,")
