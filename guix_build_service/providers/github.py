"""GitHub: what its pages and raw files are addressed by."""

from guix_build_service.providers.place import Pasted, Place, words
from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl

_HOST = "https://github.com"
_PAGES = frozenset({"github.com", "www.github.com"})
_RAW = "raw.githubusercontent.com"

_FOLDERS = frozenset({"tree", "commits", "commit"})
_FILES = frozenset({"blob", "raw", "edit", "blame"})


def read(pasted: Pasted) -> Place | None:
    """Return the place that the page at PASTED shows, or None for another provider's.  Raises `InvalidInput`."""
    if pasted.authority == _RAW:
        return Place.behind(_repository(pasted.parts), pasted.behind(2), opens=True)
    if pasted.authority not in _PAGES:
        return None
    repository = _repository(pasted.parts)
    kind, rest = "".join(pasted.parts[2:3]), pasted.behind(3)
    if kind in _FOLDERS | _FILES:
        return Place.behind(repository, rest, opens=kind in _FILES)
    if kind == "releases" and rest[:1] == ("tag",):
        return Place(repository, Place.behind(repository, ("/".join(rest[1:]),)).ref)
    if kind == "pull":
        raise InvalidAddress(
            "This is the address of a pull request, not of a repository.",
            hint="Paste the address of its branch, in the repository that it comes from.",
        )
    return Place(repository)


def read_spec(spec: str) -> Place:
    """Return the place of BinderHub's ``gh/USER/REPOSITORY/REF``.  Raises `InvalidInput`."""
    user, _, rest = spec.partition("/")
    name, _, ref = rest.partition("/")
    return Place.behind(_repository((user, name)), tuple(filter(None, ["/".join(words(ref))])))


def _repository(parts: tuple[str, ...]) -> RepositoryUrl:
    if len(parts) < 2 or not all(parts[:2]):
        raise InvalidAddress(
            "The address names nobody's repository on GitHub.", hint="It is like https://github.com/somebody/analysis"
        )
    return RepositoryUrl.parse(f"{_HOST}/{parts[0]}/{parts[1]}")
