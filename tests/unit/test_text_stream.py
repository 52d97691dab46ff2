"""Text that comes token by token."""

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from byoc.errors import ArtifactError
from byoc.llm.tokenizer import TextStream, Tokenizer
from tests.language_models import byte_tokenizer

BYTES = Tokenizer(byte_tokenizer())


def streamed(text, stop=()):
    stream = TextStream(BYTES, stop)
    parts = []
    for token in BYTES.encode(text):
        if not stream.stopped:
            parts.append(stream.feed(token))
    parts.append(stream.finish())
    assert "".join(parts) == stream.text
    return parts, stream.stopped


def test_the_tokenizer_maps_bytes_to_their_ids():
    assert BYTES.encode("aé") == [97, 0xC3, 0xA9]
    assert BYTES.decode([97, 0xC3, 0xA9]) == "aé"


def test_an_incomplete_character_waits_for_its_last_byte():
    assert streamed("é!")[0] == ["", "é", "!", ""]


def test_a_stop_text_ends_the_stream_and_is_not_shown():
    assert streamed("one.two", ["."]) == (["o", "n", "e", "", ""], True)


def test_the_beginning_of_a_stop_text_is_held_back_until_it_is_none():
    assert streamed("a<b<e>", ["<e>"]) == (["a", "", "<b", "", "", "", ""], True)


def test_what_is_held_back_comes_at_the_end():
    assert streamed("a<e", ["<e>"]) == (["a", "", "", "<e"], False)


@given(st.text(max_size=120))
def test_all_text_comes_out(text):
    parts, _ = streamed(text)
    assert "".join(parts) == text


@given(st.text("ab", max_size=60), st.text("ab", min_size=1, max_size=4))
def test_text_ends_before_the_first_stop(text, stop):
    parts, stopped = streamed(text, [stop])
    assert "".join(parts) == text.split(stop)[0]
    assert stopped == (stop in text)


def test_a_word_pieces_tokenizer_keeps_spaces_between_words():
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"one": 0, "two": 1}, unk_token="one"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    stream = TextStream(Tokenizer(made.to_str().encode()))
    for token in [0, 1] * 40:
        stream.feed(token)
    stream.finish()
    assert stream.text == " ".join(["one two"] * 40)


def test_a_damaged_tokenizer_is_refused():
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be used"):
        Tokenizer(b"{}")
