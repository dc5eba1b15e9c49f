"""What hub and launcher say to each other arrives as it was said."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guix_environment.launcher import messages


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_words_arrive_as_they_were_sent(words: list[bytes]) -> None:
    assert messages.split(messages.join(words)) == words
    assert messages.receive(io.BytesIO(messages.message(*words)).read) == words


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5), st.data())
def test_a_message_that_is_cut_off_is_none(words: list[bytes], data: st.DataObject) -> None:
    whole = messages.message(*words)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert messages.receive(io.BytesIO(cut).read) is None


@given(st.binary(max_size=200))
def test_what_is_no_message_is_refused_or_understood(joined: bytes) -> None:
    try:
        words = messages.split(joined)
    except ValueError:
        return
    assert messages.join(words) == joined


def test_a_message_of_absurd_length_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        messages.receive(io.BytesIO(b"\xff\xff\xff\xff").read)
