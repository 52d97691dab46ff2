"""Tasks of lm-eval on an artifact, from a data set that lies here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from byoc.cli import main
from tests.language_models import byte_tokenizer, make_folder, reference_logits

lm_eval = pytest.importorskip("lm_eval", reason='needs the harness: pip install -e ".[eval]"')

CHOICES = [
    {"question": "a cat is a", "choices": [" kind of animal", " sort of stone"], "answer": 0},
    {"question": "the sea is", "choices": [" dry", " wet"], "answer": 1},
    {"question": "two and two", "choices": [" are four", " are nine", " are red"], "answer": 0},
]


@pytest.fixture(scope="module")
def tensors_and_artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tensors = make_folder(folder, vocab_size=256, eos_token_id=None)
    (folder / "tokenizer.json").write_bytes(byte_tokenizer())
    path = folder.parent / "tiny.byoc"
    assert main(["compile", str(folder), "-t", "csource", "--kv", "k32v32", "--chunk", "16", "-o", str(path)]) == 0
    return tensors, path


def log_probability(tensors: dict, context: str, continuation: str) -> float:
    ids = list((context + continuation).encode())
    logits = reference_logits(tensors, ids)[:-1]
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return float(sum(logs[i - 1, ids[i]] for i in range(len(context), len(ids))))


def test_a_multiple_choice_task_has_the_accuracy_of_the_reference(
    tensors_and_artifact: tuple[dict, Path], tmp_path: Path
) -> None:
    from byoc.llm.lm_eval import ArtifactLM

    tensors, artifact = tensors_and_artifact
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CHOICES))
    task = {
        "task": "local_choices", "dataset_path": "json", "output_type": "multiple_choice", "test_split": "train",
        "dataset_kwargs": {"data_files": {"train": str(tmp_path / "rows.jsonl")}, "cache_dir": str(tmp_path / "cache")},
        "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}",
        "target_delimiter": "", "metric_list": [{"metric": "acc"}],
    }  # fmt: skip
    found = lm_eval.simple_evaluate(model=ArtifactLM(artifact), tasks=[task], bootstrap_iters=0)
    right = [
        int(np.argmax([log_probability(tensors, row["question"], c) for c in row["choices"]]) == row["answer"])
        for row in CHOICES
    ]
    assert found["results"]["local_choices"]["acc,none"] == pytest.approx(np.mean(right))


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of the choices above, and a second one that rolls over their questions, in files of their own."""
    folder = tmp_path_factory.mktemp("task")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CHOICES))
    data = {"data_files": {"train": str(folder / "rows.jsonl")}, "cache_dir": str(folder / "cache")}
    common = {"dataset_path": "json", "test_split": "train", "dataset_kwargs": data}
    choices = {
        "task": "local_choices", "output_type": "multiple_choice", "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}", "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}, {"metric": "f1"}],
    }  # fmt: skip
    rolling = {
        "task": "local_rolling", "output_type": "loglikelihood_rolling", "doc_to_text": "",
        "doc_to_target": "{{question}}", "metric_list": [{"metric": "byte_perplexity"}],
    }  # fmt: skip
    for name, task in (("choices.yaml", choices), ("rolling.yaml", rolling)):
        (folder / name).write_text(json.dumps({**common, **task}))  # JSON is YAML
    return folder / "choices.yaml"


def test_a_search_asks_a_task_of_lm_eval_document_by_document(
    tensors_and_artifact: tuple[dict, Path], task_file: Path
) -> None:
    from byoc.llm import load
    from byoc.pareto.tasks import make_task
    from byoc.pareto.tasks.task import Subject

    tensors, artifact = tensors_and_artifact
    session, subject = load(artifact), Subject(None, 32)
    task = make_task("lm-eval", {"file": str(task_file)}, subject)
    right = [
        float(np.argmax([log_probability(tensors, row["question"], c) for c in row["choices"]]) == row["answer"])
        for row in CHOICES
    ]
    found = [task.run(session, i) for i in range(len(task))]
    assert sorted(found) == sorted((r, 1.0) for r in right) and task.higher

    rolling = make_task("lm-eval", {"file": str(task_file.with_name("rolling.yaml"))}, subject)
    totals, weights = np.transpose([rolling.run(session, i) for i in range(len(rolling))])
    questions = [row["question"] for row in CHOICES]
    np.testing.assert_allclose(
        sorted(totals), sorted(-log_probability(tensors, "\x01", q) for q in questions), rtol=1e-3
    )
    assert sorted(weights) == sorted(len(q) for q in questions)
    assert not rolling.higher and rolling.score(2.0) == pytest.approx(np.exp(2.0))
    assert len(make_task("lm-eval", {"file": str(task_file), "items": 2}, subject)) == 2


def test_what_lm_eval_cannot_ask_is_told(task_file: Path) -> None:
    from byoc.errors import UsageError
    from byoc.pareto.tasks import make_task
    from byoc.pareto.tasks.task import Subject

    subject = Subject(None, 32)
    with pytest.raises(UsageError, match=r'lm-eval cannot load the task "no such\.yaml"'):
        make_task("lm-eval", {"file": "no such.yaml"}, subject)
    with pytest.raises(UsageError, match=r'not scored by "f1" document by document\n.*its metrics that are: acc'):
        make_task("lm-eval", {"file": str(task_file), "metric": "f1"}, subject)


def test_log_likelihoods_are_those_of_the_reference_and_long_texts_roll(
    tensors_and_artifact: tuple[dict, Path],
) -> None:
    from lm_eval.api.instance import Instance

    from byoc.llm.lm_eval import ArtifactLM

    tensors, artifact = tensors_and_artifact
    model = ArtifactLM(artifact)
    ask = Instance("loglikelihood", {}, ("a cat", " is here"), 0)
    ((found, _),) = model.loglikelihood([ask])
    assert found == pytest.approx(log_probability(tensors, "a cat", " is here"), rel=1e-3)
    short, long = ("x" * n for n in (10, 200))
    rolled = model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (t,), 0) for t in (short, long)])
    assert rolled[0] == pytest.approx(log_probability(tensors, "\x01", short), rel=1e-3)
    assert rolled[1] < rolled[0]


def test_generation_stops_where_the_task_says(tensors_and_artifact: tuple[dict, Path]) -> None:
    from lm_eval.api.instance import Instance

    from byoc.llm.lm_eval import ArtifactLM

    model = ArtifactLM(tensors_and_artifact[1])
    whole, cut = (
        model.generate_until([Instance("generate_until", {}, ("abc", {"until": until, "max_gen_toks": 12}), 0)])[0]
        for until in ([], ["\n"])
    )
    stop = whole[3:5]
    (stopped,) = model.generate_until(
        [Instance("generate_until", {}, ("abc", {"until": [stop], "max_gen_toks": 12}), 0)]
    )
    assert stopped == whole[: whole.index(stop)] and cut == whole.split("\n")[0]
