"""Any repository of which the address is known."""

import re
from urllib.parse import unquote

from guix_build_service.providers.place import Place, words
from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl

_OVER_SSH = re.compile(
    r"(?:ssh://)?(?:[\w.-]+@)(?P<host>[a-z0-9][a-z0-9.-]{0,250})(?::\d{1,5}/|[:/])(?P<path>[\w.~-][\w.~/-]{0,400})",
    re.ASCII | re.IGNORECASE,
)
"""What forges show for cloning with a key: ``git@HOST:PATH`` or ``ssh://git@HOST/PATH``."""


def read(text: str) -> Place:
    """Return the repository at the address TEXT.  Raises `InvalidAddress`, with what to paste instead of one for SSH."""
    if over_ssh := _OVER_SSH.fullmatch(text.strip()):
        host, path = over_ssh["host"].lower(), over_ssh["path"]
        raise InvalidAddress(
            "Repositories are fetched over HTTPS here, not over SSH.",
            hint=f"Try https://{host}/{path}. If it is private, keep a token for {host} on the page of credentials.",
        )
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
