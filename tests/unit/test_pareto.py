"""Search spaces, constraints, intervals, frontiers, the store and the tasks, without a compiler."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import byoc.pareto.search as search_module
from byoc.cli.pareto import parse_task
from byoc.errors import UsageError
from byoc.llm.config import ModelConfig
from byoc.llm.rope_scaling import Rope
from byoc.pareto.bootstrap import Bootstrap
from byoc.pareto.configuration import Configuration
from byoc.pareto.constraint import Constraint
from byoc.pareto.effects import effects, point_of
from byoc.pareto.evaluate import Job, Outcome, Study, freeze, thaw
from byoc.pareto.evolution import Evolution, evolve
from byoc.pareto.frontier import better_half, frontier, ranks
from byoc.pareto.memory import Memory, at_context, cache_bytes, eager_baseline, tiled_baseline
from byoc.pareto.report import Report, heat_map, parse_bytes, recommend
from byoc.pareto.search import Trials, halving
from byoc.pareto.space import NAMES, MixedPrecision, SearchSpace, read_space
from byoc.pareto.store import Store
from byoc.pareto.tasks.exact_match import matches
from byoc.pareto.tasks.long_qa import f1
from byoc.pareto.tasks.needle import Needle
from byoc.pareto.tasks.task import Accuracy, Subject, fitted, read_tokens

CONFIG = ModelConfig(
    architecture="LlamaForCausalLM", hidden=64, intermediate=96, layers=4, heads=4, kv_heads=2, head_dim=16,
    vocabulary=50, epsilon=1e-5, rope=Rope((1.0,) * 8, 1.0), tied=False, qkv_bias=False, output_bias=False,
    mlp_bias=False, qk_norm=False, windows=(0, 0, 0, 0), longest=128, begin=1, end=(2,),
)  # fmt: skip
A, B, C, D = (Configuration(kv, "f32", 8) for kv in ("k2v2", "k4v4", "k8v8", "k16v16"))


def test_constraints_compare_names_with_values() -> None:
    values = {"k_bits": 8, "v_bits": 4, "group": 32}
    names = tuple(values)
    assert Constraint("k_bits >= v_bits and group in [32, 64]", names).holds(values)
    assert not Constraint("not (k_bits == 8) or v_bits < 4", names).holds(values)


@pytest.mark.parametrize(
    ("text", "why"),
    [("k_bts > 2", 'there is no "k_bts"'), ("k_bits >", "invalid syntax"), ("__import__('os')", "Call is not allowed"),
     ("k_bits.real > 1", "Attribute is not allowed")],
)  # fmt: skip
def test_what_is_no_constraint_is_refused_and_never_run(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Constraint(text, NAMES)


def test_a_space_has_each_configuration_once_and_none_that_cannot_be() -> None:
    space = SearchSpace(bits=("k16v16", "k4v2", "k2v4"), group=(16, 32), key_transform=("none", "hadamard"))
    assert [str(c) for c in replace(space, weights=("f32", "rtn4:g48")).configurations(CONFIG)] == [
        "k16v16 f32 chunk 256",  # group and transform do not concern floats; 48 does not divide 64 inputs
        "k4v2:g16 f32 chunk 256",  # 32 does not divide a head of 16
        "k4v2:g16:hadamard f32 chunk 256",
    ]


@pytest.mark.parametrize(
    "space",
    [
        SearchSpace(granularity=("per-token", "per-tensor")),
        SearchSpace(weights=("f16", "awq4:g32")),
        SearchSpace(mixed=(MixedPrecision("k4v4:per-tensor", "k8v8:g16"),)),
    ],
)
def test_what_needs_a_calibration_text_is_refused_without_one(space: SearchSpace) -> None:
    with pytest.raises(UsageError, match="cannot be searched without a calibration text"):
        space.check_calibration(False)
    space.check_calibration(True)
    SearchSpace().check_calibration(False)


def test_a_cache_with_one_scale_has_no_groups_and_its_command_names_the_text() -> None:
    space = SearchSpace(
        bits=("k16v16", "k8v8"), group=(8, 16), granularity=("per-token", "per-tensor"), weights=("f16", "awq4:g32")
    )
    found = space.configurations(CONFIG)
    assert [str(c) for c in found] == [
        "k16v16 f16 chunk 256", "k16v16 awq4:g32 chunk 256",
        "k8v8:g8 f16 chunk 256", "k8v8:g8 awq4:g32 chunk 256",
        "k8v8:g16 f16 chunk 256", "k8v8:g16 awq4:g32 chunk 256",
        "k8v8:per-tensor f16 chunk 256", "k8v8:per-tensor awq4:g32 chunk 256",
    ]  # fmt: skip
    needing = [c for c in found if c.command("m", 64).endswith("--chunk 64 --calibrate FILE")]
    assert [str(c) for c in needing] == [str(c) for c in found if "awq" in str(c) or "per-tensor" in str(c)]


def test_mixed_precision_keeps_the_most_sensitive_layers() -> None:
    mixed = MixedPrecision("k2v2:g16", "k8v8:g16", (1, 2))
    space = SearchSpace(weights=("f32",), mixed=(mixed,))
    found = space.mixed_configurations(CONFIG, {mixed: [2, 0, 1, 3]})
    assert [c.kv for c in found] == ["k2v2:g16;2=k8v8:g16", "k2v2:g16;0,2=k8v8:g16"]


@pytest.mark.parametrize("name", ["space.toml", "space.yaml"])
def test_toml_and_yaml_say_the_same(tmp_path: Path, name: str) -> None:
    text = {
        "space.toml": (
            'bits = ["k4v4"]\ngroup = 16\n[[mixed]]\nlow = "k2v2"\nkeep = "k8v8"\n[tasks.recall]\nfile = "x"\n'
        ),
        "space.yaml": "bits: [k4v4]\ngroup: 16\nmixed: [{low: k2v2, keep: k8v8}]\ntasks: {recall: {file: x}}\n",
    }[name]
    (tmp_path / name).write_text(text)
    space, tasks = read_space(tmp_path / name)
    assert (space.bits, space.group, tasks) == (("k4v4",), (16,), {"recall": {"file": "x"}})
    assert space.mixed == (MixedPrecision("k2v2", "k8v8", (1, 2)),)


def test_an_unknown_entry_of_a_space_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("bitz = [4]\n")
    with pytest.raises(UsageError, match='has an unknown entry "bitz"'):
        read_space(tmp_path / "s.toml")


def outcome(configuration: Configuration, total: int, scores: Sequence[float]) -> Outcome:
    return Outcome(configuration, {"t": [(s, 1.0) for s in scores]}, Memory(total, 0, 0))


class Sixteen(Accuracy):
    def __len__(self) -> int:
        return 16

    def run(self, session: Any, index: int) -> tuple[float, float]:
        raise NotImplementedError


PERFECT = [1.0] * 16


def bootstrap() -> Bootstrap:
    return Bootstrap([("t", Sixteen())], {"t": [(s, 1.0) for s in PERFECT]})


def test_only_an_interval_that_excludes_zero_calls_a_configuration_better() -> None:
    one_miss = [0.0] + [1.0] * 15
    half = [0.0, 1.0] * 8
    made = frontier([outcome(A, 10, half), outcome(B, 20, one_miss), outcome(C, 30, PERFECT)], bootstrap())
    assert made == {A: None, B: None, C: B}  # one item of sixteen does not show that C is better than B


def test_what_takes_more_and_is_not_better_is_needless() -> None:
    made = frontier([outcome(A, 10, PERFECT), outcome(B, 20, PERFECT), outcome(C, 5, [0.0] * 16)], bootstrap())
    assert made == {C: None, A: None, B: A}


def test_an_effect_is_the_mean_over_what_differs_on_one_axis_alone() -> None:
    def made(kv: str, weights: str, cache: int, misses: int) -> Outcome:
        items = {"t": [(float(i >= misses), 1.0) for i in range(16)]}
        return Outcome(Configuration(kv, weights, 8), items, Memory(10, cache, 0))

    found = effects(
        [made("k4v4:g8", "f32", 4, 4), made("k4v4:g8:hadamard", "f32", 4, 0), made("k4v4:g8", "f16", 4, 8),
         made("k4v4:g8:hadamard", "f16", 4, 8), made("k2v2:g8", "f32", 2, 16), made("k2v2:g8;0=k8v8", "f32", 3, 2)],
        bootstrap(),
    )  # fmt: skip
    named = {(e.axis, e.than, e.value): e for e in found}
    assert list(named) == [
        ("bits", "k2v2", "k4v4"), ("key_transform", "hadamard", "none"), ("weights", "f16", "f32"),
    ]  # fmt: skip
    transform = named["key_transform", "hadamard", "none"]
    assert (transform.pairs, transform.loss.value, transform.memory) == (2, 12.5, 0.0) and transform.loss.low > 0
    bits = named["bits", "k2v2", "k4v4"]
    assert (bits.loss.value, bits.cache, bits.memory) == (-75.0, 2.0, 2.0)


def test_a_point_has_no_value_where_layers_or_sides_differ() -> None:
    assert point_of(Configuration("k4v4;0=k8v8", "f32", 8)) is None
    assert point_of(Configuration("k4v4:k.per-channel", "f32", 8)) is None
    assert point_of(Configuration("k16v4:v.g64", "f32", 0)) == {
        "bits": "k16v4", "granularity": "per-token", "group": 64, "key_transform": "none", "weights": "f32", "chunk": 0,
    }  # fmt: skip


def test_the_loss_of_perplexity_grows_with_it() -> None:
    class Likelihood(Sixteen):
        higher = False

        def score(self, ratio: float) -> float:
            return float(np.exp(ratio))

    pairs = [(1.0, 1.0)] * 16
    found = Bootstrap([("t", Likelihood())], {"t": pairs}).loss({"t": [(1.0 + np.log(1.1), 1.0)] * 16})
    assert (found.value, found.low, found.high) == pytest.approx((10.0, 10.0, 10.0))


@given(st.dictionaries(st.sampled_from([A, B, C, D]), st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_no_configuration_of_the_first_front_is_dominated(points: dict[Configuration, tuple[float, float]]) -> None:
    rank = ranks(points)
    for c, p in points.items():
        beaten = any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points.values())
        assert (rank[c] > 0) == beaten


def test_halving_keeps_the_whole_first_front() -> None:
    outcomes = [outcome(c, m, PERFECT) for c, m in ((A, 10), (B, 20), (C, 30), (D, 40))]
    losses = {A: 9.0, B: 5.0, C: 1.0, D: 8.0}
    assert better_half(outcomes, lambda o: losses[o.configuration]) == [A, B, C]


def test_a_stored_trial_is_found_again_and_grows(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", "study")
    store.add(outcome(A, 10, [1.0]))
    store.close()
    store = Store(tmp_path / "db", "study")
    store.add(replace(outcome(A, 10, [0.0]), first={"t": 1}))
    store.add(replace(outcome(A, 10, [0.0]), first={"t": 1}))  # as a second search on the same file finds it
    found = store.get(A)
    assert found is not None and found.items == {"t": [(1.0, 1.0), (0.0, 1.0)]} and found.memory == Memory(10, 0, 0)
    assert Store(tmp_path / "db", "another study").get(A) is None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a database, and long enough to be read as one" * 10)
    with pytest.raises(UsageError, match="cannot be used as a database"):
        Store(tmp_path / "db", "study")


class Made:
    """Workers that make outcomes up, and may stop in the middle."""

    def __init__(self, until: int = 10**9) -> None:
        self.until, self.ran = until, 0

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in reversed(jobs):  # the order of completion is not that of asking
            if self.ran == self.until:
                raise KeyboardInterrupt
            self.ran += 1
            first, end = job.items[0]
            bits = int(job.configuration.kv[1])
            scores = [float(i % 4 < bits // 2) for i in range(first, end)]
            items = {"t": [(s, 1.0) for s in scores]}
            yield Outcome(job.configuration, items, Memory(bits * 100, 0, 0), first={"t": first})


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(search_module, "tasks_of", lambda _: (Sixteen(),))
    return Study("model", (("t", ("map",)),), 128)


def trials_of(study: Study, path: Path, workers: Any) -> Trials:
    return Trials(study, Store(path, "study"), workers, lambda *_: None)


def test_an_interrupted_search_goes_on_where_it_stood_and_finds_the_same(study: Study, tmp_path: Path) -> None:
    parts = (0.25, 1.0)
    whole = halving(trials_of(study, tmp_path / "a", Made()), [A, B, C], bootstrap(), parts)
    with pytest.raises(KeyboardInterrupt):
        halving(trials_of(study, tmp_path / "b", Made(until=4)), [A, B, C], bootstrap(), parts)
    rest = Made()
    again = halving(trials_of(study, tmp_path / "b", rest), [A, B, C], bootstrap(), parts)
    assert again == whole and rest.ran == 2


def test_evolution_proposes_the_same_again_and_measures_nothing_twice(study: Study, tmp_path: Path) -> None:
    space = SearchSpace(bits=("k8v8", "k8v4", "k4v4", "k4v2", "k2v2"), group=(2, 4, 8, 16), weights=("f32", "rtn4:g32"))
    how = Evolution(trials=24, population=8)
    first = Made()
    found = evolve(space, CONFIG, trials_of(study, tmp_path / "a", first), bootstrap(), how, seed=3)
    with pytest.raises(KeyboardInterrupt):
        evolve(space, CONFIG, trials_of(study, tmp_path / "b", Made(until=5)), bootstrap(), how, seed=3)
    rest = Made()
    again = evolve(space, CONFIG, trials_of(study, tmp_path / "b", rest), bootstrap(), how, seed=3)
    assert again == found and len(found) == first.ran == rest.ran + 5
    assert evolve(space, CONFIG, trials_of(study, tmp_path / "c", Made()), bootstrap(), how, seed=4) != found


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
