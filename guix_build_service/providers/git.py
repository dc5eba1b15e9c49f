"""Any repository of which the address is known."""

from urllib.parse import unquote

from guix_build_service.providers.place import Place, words
from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl


def read(text: str) -> Place:
    """Return the repository at the address TEXT.  Raises `InvalidAddress`."""
    return Place(RepositoryUrl.parse(text))


def read_spec(spec: str) -> Place:
    """Return the place of BinderHub's ``git/ADDRESS/REF``, of which the address is quoted.  Raises `InvalidInput`."""
    address, _, ref = spec.partition("/")
    named = unquote(address)
    if "/" not in named:
        raise InvalidAddress(
            "The link names no repository.",
            hint="Write %3A for the colon of its address and %2F for each slash: git/https%3A%2F%2Fgit.example%2Fa%2Fb/main",
        )
    return Place.behind(RepositoryUrl.parse(named), tuple(filter(None, ["/".join(words(ref))])))
