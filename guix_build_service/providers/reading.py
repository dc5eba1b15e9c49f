"""Which provider's words these are: each is asked in turn, and any Git repository comes last."""

from collections.abc import Callable, Mapping
from functools import partial

from guix_build_service.providers import archives, gist, git, gitea, github, gitlab
from guix_build_service.providers.place import Pasted, Place
from guix_environment.errors import NotFound

_PAGES: tuple[Callable[[Pasted], Place | None], ...] = (github.read, gist.read, gitlab.read, gitea.read)

_ARCHIVES = ("zenodo", "figshare", "hydroshare", "dataverse", "ckan", "swh")

PREFIXES: Mapping[str, Callable[[str], Place]] = {
    "gh": github.read_spec,
    "gl": gitlab.read_spec,
    "gist": gist.read_spec,
    "git": git.read_spec,
    **{name: partial(archives.read_spec, name) for name in _ARCHIVES},
}
"""How links of BinderHub begin, and who reads what follows."""


class UnknownProvider(NotFound):
    """A link that begins like none of BinderHub's."""

    code = "unknown-provider"


def read(text: str) -> Place:
    """Return the place that TEXT, whatever a person pasted, names.

    A plain address is taken as it is. Raises `InvalidInput`, such as `ArchiveUnsupported`.
    """
    if (place := archives.read(text)) is not None:
        return place
    if (pasted := Pasted.parse(text)) is not None:
        for page in _PAGES:
            if (place := page(pasted)) is not None:
                return place
    return git.read(text)


def read_spec(provider: str, spec: str) -> Place:
    """Return the place of BinderHub's link ``PROVIDER/SPEC``, quoted as it stands in the address.

    Raises `UnknownProvider`, `InvalidInput`.
    """
    if provider not in PREFIXES:
        raise UnknownProvider(
            f"There is no provider {provider[:40]!r}.", hint=f"A link begins with one of {', '.join(PREFIXES)}."
        )
    return PREFIXES[provider](spec)
