"""A store that is none: it answers what Guix adds to it, and keeps that as data; nothing of it reaches a daemon.

It speaks as much of the daemon's protocol (``guix/store.scm``) as Guix needs to say what it would build: adding texts, and
adding files.  Whatever else is asked ends the run: building, collecting garbage, looking into the store, keeping things from
the collector.  Paths are computed here from what came, so none can be forged.
"""

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum

from guix_build_service.definitions.archive import File, Tree, read_archive
from guix_build_service.definitions.store_paths import file_path, text_path, tree_path
from guix_build_service.definitions.wire import Wire, strange, too_much
from guix_environment.errors import DefinitionsRefused, InvalidInput
from guix_environment.identifiers import StorePath


class Operation(IntEnum):
    """What is answered (``worker-protocol.hh``)."""

    ADD_FILES = 7
    ADD_TEXT = 8
    ANSWER = 1000
    """None of the daemon's: by it our own program says what came of the manifest."""


MOST_ITEMS = 30_000
"""What python-numpy is made of, down to the first compiler, are some 1,000."""

MOST_BYTES = 128 * 1024 * 1024

_OTHERS = {
    **dict.fromkeys([9, 10], "to build something while it is run"),
    **dict.fromkeys([11, 12], "to keep something from the collector"),
    **dict.fromkeys([16, 27], "to carry items in or out"),
    **dict.fromkeys([34, 35], "to go through all of its items"),
    **dict.fromkeys([1, 3, 4, 5, 6, 14, 18, 22, 23, 24, 26, 28, 29, 30, 31, 32, 33], "to say what is in it"),
    19: "to build in another way",
    20: "to collect garbage",
    25: "to forget failed builds",
}
"""What the daemon's other operations do, by their numbers."""

_DONE = 0x616C7473
"""``STDERR_LAST``: what comes next is the result."""

_LONGEST_NAME = 250
_LARGEST_TEXT = 8 * 1024 * 1024
_LARGEST_ANSWER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AddedText:
    """A text, and what it refers to."""

    name: str
    content: bytes
    references: tuple[StorePath, ...]


@dataclass(frozen=True, slots=True)
class AddedFiles:
    """A file, or a folder with what is in it."""

    name: str
    tree: Tree
    whole: bool
    """Whether its mode is part of it, as of everything but a file that is added by its content alone."""


Added = AddedText | AddedFiles


@dataclass(slots=True)
class Recorded:
    """What was added, in order: whatever an item refers to stands before it."""

    items: dict[StorePath, Added] = field(default_factory=dict)


async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Recorded, str]:
    """Answer the program behind READER and WRITER until it says what came of the manifest; return what it added, and that.

    Raises `DefinitionsRefused`, and `asyncio.IncompleteReadError` where the program ends before.
    """
    wire, recorded = Wire(reader, MOST_BYTES), Recorded()
    while (operation := await wire.number()) != Operation.ANSWER:
        match operation:
            case Operation.ADD_FILES:
                path, added = await _files(wire)
            case Operation.ADD_TEXT:
                path, added = await _text(wire, recorded)
            case _:
                raise _refused(operation)
        recorded.items[path] = added
        if len(recorded.items) > MOST_ITEMS:
            raise too_much(f"there are more than {MOST_ITEMS} items")
        writer.write(_number(_DONE) + _string(path))
        await writer.drain()
    return recorded, await wire.text(_LARGEST_ANSWER)


async def _text(wire: Wire, recorded: Recorded) -> tuple[StorePath, Added]:
    name = await wire.text(_LONGEST_NAME)
    content = await wire.string(_LARGEST_TEXT)
    count = await wire.number()
    if count > len(recorded.items):
        raise strange()
    try:
        references = tuple([StorePath(await wire.text(_LONGEST_NAME)) for _ in range(count)])
        path = text_path(name, content, references)
    except InvalidInput:
        raise strange() from None
    foreign = [reference for reference in references if reference not in recorded.items]
    if foreign:
        raise foreign_item(foreign[0])
    return path, AddedText(name, content, references)


async def _files(wire: Wire) -> tuple[StorePath, Added]:
    name = await wire.text(_LONGEST_NAME)
    await wire.number()
    whole = bool(await wire.number())
    algorithm = await wire.string(_LONGEST_NAME)
    tree, archive = await read_archive(wire)
    if algorithm != b"sha256" or not (whole or isinstance(tree, File)) or name.endswith(".drv"):
        raise strange()
    try:
        # Hashing megabytes holds up others.
        path = await asyncio.to_thread(tree_path, name, archive) if whole else file_path(name, _content(tree))
    except InvalidInput:
        raise strange() from None
    return path, AddedFiles(name, tree, whole)


def _content(tree: Tree) -> bytes:
    return tree.content if isinstance(tree, File) else b""


def _refused(operation: int) -> DefinitionsRefused:
    what = _OTHERS.get(operation, "what Guix itself never asks for")
    return DefinitionsRefused(
        f"The manifest wants Guix's store {what}, which no manifest may.",
        hint="Define packages by what they are built of; what needs something built before, or from the network, cannot be.",
        details={"operation": operation},
    )


def foreign_item(path: StorePath) -> DefinitionsRefused:
    """Return the error for PATH, an item of the store that neither Guix nor the manifest made here."""
    return DefinitionsRefused(
        f"The packages that the manifest makes need {path}, which is neither Guix's nor the manifest's own.",
        hint="Name packages rather than items of a store.",
        details={"item": path},
    )


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _string(text: str) -> bytes:
    content = text.encode()
    return _number(len(content)) + content + bytes(-len(content) % 8)
