"""A program of its own: read what an archive sent, and write what of it may become a commit.

It is run in a process with limits, as what it reads may be made to harm whoever reads it, and needs the standard library
alone. It never gives a file a name that something from outside chose: files become a stream for ``git fast-import``, and
packs of Git are numbered.

Its standard input is a JSON object: ``{"do": "tree", "stream": FILE, "name", "email", "moment": SECONDS, "message",
"within": FOLDER-OR-EMPTY, "files": [{"from": FILE, "to": NAME, "unpack": BOOLEAN}, …]}``, or ``{"do": "packs", "from": FILE,
"folder": FOLDER}``.  It answers with ``{"files": NUMBER}`` or ``{"refused": SENTENCE}``.
"""

import json
import posixpath
import re
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

MOST_FILES = 50_000
LARGEST_CONTENT = 1024 * 1024 * 1024
"""Bytes of all files together, unpacked."""

LONGEST_PATH = 1000
"""Bytes."""

DEEPEST = 50
LONGEST_LINK = 1000
"""Characters of what a symbolic link says."""

_BLOCK = 256 * 1024
_PACK = re.compile(r"[^/]+/objects/pack/pack-[0-9a-f]{40}\.pack")
_WINDOWS_NAME_OF_GIT = "git~1"


class Refused(Exception):
    """What must not become a commit; the message is for people."""


@dataclass(frozen=True)
class Entry:
    """One file or link."""

    path: str
    mode: str
    """As Git writes it."""
    size: int
    source: Any
    """What knows its content."""


def main() -> None:
    """Do what is asked for."""
    asked = json.load(sys.stdin)
    try:
        answer: dict[str, object] = {"files": _packs(asked) if asked["do"] == "packs" else _tree(asked)}
    except Refused as refusal:
        answer = {"refused": str(refusal)}
    except Exception:  # noqa: BLE001 - whatever the libraries make of what was made to confuse them
        answer = {"refused": "The archive is damaged, or of a kind that is not read."}
    json.dump(answer, sys.stdout)


def _packs(asked: dict[str, Any]) -> int:
    """Write the packs of the bare repository in a tar archive as ``1.pack`` and so on, and return how many there are."""
    number, left = 0, LARGEST_CONTENT
    with tarfile.open(asked["from"], mode="r|*") as archive:
        for member in _counted(archive):
            if not (member.isreg() and _PACK.fullmatch(member.name)):
                continue
            number, left = number + 1, left - member.size
            if left < 0:
                raise _too_large()
            content = archive.extractfile(member)
            assert content is not None
            with Path(asked["folder"], f"{number}.pack").open("wb") as pack:
                _copy(content, pack, member.size)
    return number


def _tree(asked: dict[str, Any]) -> int:
    """Write the stream that makes a commit of all files, and return how many there are."""
    found: list[Entry] = []
    with Path(asked["stream"]).open("wb") as stream:
        for file in asked["files"]:
            path = Path(file["from"])
            if not file["unpack"]:
                found.append(Entry(_checked_path(file["to"]), "100644", path.stat().st_size, path))
            elif zipfile.is_zipfile(path):
                found += _of_zip(path)
            else:
                found += _of_tar(path)
        entries = _checked(_lifted(found, asked.get("within", "")))
        _write_commit(asked, stream)
        for entry in entries:
            stream.write(f"M {entry.mode} inline {_quoted(entry.path)}\n".encode())
            stream.write(f"data {entry.size}\n".encode())
            _write_content(entry, stream)
            stream.write(b"\n")
        stream.write(b"done\n")
    return len(entries)


def _write_commit(asked: dict[str, Any], stream: BinaryIO) -> None:
    who = f"{asked['name']} <{asked['email']}> {int(asked['moment'])} +0000"
    message = asked["message"].encode()
    stream.write(b"feature done\ncommit refs/heads/main\n")
    stream.write(f"author {who}\ncommitter {who}\ndata {len(message)}\n".encode() + message + b"\n")


def _of_zip(path: Path) -> Iterator[Entry]:
    archive = zipfile.ZipFile(path)
    members = archive.infolist()
    if len(members) > MOST_FILES:
        raise _too_many()
    for member in members:
        mode = member.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if member.flag_bits & 1:
            raise Refused("The archive is locked with a password.")
        if member.is_dir():
            _checked_path(member.filename)
        elif kind == stat.S_IFLNK:
            yield Entry(_checked_path(member.filename), "120000", member.file_size, (archive, member))
        elif kind in {0, stat.S_IFREG}:
            yield Entry(_checked_path(member.filename), _file_mode(mode), member.file_size, (archive, member))
        else:
            raise _no_file(member.filename)


def _of_tar(path: Path) -> Iterator[Entry]:
    archive = tarfile.open(path, mode="r:*")  # noqa: SIM115 - its content is read later
    for member in _counted(archive):
        if member.isdir():
            _checked_path(member.name)
        elif member.issym():
            link = member.linkname.encode("utf-8", "surrogateescape")
            yield Entry(_checked_path(member.name), "120000", len(link), link)
        elif member.isreg():
            yield Entry(_checked_path(member.name), _file_mode(member.mode), member.size, (archive, member))
        else:
            raise _no_file(member.name)


def _counted(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of ARCHIVE, unless they are too many or together too large."""
    left = LARGEST_CONTENT
    for number, member in enumerate(archive):
        left -= max(0, member.size)
        if number >= MOST_FILES:
            raise _too_many()
        if left < 0:
            raise _too_large()
        yield member


def _file_mode(mode: int) -> str:
    return "100755" if mode & 0o111 else "100644"


def _checked_path(name: str) -> str:
    """Return the path that NAME is, without ``./`` before it and a slash behind it; empty for the top itself."""
    path = name.rstrip("/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    if path in {"", "."} and not name.startswith("/"):
        return ""
    parts = path.split("/")
    if name.startswith("/") or {"", ".", ".."} & set(parts):
        raise Refused(f"The archive has a file that would not lie inside of it: {name!r:.80}")
    if any(not character.isprintable() for character in path if not "\udc80" <= character <= "\udcff") or "\\" in path:
        raise Refused(f"The archive has a file with a name that no file should have: {name!r:.80}")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST_PATH or len(parts) > DEEPEST:
        raise Refused(f"The archive has a file whose path is too long: {name!r:.80}")
    if any(part.casefold().rstrip(". ") in {".git", _WINDOWS_NAME_OF_GIT} for part in parts):
        raise Refused(f"The archive has a file that would steer Git: {name!r:.80}")
    return path


def _lifted(entries: list[Entry], within: str) -> list[Entry]:
    """Return ENTRIES without the folder WITHIN that all of them must lie in, or else the one that all of them lie in."""
    tops = {entry.path.split("/")[0] for entry in entries}
    nested = all("/" in entry.path for entry in entries)
    if within and tops != {within}:
        raise Refused("The archive does not hold what was asked for.")
    if len(tops) != 1 or not nested:
        return entries
    length = len(tops.pop()) + 1
    return [Entry(entry.path[length:], entry.mode, entry.size, entry.source) for entry in entries]


def _checked(entries: list[Entry]) -> list[Entry]:
    """Return ENTRIES, in their order; raise `Refused` for what cannot lie side by side, or is too large."""
    if not entries:
        raise Refused("The archive is empty.")
    if len(entries) > MOST_FILES:
        raise _too_many()
    if sum(entry.size for entry in entries) > LARGEST_CONTENT:
        raise _too_large()
    paths = {entry.path for entry in entries}
    if len(paths) != len(entries) or "" in paths:
        raise Refused("The archive has two files of one name.")
    for path in paths:
        parts = path.split("/")
        if any("/".join(parts[:number]) in paths for number in range(1, len(parts))):
            raise Refused(f"The archive has a file that would lie in another file: {path!r:.80}")
    return entries


def _write_content(entry: Entry, stream: BinaryIO) -> None:
    if isinstance(entry.source, bytes):
        stream.write(_checked_link(entry, entry.source))
    elif isinstance(entry.source, Path):
        with entry.source.open("rb") as content:
            _copy(content, stream, entry.size)
    else:
        archive, member = entry.source
        opened: IO[bytes] = archive.open(member) if isinstance(archive, zipfile.ZipFile) else archive.extractfile(member)
        with opened as content:
            if entry.mode == "120000":
                stream.write(_checked_link(entry, content.read(LONGEST_LINK + 1)))
            else:
                _copy(content, stream, entry.size)


def _checked_link(entry: Entry, link: bytes) -> bytes:
    """Return what the LINK at ENTRY says, if it leads to a place in the archive.

    ``..`` counts at its beginning alone: behind a name, it would be another place where that name is itself a link.
    """
    target = link.decode("utf-8", "surrogateescape")
    named = target.split("/")
    while named and named[0] == "..":
        named.pop(0)
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), target))
    outside = joined == ".." or joined.startswith(("../", "/"))
    if outside or ".." in named or "\0" in target or not target or len(link) != entry.size or len(target) > LONGEST_LINK:
        raise Refused(f"The archive has a link that leads out of it: {entry.path!r:.80}")
    return link


def _copy(content: IO[bytes], to: BinaryIO, size: int) -> None:
    """Copy CONTENT, which says that it has SIZE bytes; raise `Refused` where it has not."""
    left = size
    while block := content.read(_BLOCK):
        left -= len(block)
        if left < 0:
            raise Refused("The archive has a file that is larger than it says.")
        to.write(block)
    if left:
        raise Refused("The archive has a file that is smaller than it says.")


def _quoted(path: str) -> str:
    """Return PATH as ``git fast-import`` reads it."""
    content = path.encode("utf-8", "surrogateescape")
    return '"' + "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in content) + '"'


def _too_large() -> Refused:
    return Refused(f"The archive holds more than {LARGEST_CONTENT // 1024**2} MiB.")


def _too_many() -> Refused:
    return Refused(f"The archive holds more than {MOST_FILES} files.")


def _no_file(name: str) -> Refused:
    return Refused(f"The archive has something that is neither a file nor a folder nor a link: {name!r:.80}")


if __name__ == "__main__":
    main()
