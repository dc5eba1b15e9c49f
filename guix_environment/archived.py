"""Addresses of what an archive keeps: a record of Zenodo, or an object of Software Heritage.

Nothing can be pushed there, and what is there under its number or name stays as it is.
"""

import re
from dataclasses import dataclass
from enum import Enum

from guix_environment.repository_url import RepositoryUrl


class ArchivedKind(Enum):
    """What an archive's address is that of."""

    RECORD = "record"
    """Files that were published together, at Zenodo; its identifier is a number."""
    REVISION = "rev"
    """A commit, at Software Heritage; its identifier is the commit's own."""
    DIRECTORY = "dir"
    """A tree of files without a commit, at Software Heritage; its identifier is that of a tree of Git's."""


@dataclass(frozen=True, slots=True)
class Archived:
    """One thing that an archive keeps."""

    kind: ArchivedKind
    identifier: str

    @property
    def name(self) -> str:
        """What an environment and a working copy of it are called: its number alone would say little."""
        return f"{'zenodo' if self.kind is ArchivedKind.RECORD else 'swh'}-{self.identifier[:12]}"


@dataclass(frozen=True, slots=True)
class ArchiveSites:
    """Which hosts, with their port where that is not the usual one, are archives."""

    records: frozenset[str] = frozenset({"zenodo.org", "sandbox.zenodo.org"})
    heritage: frozenset[str] = frozenset({"archive.softwareheritage.org"})

    def archived(self, url: RepositoryUrl) -> Archived | None:
        """Return what URL is the address of; None for a repository.

        >>> ArchiveSites().archived(RepositoryUrl.parse("https://zenodo.org/records/3242074")).identifier
        '3242074'
        """
        if url.scheme not in _SCHEMES:
            return None
        if url.authority in self.records and (match := _RECORD.fullmatch(url.path)):
            return Archived(ArchivedKind.RECORD, match["number"])
        if url.authority in self.heritage and (match := _OBJECT.fullmatch(url.path)):
            kind = ArchivedKind.REVISION if match["kind"] == "revision" else ArchivedKind.DIRECTORY
            return Archived(kind, match["identifier"])
        return None


def name_of(url: RepositoryUrl) -> str:
    """Return what an environment of URL, and a working copy of it, are called where nobody says otherwise.

    >>> name_of(RepositoryUrl.parse("https://zenodo.org/records/3242074"))
    'zenodo-3242074'
    """
    archived = ArchiveSites().archived(url)
    return archived.name if archived is not None else url.name


_SCHEMES = frozenset({"https", "http"})
_RECORD = re.compile(r"/records/(?P<number>[1-9][0-9]{0,19})")
_OBJECT = re.compile(r"/browse/(?P<kind>revision|directory)/(?P<identifier>[0-9a-f]{40})")
