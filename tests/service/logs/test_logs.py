"""Logs are kept whole and shown harmless, piece by piece without a cut."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guix_build_service.logs.build_logs import Logs, harmless
from guix_environment.identifiers import BuildId

BUILD = BuildId("babcdefghijk")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\x", "x"),
        ("\x1b]never closed", ""),
        ("10%\r50%\r100%\ndone\r\n", "100%\ndone\n"),
        ("bell\x07 null\x00 del\x7f c1\x9b31m", "bell null del c131m"),
        ("left\u202eright\u2066", "leftright"),
        ("é ≤ 你好", "é ≤ 你好"),
    ],
)
def test_control_sequences_do_nothing(text: str, shown: str) -> None:
    assert harmless(text) == shown


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    assert not any(character < " " and character not in "\n\t" for character in harmless(text))


def test_what_is_not_finished_is_given_line_by_line(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs")
    assert logs.read(BUILD).text == ""
    with logs.open(BUILD) as log:
        log.write("one")
        (tmp_path / "logs" / f"{BUILD}.log").open("ab").write(b"\rtw\xc3")
        piece = logs.read(BUILD, finished=False)
        assert piece.text == "one\n"
        assert logs.read(BUILD, piece.position, finished=False) == type(piece)(piece.position, "")
        (tmp_path / "logs" / f"{BUILD}.log").open("ab").write(b"\xa9\n")
        piece = logs.read(BUILD, piece.position, finished=False)
        assert piece.text == "twé\n"
    assert piece.position == logs.size(BUILD)
    assert logs.read(BUILD, 10_000).text == ""


def test_what_looks_like_a_secret_in_a_log_of_an_earlier_release_is_blanked_when_it_is_read(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.path(BUILD).write_text("fetched with ghp_abcdefghijkl0123456789\n")
    assert logs.read(BUILD).text == "fetched with [secret]\n"


def test_a_log_is_the_service_s_alone_and_no_link_is_followed(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    with logs.open(BUILD) as log:
        assert log.path.stat().st_mode & 0o007 == 0
    log.path.unlink()
    log.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        logs.open(BUILD)


_LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=30), max_size=30)


@settings(deadline=None)
@given(_LINES, st.integers(1, 50))
def test_pieces_put_together_are_the_whole(tmp_path_factory: pytest.TempPathFactory, lines: list[str], limit: int) -> None:
    logs = Logs(tmp_path_factory.mktemp("logs"))
    content = "".join(f"{line}\n" for line in lines)
    with logs.open(BUILD) as log:
        log.path.write_bytes(content.encode())
    position, bytes_seen = 0, b""
    while (piece := logs.read(BUILD, position, limit, finished=False)).position > position:
        bytes_seen += content.encode()[position : piece.position]
        position = piece.position
    assert bytes_seen == content.encode()


@pytest.mark.parametrize(
    ("text", "shown"), [("a\rb\rc\nd\r\n", "c\nd\n"), ("10%\r50%\r", "50%"), ("a\r\r\n", "\n"), ("\r", "")]
)
def test_only_the_last_of_what_overwrites_itself_is_shown(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_a_long_line_without_an_end_takes_no_longer_than_its_length() -> None:
    # With time that grows with the square of the length, this would not end before the tests' own limit.
    assert len(harmless("x" * 2**24)) == 2**24
