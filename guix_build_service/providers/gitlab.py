"""GitLab, here or elsewhere: projects in groups within groups, and their pages behind ``/-/``."""

from urllib.parse import unquote

from guix_build_service.providers.place import Pasted, Place, words
from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl

_HOST = "https://gitlab.com"
_FOLDERS = frozenset({"tree", "commits", "commit"})
_FILES = frozenset({"blob", "raw", "blame", "edit"})
_BEFORE = "-"
"""What stands before the kind of a page: no group or project can be called so."""


def read(pasted: Pasted) -> Place | None:
    """Return the place that the page at PASTED shows, or None for what is no page of a GitLab.  Raises `InvalidInput`."""
    where = pasted.parts.index(_BEFORE) if _BEFORE in pasted.parts else 0
    if where < 2:
        return _without_mark(pasted)
    kind = "".join(pasted.parts[where + 1 : where + 2])
    repository = pasted.repository(where)
    if kind == "tags":
        return Place(repository, Place.behind(repository, ("/".join(pasted.behind(where + 2)),)).ref)
    if kind in _FOLDERS | _FILES:
        return Place.behind(repository, pasted.behind(where + 2), opens=kind in _FILES)
    return Place(repository)


def _without_mark(pasted: Pasted) -> Place | None:
    """Return the place of an address of GitLab before release 16, or of a project; no project can be called ``tree``."""
    if pasted.authority != "gitlab.com":
        return None
    for number, part in enumerate(pasted.parts):
        if number >= 2 and part in _FOLDERS | _FILES:
            return Place.behind(pasted.repository(number), pasted.behind(number + 1), opens=part in _FILES)
    return Place(pasted.repository(len(pasted.parts)))


def read_spec(spec: str) -> Place:
    """Return the place of BinderHub's ``gl/GROUP%2FPROJECT/REF``.  Raises `InvalidInput`."""
    project, _, ref = spec.partition("/")
    name = unquote(project)
    if "/" not in name.strip("/"):
        raise InvalidAddress(
            "The link names no project on GitLab.", hint="Write the slashes of its name as %2F: gl/group%2Fproject/main"
        )
    return Place.behind(RepositoryUrl.parse(f"{_HOST}/{name}"), tuple(filter(None, ["/".join(words(ref))])))
