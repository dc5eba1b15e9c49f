"""Where in a repository somebody wants to be, by what they pasted and what they wrote beside it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from guix_build_service.model.asked_for import given_ref
from guix_build_service.model.environments import Found, NewEnvironment
from guix_build_service.providers import Place
from guix_build_service.providers.place import DEFAULT_BRANCH
from guix_environment.errors import InvalidInput
from guix_environment.repository_url import RepositoryUrl, checked_subdirectory

Resolve = Callable[[RepositoryUrl, Sequence[str]], Awaitable[Found]]
"""From a repository and names to what the first of them stands for that there is, asked in one question."""

_KINDS = ("refs/heads/", "refs/tags/")


@dataclass(frozen=True, slots=True)
class Located:
    """A repository, and where in it, without anything left to find out but the commit."""

    repository: RepositoryUrl
    ref: str
    """Empty for the default branch."""
    subdirectory: str
    """The folder of the manifest; empty for the top."""
    opens: str
    """The file to open first; empty where the address was not that of a file."""
    resolved: Found | None = field(default=None, compare=False)
    """What it stands for, where that had to be asked."""

    @property
    def link(self) -> str:
        """The path of the page, below the service's prefix, that builds and starts this and opens the file."""
        opened = f"?labpath={quote(self.opens)}" if self.opens else ""
        return f"v2/git/{quote(str(self.repository), safe='')}/{self.ref or DEFAULT_BRANCH}{opened}"

    def asked_for(self, request: NewEnvironment) -> NewEnvironment:
        """Return REQUEST with the address of the repository in the place of what was pasted."""
        return replace(request, repository=str(self.repository), ref=self.ref, subdirectory=self.subdirectory)


async def located(place: Place, ref: str, subdirectory: str, resolve: Resolve) -> Located:
    """Return where PLACE is, with the REF and SUBDIRECTORY that were named beside it.

    Where a branch's name may have slashes, RESOLVE is asked, once, for the longest one that there is. Raises `InvalidInput`
    where what was named beside the place contradicts it, and what RESOLVE raises.
    """
    resolved: Found | None = None
    wanted, folder = given_ref(ref), checked_subdirectory(subdirectory)
    if place.unclear:
        found = wanted
        if wanted not in place.candidates:
            resolved = await resolve(place.repository, place.candidates)
            found = _named(place, resolved.ref)
        place = place.told_apart(found)
    named = "" if place.opens else place.path
    _check_same("branch, tag or commit", place.ref, wanted)
    _check_same("folder", named, folder)
    return Located(place.repository, place.ref or wanted, named or folder, place.path if place.opens else "", resolved)


def _named(place: Place, ref: str) -> str:
    """Return which of the candidates of PLACE was found to be REF: some addresses spell a name in full."""
    return next(name for name in place.candidates if ref in {name, *map(name.removeprefix, _KINDS)})


def _check_same(what: str, in_address: str, beside: str) -> None:
    if in_address and beside and in_address != beside:
        raise InvalidInput(
            f"The address names the {what} {in_address}, and {beside} was named beside it.", hint="Leave one of them out."
        )
