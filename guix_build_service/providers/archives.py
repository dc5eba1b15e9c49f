"""Archives: what is kept there under a number that never changes.

An id of Software Heritage that tells of which repository a commit is (its ``origin``) leads to that commit there, as the id
of a revision is the commit's own.  What would have to be looked up at an archive first is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote

from guix_build_service.providers.place import LONGEST_PASTED, Pasted, Place
from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl, checked_subdirectory

_DOI = re.compile(r"(?:doi:\s*|https?://(?:dx\.)?doi\.org/)?(?P<doi>10\.[0-9]{4,9}/[!-~]{1,200})", re.IGNORECASE)
_ZENODO = re.compile(r"https?://(?:www\.)?zenodo\.org/records?/(?P<record>[0-9]{1,20})(?:[/?#].*)?")
_SWHID = re.compile(
    r"(?:https://archive\.softwareheritage\.org/)?"
    r"swh:1:(?P<kind>cnt|dir|rev|rel|snp):(?P<id>[0-9a-f]{40})(?P<qualifiers>(?:;[a-z]+=[^;]*)*)/?"
)
_REVISION = re.compile(r"swh:1:rev:(?P<commit>[0-9a-f]{40})")
_BROWSE = "archive.softwareheritage.org"

_BY_NUMBER = frozenset({"zenodo", "figshare", "hydroshare", "dataverse", "ckan"})
"""What BinderHub calls the archives that know things by numbers of their own."""


class ArchiveUnsupported(InvalidAddress):
    """What an archive keeps, where only the archive could tell which commit of which repository that is."""

    code = "archive-unsupported"


def read(text: str) -> Place | None:
    """Return where the commit is that TEXT, an id of Software Heritage, names; None for what is of no archive.

    Raises `ArchiveUnsupported`, `InvalidInput`.
    """
    text = text.strip(" ")
    if len(text) > LONGEST_PASTED:
        return None
    if match := _SWHID.fullmatch(text):
        return _revision(match["kind"], match["id"], _qualifiers(match["qualifiers"]))
    if found := _ZENODO.fullmatch(text):
        raise _by_number(f"Zenodo's record {found['record']}")
    if found := _DOI.fullmatch(text):
        raise _by_number(f"{found['doi']}")
    return _browsed(Pasted.parse(text))


def read_spec(provider: str, spec: str) -> Place:
    """Return the place of BinderHub's SPEC of an archive.  Raises `ArchiveUnsupported`, `InvalidInput`."""
    named = unquote(spec)
    if provider in _BY_NUMBER:
        raise _by_number(named[:100])
    place = read(named.strip("/"))
    if place is None:
        raise InvalidAddress("The link holds no id of Software Heritage.", hint="It begins with swh:1:rev:")
    return place


def _revision(kind: str, identifier: str, qualifiers: Mapping[str, str]) -> Place:
    anchor = _REVISION.fullmatch(qualifiers.get("anchor", ""))
    commit = identifier if kind == "rev" else anchor["commit"] if anchor else ""
    if not commit or "origin" not in qualifiers:
        raise ArchiveUnsupported(
            "This id of Software Heritage does not tell which commit of which repository it is.",
            hint="Copy the permalink of a revision with its contextual information: it then holds the repository's address.",
        )
    place = Place(RepositoryUrl.parse(qualifiers["origin"]), commit)
    path = qualifiers.get("path", "").strip("/")
    if not path:
        return place
    if kind == "cnt":
        return Place.behind(place.repository, (commit, *path.split("/")), opens=True)
    return replace(place, path=checked_subdirectory(path))


def _browsed(pasted: Pasted | None) -> Place | None:
    """Return the repository that the archive's own page at PASTED shows."""
    if pasted is None or pasted.authority != _BROWSE:
        return None
    origin = dict(pasted.query).get("origin_url")
    if not origin:
        raise ArchiveUnsupported(
            "This page of Software Heritage does not tell which repository it shows.", hint="Copy its permalink instead."
        )
    return Place(RepositoryUrl.parse(origin))


def _qualifiers(text: str) -> Mapping[str, str]:
    return {name: unquote(value) for name, _, value in (each.partition("=") for each in text.split(";") if each)}


def _by_number(what: str) -> ArchiveUnsupported:
    return ArchiveUnsupported(
        f"Archives are not asked here: {what} cannot be looked up.",
        hint="Most records name the Git repository that they were made of: paste its address.",
    )
