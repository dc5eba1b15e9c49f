"""Guix's format for files and folders (``guix/serialization.scm``, ``write-file``), read as it comes and within bounds."""

from dataclasses import dataclass, field
from pathlib import Path

from guix_build_service.definitions.wire import Wire, strange, too_much

_MAGIC = b"nix-archive-1"
_DEEPEST = 20
_MOST_ENTRIES = 2000
_LONGEST_WORD = 16
_LONGEST_NAME = 255
_LARGEST_FILE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, with what is in it by name."""

    entries: dict[str, "File | Folder"] = field(default_factory=dict)


Tree = File | Folder


async def read_archive(wire: Wire) -> tuple[Tree, bytes]:
    """Return the files that come over WIRE, and the archive itself.

    Symbolic links are refused, as they are everywhere in repositories.  Raises `DefinitionsRefused`.
    """
    copied = wire.copy()
    try:
        await _expect(wire, _MAGIC)
        return await _Reader(wire).node(0), bytes(copied)
    finally:
        wire.stop()


def restore(tree: Tree, target: Path) -> None:
    """Write TREE at TARGET, where nothing is.  Blocks."""
    if isinstance(tree, Folder):
        target.mkdir()
        for name, entry in tree.entries.items():
            restore(entry, target / name)
    else:
        target.write_bytes(tree.content)
        target.chmod(0o755 if tree.executable else 0o644)


class _Reader:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.count = 0

    async def node(self, depth: int) -> Tree:
        self.count += 1
        if depth > _DEEPEST or self.count > _MOST_ENTRIES:
            raise too_much("a folder with too many files")
        await _expect(self.wire, b"(")
        await _expect(self.wire, b"type")
        match await self.wire.string(_LONGEST_WORD):
            case b"regular":
                return await self.file()
            case b"directory":
                return await self.folder(depth)
            case _:
                raise strange()

    async def file(self) -> File:
        executable = False
        word = await self.wire.string(_LONGEST_WORD)
        if word == b"executable":
            await _expect(self.wire, b"")
            executable = True
            word = await self.wire.string(_LONGEST_WORD)
        if word != b"contents":
            raise strange()
        content = await self.wire.string(_LARGEST_FILE)
        await _expect(self.wire, b")")
        return File(content, executable)

    async def folder(self, depth: int) -> Folder:
        entries: dict[str, Tree] = {}
        while (word := await self.wire.string(_LONGEST_WORD)) == b"entry":
            await _expect(self.wire, b"(")
            await _expect(self.wire, b"name")
            name = await self.wire.text(_LONGEST_NAME)
            # In order and once, as the daemon wants them.
            if name in {"", ".", ".."} or "/" in name or "\0" in name or (entries and name <= next(reversed(entries))):
                raise strange()
            await _expect(self.wire, b"node")
            entries[name] = await self.node(depth + 1)
            await _expect(self.wire, b")")
        if word != b")":
            raise strange()
        return Folder(entries)


async def _expect(wire: Wire, word: bytes) -> None:
    if await wire.string(_LONGEST_WORD) != word:
        raise strange()
