"""How a cache's format is written, and what is told of a text that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byoc.errors import UsageError
from byoc.llm.kv_spec import BITS, GRANULARITIES, KEY_TRANSFORMS, CacheFormat, KVSpec, check_fits
from byoc.llm.settings import Settings, parse_kv

FORMATS = st.builds(
    CacheFormat, st.sampled_from(BITS), st.sampled_from(GRANULARITIES), st.integers(0, 512), st.booleans()
)
SPECS = st.builds(KVSpec, FORMATS, FORMATS, st.sampled_from(KEY_TRANSFORMS))


@given(SPECS)
def test_a_format_is_read_as_it_is_written(spec: KVSpec) -> None:
    assert KVSpec.parse(str(spec)) == spec


@given(st.lists(SPECS, min_size=2, max_size=6))
def test_formats_of_layers_are_read_as_they_are_written(specs: list[KVSpec]) -> None:
    settings = Settings(kv=parse_kv(Settings(kv=tuple(specs)).kv_text, len(specs)))
    assert [settings.kv_of(i) for i in range(len(specs))] == specs


@pytest.mark.parametrize("text", ["k4v4:k.g8:g64", "k4v4:g64:k.g8"])
def test_an_option_of_one_side_holds_wherever_it_stands(text: str) -> None:
    spec = KVSpec.parse(text)
    assert (spec.keys.group, spec.values.group) == (8, 64)


@pytest.mark.parametrize("text", ["", "k4", "v4k4", "4", "K4V4", "k4v4v4", "k٤v4", "k-4v4"])
def test_a_text_without_bits_is_no_format(text: str) -> None:
    with pytest.raises(UsageError, match="is no cache specification"):
        KVSpec.parse(text)


@pytest.mark.parametrize(
    "option", ["", "g", "g-1", "G32", "g٣٢", "k.", ".g32", "q.g32", "k.mean", "v.hadamard", "int8"]
)
def test_an_option_that_does_not_exist_is_named(option: str) -> None:
    with pytest.raises(UsageError, match="is unknown") as caught:
        KVSpec.parse(f"k4v4:{option}")
    assert f'the option "{option}"' in caught.value.what


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("g32:g64", "the group is g32"),
        ("v.g8:v.g16", "the group is g8"),
        ("mean:hadamard", "the key transform is mean"),
        ("per-token:per-channel", "the granularity is per-token"),
        ("symmetric:asymmetric", "the symmetry is symmetric"),
    ],
)
def test_an_option_that_contradicts_another_is_not_dropped_unseen(options: str, why: str) -> None:
    with pytest.raises(UsageError, match="is one option too many") as caught:
        KVSpec.parse(f"k4v4:{options}")
    assert caught.value.why == why


@pytest.mark.parametrize("where", ["", "8", "-1", "7-0", "0-99999999999", "0,1,", "a", "0--1", "1.5", "٣", "9" * 5000])
def test_an_exception_for_layers_that_the_model_does_not_have_is_told(where: str) -> None:
    with pytest.raises(UsageError, match=r"names no layers of the model\n  why: its layers are 0 to 7"):
        parse_kv(f"k4v4;{where}=k8v8", 8)


@pytest.mark.parametrize("text", ["k8v8:per-channel:g2048", "k16v4:v.per-block:g99999999999"])
def test_more_tokens_than_may_wait_for_their_group_are_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be kept in groups of \d+ tokens"):
        check_fits(KVSpec.parse(text), 64)
    check_fits(KVSpec.parse("k8v8:per-channel:g1024"), 64)
