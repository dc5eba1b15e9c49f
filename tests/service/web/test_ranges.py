"""A range of a log is understood as HTTP has it."""

import pytest

from guix_build_service.web.refusals import RangeRefused
from guix_build_service.web.texts import wanted_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", range(100)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=90-200", range(90, 100)),
        ("bytes=-5", range(95, 100)),
        ("bytes=-500", range(100)),
        ("bytes= 1 - 2", range(1, 3)),
        ("", None),
        ("bytes=-", None),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=0-" + "9" * 40, None),
    ],
)
def test_ranges(header: str, expected: range | None) -> None:
    assert wanted_range(header, 100) == expected


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=0-", 0), ("bytes=-0", 100), ("bytes=-5", 0)])
def test_a_range_behind_the_end_is_refused(header: str, size: int) -> None:
    with pytest.raises(RangeRefused) as refused:
        wanted_range(header, size)
    assert refused.value.details["size"] == size
