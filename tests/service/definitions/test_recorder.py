"""What the store that is none takes, and that whatever else is asked of it ends the run."""

import asyncio
from collections.abc import Iterable

import pytest

from guix_build_service.definitions import archive, recorder
from guix_build_service.definitions.archive import File, Folder
from guix_build_service.definitions.recorder import AddedFiles, AddedText, Operation, Recorded, record
from guix_build_service.definitions.store_paths import base32, file_path, text_path, tree_path
from guix_environment.errors import DefinitionsRefused

DAEMONS = sorted({*range(36), 80, 81} - {7, 8})
"""The operations of the daemon, used or not, that there is no answer to."""


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def string(content: bytes) -> bytes:
    return number(len(content)) + content + bytes(-len(content) % 8)


def text(name: str, content: bytes, references: Iterable[str] = ()) -> bytes:
    listed = [string(reference.encode()) for reference in references]
    return number(Operation.ADD_TEXT) + string(name.encode()) + string(content) + number(len(listed)) + b"".join(listed)


def words(*content: bytes) -> bytes:
    return b"".join(string(word) for word in content)


def regular(content: bytes, *, executable: bool = False) -> bytes:
    mode = words(b"executable", b"") if executable else b""
    return words(b"(", b"type", b"regular") + mode + words(b"contents", content, b")")


def folder(entries: Iterable[tuple[str, bytes]]) -> bytes:
    inner = [words(b"entry", b"(", b"name", name.encode(), b"node") + node + words(b")") for name, node in entries]
    return words(b"(", b"type", b"directory") + b"".join(inner) + words(b")")


def files(name: str, node: bytes, *, whole: bool = True, algorithm: bytes = b"sha256") -> bytes:
    head = number(Operation.ADD_FILES) + string(name.encode()) + number(1) + number(int(whole)) + string(algorithm)
    return head + words(b"nix-archive-1") + node


ANSWER = number(Operation.ANSWER) + string(b"(packages)")


async def told(*messages: bytes) -> tuple[Recorded, str, bytes]:
    """Return what is recorded of MESSAGES, the last word, and what was answered."""
    reader = asyncio.StreamReader()
    for message in messages:
        reader.feed_data(message)
    reader.feed_eof()
    written = _Written()
    recorded, last = await record(reader, written)  # type: ignore[arg-type] # a writer that keeps what it is given
    return recorded, last, bytes(written.content)


class _Written:
    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, content: bytes) -> None:
        self.content += content

    async def drain(self) -> None:
        pass


def test_paths_are_those_of_the_daemon() -> None:
    # As the daemon of Guix 1.5.0 answered them to `add-text-to-store` and `add-to-store`.
    first = text_path("a-text", b"one", [])
    assert first == "/gnu/store/r8613j9nk940jrwa72iwcrka8wqcsnd1-a-text"
    assert text_path("b-text", b"two", [first]) == "/gnu/store/g2rb4wdygbg9g0fsj944jcn122wf1ng7-b-text"
    assert file_path("a-file", b"content") == "/gnu/store/ixscvhq0d0c1gmx9gyr250pq268vrk7w-a-file"
    executable = words(b"nix-archive-1") + regular(b"content", executable=True)
    assert tree_path("a-tree", executable) == "/gnu/store/7vb0qg8f3xqjr615yn7n3cj32qlzvkgb-a-tree"
    assert base32(bytes(range(20))) == "2c91240g1q6hq2qa1440f1h50h1h4080"


async def test_what_is_added_is_kept_in_order_and_answered_with_its_path() -> None:
    first = text_path("a-text", b"one", [])
    inner = folder([("a", regular(b"1", executable=True)), ("b", folder([("c", regular(b"22"))]))])
    recorded, last, answered = await told(
        text("a-text", b"one"),
        text("b-text", b"two", [first]),
        files("a-file", regular(b"content"), whole=False),
        files("a-folder", inner),
        ANSWER,
    )
    paths = list(recorded.items)
    assert last == "(packages)"
    assert answered == b"".join(number(0x616C7473) + string(path.encode()) for path in paths)
    assert paths[:3] == [first, text_path("b-text", b"two", [first]), file_path("a-file", b"content")]
    assert list(recorded.items.values()) == [
        AddedText("a-text", b"one", ()),
        AddedText("b-text", b"two", (first,)),
        AddedFiles("a-file", File(b"content"), whole=False),
        AddedFiles("a-folder", Folder({"a": File(b"1", executable=True), "b": Folder({"c": File(b"22")})}), whole=True),
    ]


@pytest.mark.parametrize("operation", DAEMONS)
async def test_nothing_else_of_the_daemon_is_there(operation: int) -> None:
    with pytest.raises(DefinitionsRefused) as caught:
        await told(number(operation), string(b"/gnu/store/anything"), ANSWER)
    assert caught.value.code == "definitions-refused"
    assert caught.value.details == {"operation": operation}


FOREIGN = "/gnu/store/r8613j9nk940jrwa72iwcrka8wqcsnd1-a-text"
SYMLINK = words(b"(", b"type", b"symlink", b"target", b"/etc/passwd", b")")


@pytest.mark.parametrize(
    "message",
    [
        text("b", b"two", [FOREIGN]),
        text("../b", b""),
        text("", b""),
        text("a b", b""),
        text("b", b"", ["/etc/passwd"]),
        number(8) + string(b"b") + number(1 << 40),
        number(8) + string(b"b") + string(b"x") + number(1 << 40),
        number(8) + string(b"\xff") + string(b"") + number(0),
        number(8) + number(1) + b"b" + b"padding",
        files("a", SYMLINK),
        files("a", folder([("x", SYMLINK)])),
        files("a", folder([("..", regular(b""))])),
        files("a", folder([("x/y", regular(b""))])),
        files("a", folder([("b", regular(b"")), ("a", regular(b""))])),
        files("a", folder([("a", regular(b"")), ("a", regular(b""))])),
        files("a", folder([]), whole=False),
        files("a", regular(b""), algorithm=b"md5"),
        files("../a", regular(b"")),
        files("a.drv", regular(b"Derive()")),
        files("a", words(b"(", b"type", b"device", b")")),
        number(7) + string(b"a") + number(1) + number(1) + string(b"sha256") + words(b"another-archive"),
    ],
)
async def test_what_guix_does_not_send_is_refused(message: bytes) -> None:
    with pytest.raises(DefinitionsRefused):
        await told(message, ANSWER)


async def test_items_and_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_ITEMS", 100)
    many = [text(f"text-{index}", b"") for index in range(101)]
    recorded, _, _ = await told(*many[:100], ANSWER)
    assert len(recorded.items) == 100
    with pytest.raises(DefinitionsRefused, match="more than 100 items"):
        await told(*many, ANSWER)
    with pytest.raises(DefinitionsRefused, match="too large"):
        await told(number(8) + string(b"large") + number(9 * 1024 * 1024), ANSWER)
    monkeypatch.setattr(recorder, "MOST_BYTES", 10_000)
    with pytest.raises(DefinitionsRefused, match="all of it together"):
        await told(*(text(f"text-{index}", bytes(1000)) for index in range(11)), ANSWER)


async def test_folders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = regular(b"")
    for _ in range(25):
        deep = folder([("a", deep)])
    with pytest.raises(DefinitionsRefused, match="too many files"):
        await told(files("a", deep), ANSWER)
    monkeypatch.setattr(archive, "_MOST_ENTRIES", 10)
    with pytest.raises(DefinitionsRefused, match="too many files"):
        await told(files("a", folder((f"{index:03}", regular(b"")) for index in range(11))), ANSWER)


async def test_a_program_that_ends_before_its_last_word_is_told_from_one_that_says_it() -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await told(text("a", b"one"))
