"""Archives: what is kept there under a number or a name that never changes.

A record of Zenodo is known by its number, which its DOI ends with. An id of Software Heritage that tells of which repository
a commit is (its ``origin``) leads to that commit there, as the id of a revision is the commit's own; one that does not leads
to what the archive keeps of it. What an archive would have to be asked about before it could be named is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote

from guix_build_service.providers.place import LONGEST_PASTED, Pasted, Place
from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl, checked_subdirectory

_DOI = re.compile(r"(?:doi:\s*|https?://(?:dx\.)?doi\.org/)?(?P<doi>10\.[0-9]{4,9}/[!-~]{1,200})", re.IGNORECASE)
_DOI_OF_ZENODO = re.compile(r"10\.(?P<prefix>5281|5072)/zenodo\.(?P<record>[1-9][0-9]{0,19})/?", re.IGNORECASE)
_ZENODO = re.compile(
    r"https?://(?:www\.)?(?P<host>(?:sandbox\.)?zenodo\.org)/"
    r"(?:records?/|doi/10\.(?:5281|5072)/zenodo\.)(?P<record>[1-9][0-9]{0,19})(?:[/?#].*)?"
)
_SITES = {"5281": "zenodo.org", "5072": "sandbox.zenodo.org"}
"""Zenodo's by the prefixes of their DOIs; at the second one nothing is kept for long."""

_SWHID = re.compile(
    r"(?:https://archive\.softwareheritage\.org/)?"
    r"swh:1:(?P<kind>cnt|dir|rev|rel|snp):(?P<id>[0-9a-f]{40})(?P<qualifiers>(?:;[a-z]+=[^;]*)*)/?"
)
_ANCHOR = re.compile(r"swh:1:(?P<kind>rev|dir):(?P<id>[0-9a-f]{40})")
_BROWSE = "archive.softwareheritage.org"
_PAGES = {"rev": "revision", "dir": "directory"}
_IDENTIFIER = re.compile(r"[0-9a-f]{40}")

_BY_NUMBER = frozenset({"figshare", "hydroshare", "dataverse", "ckan"})
"""What BinderHub calls the archives that know things by numbers of their own, and that are not asked here."""


class ArchiveUnsupported(InvalidAddress):
    """What an archive keeps that is not asked here, or where only it could tell what is meant."""

    code = "archive-unsupported"


def read(text: str) -> Place | None:
    """Return the place that TEXT, a DOI, an id of Software Heritage or an archive's page, names; None for another's.

    Raises `ArchiveUnsupported`, `InvalidInput`.
    """
    text = text.strip(" ")
    if len(text) > LONGEST_PASTED:
        return None
    if match := _SWHID.fullmatch(text):
        return _heritage(match["kind"], match["id"], _qualifiers(match["qualifiers"]))
    if found := _ZENODO.fullmatch(text):
        return _record(found["host"], found["record"])
    if found := _DOI.fullmatch(text):
        return _by_doi(found["doi"])
    return _browsed(Pasted.parse(text))


def read_spec(provider: str, spec: str) -> Place:
    """Return the place of BinderHub's SPEC of an archive.  Raises `ArchiveUnsupported`, `InvalidInput`."""
    named = unquote(spec).strip("/")
    if provider in _BY_NUMBER:
        raise _unasked(named[:100])
    place = read(named)
    if place is None:
        if provider == "zenodo":
            raise InvalidAddress("The link holds no DOI of Zenodo.", hint="It is like zenodo/10.5281/zenodo.3242074")
        raise InvalidAddress("The link holds no id of Software Heritage.", hint="It begins with swh:1:rev:")
    return place


def _record(host: str, number: str) -> Place:
    return Place(RepositoryUrl("https", host, None, f"/records/{number}"))


def _by_doi(doi: str) -> Place:
    match = _DOI_OF_ZENODO.fullmatch(doi)
    if match is None:
        raise _unasked(doi)
    return _record(_SITES[match["prefix"]], match["record"])


def _heritage(kind: str, identifier: str, qualifiers: Mapping[str, str]) -> Place:
    """Return the place of an id, which lies at its path in its anchor, where it has one."""
    anchor, path = _ANCHOR.fullmatch(qualifiers.get("anchor", "")), qualifiers.get("path", "").strip("/")
    if anchor is None and kind not in _PAGES:
        raise ArchiveUnsupported(
            "This id of Software Heritage does not tell which commit or folder it is in.",
            hint="Copy the permalink of a revision, or of a directory.",
        )
    base, named = (anchor["kind"], anchor["id"]) if anchor else (kind, identifier)
    if base == "rev" and "origin" in qualifiers:
        place = Place(RepositoryUrl.parse(qualifiers["origin"]), named)
    else:
        place = _kept(base, named)
    if not path or (anchor is None and kind == "dir"):
        return place
    if kind == "cnt":
        return Place.behind(place.repository, (named, *path.split("/")), opens=True)
    return replace(place, path=checked_subdirectory(path))


def _kept(kind: str, identifier: str) -> Place:
    return Place(RepositoryUrl("https", _BROWSE, None, f"/browse/{_PAGES[kind]}/{identifier}"))


def _browsed(pasted: Pasted | None) -> Place | None:
    """Return what the archive's own page at PASTED shows: a commit or a folder, or else its repository."""
    if pasted is None or pasted.authority != _BROWSE:
        return None
    origin = dict(pasted.query).get("origin_url")
    if origin:
        return Place(RepositoryUrl.parse(origin))
    for kind, page in _PAGES.items():
        if pasted.parts[:2] == ("browse", page) and len(pasted.parts) == 3 and _IDENTIFIER.fullmatch(pasted.parts[2]):
            return _kept(kind, pasted.parts[2])
    raise ArchiveUnsupported(
        "This page of Software Heritage does not tell which repository it shows.", hint="Copy its permalink instead."
    )


def _qualifiers(text: str) -> Mapping[str, str]:
    return {name: unquote(value) for name, _, value in (each.partition("=") for each in text.split(";") if each)}


def _unasked(what: str) -> ArchiveUnsupported:
    return ArchiveUnsupported(
        f"This archive is not asked here: {what} cannot be looked up.",
        hint="Most records name the Git repository that they were made of: paste its address.",
    )
