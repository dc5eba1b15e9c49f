"""Whatever is given to the reader is read or refused, and what was read is written so that it reads the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from guix_build_service.manifest.grammar import VOCABULARY
from tests.fuzz_manifests import TOKENS, fuzz, try_one


def test_changed_manifests_are_read_or_refused() -> None:
    """A few of those that ``python -m tests.fuzz_manifests`` reads a million of."""
    result = fuzz(1500, seed=1)
    assert result["texts"] == 1500
    assert result["read"]
    assert result["refused"]


_PARTS = st.recursive(
    st.sampled_from([*TOKENS, *VOCABULARY, '"r-zoo"', "car", "'(a . b)"]),
    lambda inner: st.lists(inner, max_size=5).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_PARTS, max_size=4))
def test_any_program_is_read_or_refused(parts: list[str]) -> None:
    try_one("\n".join(parts))
