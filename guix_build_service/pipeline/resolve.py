"""Find out which commit a branch or a tag stands for right now, without fetching anything."""

import re
from collections.abc import Sequence

from guix_build_service.git.git import LARGEST_LISTING, LISTING_SECONDS, Git, listing
from guix_build_service.git.hosts import Hosts
from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline.remote import failure, talk
from guix_environment.errors import InvalidInput, RefNotFound
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl, checked_ref

_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")


async def resolve(git: Git, hosts: Hosts, url: RepositoryUrl, ref: str, otherwise: Sequence[str] = ()) -> Resolved:
    """Return the commit that REF of the repository at URL stands for; the default branch's for an empty REF.

    Where there is no REF, the first of the names OTHERWISE counts that there is; the server is asked once for all of them.
    A name is taken as a branch before it is taken as a tag, and only whole: ``ls-remote`` alone would take ``main`` for
    ``release/main`` too.  Raises `InvalidRef`, `HostRefused`, `RepositoryUnavailable`, `RepositoryTooLarge`,
    `RefNotFound`.
    """
    refs = [checked_ref(each) for each in (ref, *otherwise)] if ref else []
    names = [name for each in refs for name in _candidates(each)]
    asked = ["HEAD", *names, *(f"{name}^{{}}" for name in names if name.startswith(_TAG))]
    done = await talk(
        git, hosts, url, lambda address: listing(address, asked), most=LARGEST_LISTING, timeout=LISTING_SECONDS
    )
    if not done.succeeded:
        raise failure(done, url)
    commits, default = _parse(done.output.decode(errors="replace"))
    if not ref:
        return _default(url, commits, default)
    for each in refs:
        if commit := _as_commit(each):
            return Resolved(url, "", commit)
        for name in _candidates(each):
            if found := commits.get(f"{name}^{{}}") or commits.get(name):
                return Resolved(url, name.removeprefix(_BRANCH).removeprefix(_TAG), found)
    raise _not_found(ref) if not otherwise else _none_found()


def _candidates(ref: str) -> list[str]:
    if _as_commit(ref):
        return []
    return [ref] if ref.startswith((_BRANCH, _TAG)) else [f"{_BRANCH}{ref}", f"{_TAG}{ref}"]


def _as_commit(ref: str) -> Commit | None:
    try:
        return Commit(ref.lower())
    except InvalidInput:
        return None


def _parse(text: str) -> tuple[dict[str, Commit], str]:
    """Return the commit of each name in the output of ``ls-remote --symref``, and what ``HEAD`` is a name for."""
    commits: dict[str, Commit] = {}
    default = ""
    for line in text.splitlines():
        left, _, name = line.partition("\t")
        if left.startswith("ref: ") and name == "HEAD":
            default = left.removeprefix("ref: ")
        elif commit := _as_commit(left):
            commits[name] = commit
    return commits, default


def _default(url: RepositoryUrl, commits: dict[str, Commit], default: str) -> Resolved:
    if "HEAD" not in commits:
        raise RefNotFound(
            "The repository has no default branch, perhaps because nothing was pushed to it yet.",
            hint="Push a commit, or name a branch.",
        )
    branch = default.removeprefix(_BRANCH) if default.startswith(_BRANCH) else ""
    # A server chooses this name, and it becomes part of file names and command lines here.
    return Resolved(url, checked_ref(branch) if branch else "", commits["HEAD"])


def _none_found() -> RefNotFound:
    return RefNotFound(
        "The repository has no branch or tag that this address names.",
        hint="It may have been deleted since. Paste the address of the repository itself.",
    )


def _not_found(ref: str) -> RefNotFound:
    if _ABBREVIATED.fullmatch(ref):
        return RefNotFound(
            f"The repository has no branch or tag named {ref}.", hint="If it is a commit, give all of its 40 characters."
        )
    return RefNotFound(
        f"The repository has no branch or tag named {ref}.",
        hint="Check the spelling; upper and lower case matter. Leave it empty for the default branch.",
    )
