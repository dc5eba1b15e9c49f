"""Gists of GitHub: each is a repository of its own, known by its number."""

import re

from guix_build_service.providers.place import Pasted, Place
from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl

_HOST = "https://gist.github.com"
_RAW = "gist.githubusercontent.com"
_NUMBER = re.compile(r"(?P<number>[0-9a-f]{20,64}|[0-9]{1,19})(?:\.git)?")
_REVISION = re.compile(r"[0-9a-f]{40}")


def read(pasted: Pasted) -> Place | None:
    """Return the gist that is shown at PASTED, or None for another provider's page.  Raises `InvalidAddress`."""
    if pasted.authority not in {"gist.github.com", _RAW}:
        return None
    return _gist(pasted.parts)


def read_spec(spec: str) -> Place:
    """Return the gist of BinderHub's ``gist/USER/NUMBER/REF``.  Raises `InvalidAddress`."""
    user, _, rest = spec.partition("/")
    number, _, ref = rest.partition("/")
    place = _gist((user, number))
    return Place.behind(place.repository, (ref,)) if ref else place


def _gist(parts: tuple[str, ...]) -> Place:
    """Return the gist of ``[USER/]NUMBER[/REVISION]`` or ``USER/NUMBER/raw/REVISION/FILE``."""
    where = 0 if len(parts) < 2 or _REVISION.fullmatch(parts[1]) else 1
    match = _NUMBER.fullmatch("".join(parts[where : where + 1]))
    if match is None:
        raise InvalidAddress("The address names no gist.", hint="Open the gist itself, and paste its address.")
    repository = RepositoryUrl.parse(f"{_HOST}/{match['number']}.git")
    rest = [part for part in parts[where + 1 :] if _REVISION.fullmatch(part)]
    return Place(repository, rest[0] if rest else "")
