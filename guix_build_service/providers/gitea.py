"""Gitea and Forgejo, such as Codeberg, wherever they are: pages that say whether they show a branch, a tag or a commit."""

import re

from guix_build_service.providers.place import Pasted, Place

_PAGES = frozenset({"src", "commits", "raw", "media", "blame", "_edit"})
_OF_FILES = frozenset({"raw", "media", "blame", "_edit"})
_KINDS = frozenset({"branch", "tag", "commit"})
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_FILE_NAME = re.compile(r".+\.[A-Za-z][A-Za-z0-9]{0,7}")
"""Folders and files have pages of one form; what has a suffix is taken for a file."""


def read(pasted: Pasted) -> Place | None:
    """Return the place that the page at PASTED shows, or None for what is no page of a Gitea.  Raises `InvalidInput`."""
    pairs = list(zip(pasted.parts, pasted.parts[1:], strict=False))
    for number, (page, kind) in enumerate(pairs):
        if number < 2:
            continue
        if page in _PAGES and kind in _KINDS:
            return _shown(pasted, number)
        if (page, kind) == ("releases", "tag"):
            repository = pasted.repository(number)
            return Place(repository, Place.behind(repository, ("/".join(pasted.behind(number + 2)),)).ref)
        if page == "commit" and _COMMIT.fullmatch(kind):
            return Place(pasted.repository(number), kind)
    return None


def _shown(pasted: Pasted, number: int) -> Place:
    rest = pasted.behind(number + 2)
    is_file = len(rest) > 1 and (pasted.parts[number] in _OF_FILES or bool(_FILE_NAME.fullmatch(rest[-1])))
    return Place.behind(pasted.repository(number), rest, opens=is_file)
