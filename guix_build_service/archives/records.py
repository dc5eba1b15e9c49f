"""Records of Zenodo: which files one has, and the commit that these make.

What is read of Zenodo's answers are the names that repo2docker's provider for it reads too. A record's files stay as they
are once it is published, while its title and description may change, so that no word of these is in the commit.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from guix_build_service.archives.commits import Authorship, Source, commit_files
from guix_build_service.archives.download import Downloads, Order, check_answered
from guix_build_service.git.git import LARGEST_PACK, Git
from guix_environment.errors import RefNotFound, RepositoryTooLarge, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl

LARGEST_RECORD = LARGEST_PACK
"""Bytes of all files of a record together."""

MOST_FILES = 200
"""Each is a question of its own."""

DOWNLOAD_SECONDS = 300.0
"""How long one file may take."""

_ARCHIVE = re.compile(r".+\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)", re.IGNORECASE)
_CHECKSUM = re.compile(r"(?P<kind>md5|sha256|sha512):(?P<digest>[0-9a-f]{32,128})")
_NUMBER = re.compile(r"[1-9][0-9]{0,19}")


@dataclass(frozen=True, slots=True)
class RecordFile:
    """One file of a record."""

    name: str
    size: int
    checksum: str
    """Its kind, a colon, and the sum."""


@dataclass(frozen=True, slots=True)
class Record:
    """One version of what somebody published."""

    number: str
    concept: str
    """The number that stands for whichever version is the newest."""
    created: datetime
    files: tuple[RecordFile, ...]

    @classmethod
    def parse(cls, url: RepositoryUrl, answer: object) -> "Record":
        """Return the record in the ANSWER of the site of URL.  Raises `RepositoryUnavailable`, `RepositoryTooLarge`."""
        if not isinstance(answer, Mapping):
            raise _unreadable(url)
        try:
            listed = answer.get("files") or ()
            files = tuple(RecordFile(str(each["key"]), int(each["size"]), str(each["checksum"])) for each in listed)
            created = datetime.fromisoformat(str(answer["created"]))
            number, concept = str(answer["id"]), str(answer.get("conceptrecid", ""))
        except (KeyError, TypeError, ValueError):
            raise _unreadable(url) from None
        if not _NUMBER.fullmatch(number) or created.tzinfo is None:
            raise _unreadable(url)
        if not files:
            raise RepositoryUnavailable(
                f"{url} shows no files to everybody.", hint="Its owner may have restricted it, or published nothing yet."
            )
        if len(files) > MOST_FILES or not 0 <= sum(file.size for file in files) <= LARGEST_RECORD:
            raise RepositoryTooLarge(
                f"The record is more than this hub fetches: {MOST_FILES} files, {LARGEST_RECORD // 1024**2} MiB.",
                hint="Publish what notebooks need as a record of its own, and let them download the data.",
            )
        return cls(number, concept, created, files)

    @property
    def is_archive(self) -> bool:
        """Whether it is one archive, whose files are what is meant."""
        return len(self.files) == 1 and bool(_ARCHIVE.fullmatch(self.files[0].name))


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a site."""

    downloads: Downloads

    async def look_up(self, url: RepositoryUrl, number: str, wanted: str = "") -> Record:
        """Return the record NUMBER at the site of URL, or its version WANTED.

        A number that stands for all versions leads to the newest. Raises `RefNotFound` for a version that is of another
        record, `RepositoryUnavailable`, `HostRefused`.
        """
        status, answer = await self.downloads.json(url, f"/api/records/{wanted or number}")
        check_answered(status, url)
        record = Record.parse(url, answer)
        if wanted and (record.number != wanted or number not in {record.number, record.concept}):
            raise RefNotFound(f"{wanted} is no version of {url}.", hint="Leave it empty for the newest one.")
        return record

    async def commit(self, url: RepositoryUrl, record: Record, git: Git, folder: Path, repository: Path) -> Commit:
        """Make a bare repository at REPOSITORY with the commit of RECORD; FOLDER is used for its files.

        Raises what `commit_files` and `Downloads.get` do, and `RepositoryUnavailable` for a file that is not what the
        record says.
        """
        sources = [
            Source(await self._file(url, record, number, folder), file.name, unpack=record.is_archive)
            for number, file in enumerate(record.files)
        ]
        says = Authorship(url.host, f"records@{url.host}", int(record.created.timestamp()), f"Record {record.number}\n")
        return await commit_files(git, repository, sources, says)

    async def _file(self, url: RepositoryUrl, record: Record, number: int, folder: Path) -> Path:
        wanted, file = record.files[number], folder / f"{number}.file"
        path = f"/api/records/{record.number}/files/{quote(wanted.name, safe='')}/content"
        with file.open("wb") as into:
            order = Order(f"{url.scheme}://{url.authority}{path}", into, wanted.size)
            check_answered((await self.downloads.get(url, order, DOWNLOAD_SECONDS)).status, url)
        if not await asyncio.to_thread(_is_whole, file, wanted):
            raise RepositoryUnavailable(
                f"The file {wanted.name[:80]!r} of the record is not what the record says it is.", hint="Try again later."
            )
        return file


def _is_whole(file: Path, wanted: RecordFile) -> bool:
    """Tell whether FILE has the checksum of what was WANTED.  Blocks."""
    match = _CHECKSUM.fullmatch(wanted.checksum)
    if match is None:
        return False
    with file.open("rb") as content:
        # MD5 is all that Zenodo tells of a file: it finds out damage, and is no proof against whoever runs the site.
        digest = hashlib.file_digest(content, lambda: hashlib.new(match["kind"], usedforsecurity=False))
    return digest.hexdigest() == match["digest"]


def _unreadable(url: RepositoryUrl) -> RepositoryUnavailable:
    return RepositoryUnavailable(f"{url.authority} answers with what is no record.", hint="Open the address in a browser.")
