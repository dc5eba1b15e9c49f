"""What other people wrote never steers a terminal, whatever the service answers."""

import io
import json
import unicodedata
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from guix_build_service.commands.access import Access
from guix_build_service.commands.call import Call, Command
from guix_build_service.commands.client import Client
from guix_build_service.commands.event_stream import Event, events
from guix_build_service.commands.hub import Hub, NewToken, Token
from guix_build_service.commands.outcomes import AnswerNotUnderstood
from guix_build_service.commands.program import make_parser
from guix_build_service.commands.terminal import BuildProgress, Output, amount, short, shown, table
from guix_build_service.model.environments import BuildState
from guix_build_service.web.schemas.builds import BuildAnswer, LogEvent
from guix_build_service.web.schemas.environments import EnvironmentAnswer, ResolvedAnswer
from guix_build_service.web.schemas.retention import RetentionAnswer
from guix_build_service.web.schemas.service import CallerAnswer
from guix_build_service.web.schemas.sessions import SessionAnswer
from guix_build_service.web.schemas.versions import ExportAnswer, VersionAnswer

EVIL = "name\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202e\u2066\x7f\x00\u200b"

_Answer = TypeVar("_Answer", bound=BaseModel)


def evil(kind: type[_Answer], **fixed: object) -> _Answer:
    """Return an answer of KIND with control characters wherever it has text, but for what is FIXED."""
    schema = kind.model_json_schema()
    value = filled(schema, schema.get("$defs", {}))
    assert isinstance(value, dict)
    return kind.model_validate_json(json.dumps({**value, **fixed}))


def filled(schema: Mapping[str, Any], known: Mapping[str, Any]) -> object:
    """Return a value that SCHEMA allows, with `EVIL` for text."""
    if "$ref" in schema:
        return filled(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], known)
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "string":
            return "2026-01-01T00:00:00Z" if schema.get("format") == "date-time" else EVIL
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "array":
            return [filled(schema["items"], known)]
        case "object" if "properties" in schema:
            return {name: filled(each, known) for name, each in schema["properties"].items()}
        case "object":
            return {"code": EVIL, "message": EVIL, "hint": EVIL}
    raise AssertionError(schema)


class EvilClient(Client):
    """A service that answers with control characters wherever there is text."""

    def __init__(self) -> None:
        """Need no connection."""

    def caller(self) -> CallerAnswer:
        return evil(CallerAnswer)

    def environments(self, **wanted: str) -> Iterator[EnvironmentAnswer]:
        place = {"repo": "https://git.example/a", "ref": "", "subdir": ""} if "owner" in wanted else {}
        yield evil(EnvironmentAnswer, name="evil", state="failed", visibility="groups", **place)

    def versions(self, environment: str) -> tuple[VersionAnswer, ...]:
        del environment
        return (evil(VersionAnswer),)

    def environment(self, environment: str) -> EnvironmentAnswer:
        del environment
        return next(self.environments())

    def add(self, request: object) -> EnvironmentAnswer:
        del request
        return self.environment("")

    def build(self, environment: str, *, force: bool = False, version: str | None = None) -> EnvironmentAnswer:
        del force, version
        return self.environment(environment).model_copy(update={"build": built(BuildState.BUILDING)})

    def change(self, environment: str, changes: object) -> EnvironmentAnswer:
        del changes
        return self.environment(environment)

    def delete(self, environment: str) -> None:
        del environment

    def rollback(self, environment: str, version: str | None) -> EnvironmentAnswer:
        del version
        return self.environment(environment)

    def resolve(self, repository: str, ref: str) -> ResolvedAnswer:
        del repository, ref
        return evil(ResolvedAnswer)

    def cancel(self, build: str) -> BuildAnswer:
        del build
        return built(BuildState.CANCELLED)

    def log(self, build: str) -> Iterator[bytes]:
        del build
        for byte in (EVIL.encode() + b"\xff\xed\xa0\x80\n") * 2:
            yield bytes([byte])

    def session_log(self, name: str) -> Iterator[bytes]:
        return self.log(name)

    def follow(self, build: str) -> Iterator[LogEvent | BuildAnswer]:
        del build
        yield built(BuildState.BUILDING)
        yield LogEvent(text=f"{EVIL}\n{EVIL}")
        yield built(BuildState.FAILED)

    def sessions(self) -> tuple[SessionAnswer, ...]:
        return (evil(SessionAnswer),)

    def start_session(self, request: object) -> SessionAnswer:
        del request
        return self.sessions()[0]

    def stop_session(self, name: str) -> bool:
        del name
        return True

    def pin(self, environment: str, version: str, *, pinned: bool) -> VersionAnswer:
        del environment, version, pinned
        return evil(VersionAnswer)

    def export(self, environment: str, version: str) -> ExportAnswer:
        del environment, version
        return evil(ExportAnswer)

    def retention(self, rules: object) -> RetentionAnswer:
        del rules
        return evil(RetentionAnswer, kept={})

    def let_go(self, rules: object) -> RetentionAnswer:
        return self.retention(rules)


class EvilHub(Hub):
    """A hub that does likewise."""

    def caller(self) -> str:
        return EVIL

    def tokens(self, user: str) -> tuple[Token, ...]:
        del user
        return (Token(id=EVIL, note=EVIL, scopes=(EVIL,)),)

    def create(self, user: str, note: str, scopes: tuple[str, ...], seconds: int | None) -> NewToken:
        del user, note, scopes, seconds
        return NewToken(id=EVIL, note=EVIL, token=EVIL)

    def revoke(self, user: str, token: str) -> None:
        del user, token


HUB = EvilHub(Access("https://hub.example/services/guix/", "token"))


def built(state: BuildState, done: int = 1, total: int = 2, phase: str = EVIL, position: int | None = None) -> BuildAnswer:
    progress = {"phase": phase, "done": done, "total": total}
    return evil(BuildAnswer, state=state.value, progress=progress, position=position, expected_seconds=150)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ["list"], ["show", "evil"], ["add", "https://git.example/a"], ["add", "https://git.example/a", "--wait"],
        ["build", "evil"], ["build", "evil", "--wait"], ["delete", "evil", "--yes"], ["rollback", "evil"],
        ["resolve", "https://git.example/a"], ["log", "evil"], ["log", "evil", "-f"], ["cancel", "evil"],
        ["sessions", "list"], ["import", "GALLERY"], ["import", "GALLERY", "--wait"], ["import", "GALLERY", "--dry-run"],
         ["sessions", "start", "evil"], ["sessions", "stop", EVIL], ["sessions", "log", EVIL],
        ["gc", "--dry-run"], ["gc", "--yes"], ["pin", "evil"], ["export", "evil", "--into", "FOLDER"],
        ["tokens", "list"], ["tokens", "create"], ["tokens", "revoke", EVIL],
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_control_character_is_printed(words: list[str], as_json: bool, tmp_path: Path) -> None:
    results, notes = io.StringIO(), io.StringIO()
    gallery = tmp_path / "gallery.yaml"
    gallery.write_text('environments: [{repo: "https://git.example/a", name: a name, groups: [lab]}]')
    places = {"GALLERY": str(gallery), "FOLDER": str(tmp_path / "into")}
    words = [places.get(word, word) for word in words]
    options: Namespace = make_parser().parse_args([*words, *(["--json"] if as_json else [])])
    run: Command = options.run
    run(
        Call(
            options, EvilClient(), HUB, Output(results, notes, as_json), lambda _: True, lambda: False, lambda _: "a secret"
        )
    )
    printed = results.getvalue() + notes.getvalue()
    assert "name" in printed
    assert {each for each in printed if unicodedata.category(each)[0] == "C"} <= {"\n", "\t"}


def test_text_of_every_script_is_shown_as_it_is() -> None:
    for text in ("Größe", "解析", "تحليل", "анализ", "e\u0301"):
        assert shown(text) == text
    assert table(("A", "B"), [("解析", "x"), ("ab", "y")]).splitlines() == ["A     B", "解析  x", "ab    y"]
    assert short("x" * 100, 10) == "x" * 9 + "…"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    screen = Screen()
    bar = BuildProgress(screen)
    bar.show(built(BuildState.QUEUED, 0, 0, ""))
    bar.show(built(BuildState.BUILDING, 30, 120, f"Downloading {EVIL}" + "x" * 100))
    Output(io.StringIO(), screen).note("The connection\twas lost.")
    bar.end()
    *drawn, note, end = screen.getvalue().split("\x1b[K")
    assert drawn[:2] == ["", "queued\r"]
    assert drawn[2].startswith("building [#####...............] 30 of 120 Downloading ")
    assert len(drawn[2].rstrip()) < 60
    assert (note, end) == ("The connection\twas lost.\n", "")
    assert not {each for part in drawn for each in part.removesuffix("\r") if not each.isprintable()}


def test_elsewhere_each_state_and_each_tenth_is_a_line() -> None:
    stream = io.StringIO()
    bar = BuildProgress(stream)
    bar.show(built(BuildState.QUEUED, 0, 0, ""))
    for position in (7, 7, 6):
        bar.show(built(BuildState.QUEUED, 0, 0, "", position))
    for done in range(101):
        bar.show(built(BuildState.BUILDING, done, 100))
    bar.show(built(BuildState.READY, 100, 100))
    bar.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 15
    assert (lines[0], lines[-1]) == ("queued", "ready")
    assert lines[1] == "queued, number 7 of those that wait, in about 2 min"


def test_downloads_are_told_in_bytes_and_a_large_one_of_each_tenth() -> None:
    stream = io.StringIO()
    bar = BuildProgress(stream)
    for came in range(0, 64 << 20, 1 << 20):
        progress = {"phase": "Downloading zoo", "done": 1, "total": 3, "bytes_done": came, "bytes_total": 64 << 20}
        bar.show(evil(BuildAnswer, state="building", progress=progress, position=None))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[1] == "building [######..............] 1 of 3, 7.0 MiB of 64.0 MiB Downloading zoo"


@pytest.mark.parametrize(("text", "bytes_"), [("1", 1), ("4G", 4 << 30), ("512m", 512 << 20), ("1.5K", 1536)])
def test_amounts_of_memory_are_those_of_the_hub(text: str, bytes_: int) -> None:
    assert amount(text) == bytes_


@pytest.mark.parametrize("text", ["", "G", "-1", "1e9", "4GB", "1 2", "9" * 400])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of bytes"):
        amount(text)


STREAM = 'retry: 1\n\n: hello\nid: 1\nevent: log\ndata: {"a"\ndata: :1}\n\nid: 2;end\r\ndata:é\r\n\r\ndata: half'.encode()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_stream_is_the_same_however_it_is_cut(step: int) -> None:
    pieces = [STREAM[start : start + step] for start in range(0, len(STREAM), step)]
    assert list(events(pieces)) == [Event("1", "log", '{"a"\n:1}'), Event("2;end", "message", "é")]


def test_a_stream_without_an_end_of_line_or_event_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.commands.event_stream.LARGEST_EVENT", 1000)
    for piece in (b"x" * 100, b"data: x\n" * 100):
        with pytest.raises(AnswerNotUnderstood, match="without an end"):
            list(events(piece for _ in range(1000)))
