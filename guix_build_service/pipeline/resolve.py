"""Find out which commit a branch or a tag stands for right now, without fetching anything."""

import re

from guix_build_service.git.git import LARGEST_LISTING, LISTING_SECONDS, Git, listing
from guix_build_service.git.hosts import Hosts
from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline.remote import failure, talk
from guix_environment.errors import InvalidInput, RefNotFound
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl, checked_ref

_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")


async def resolve(git: Git, hosts: Hosts, url: RepositoryUrl, ref: str) -> Resolved:
    """Return the commit that REF of the repository at URL stands for; the default branch's for an empty REF.

    A name is taken as a branch before it is taken as a tag, and only whole: ``ls-remote`` alone would take ``main`` for
    ``release/main`` too.  Raises `InvalidRef`, `HostRefused`, `RepositoryUnavailable`, `RepositoryTooLarge`,
    `RefNotFound`.
    """
    if ref:
        checked_ref(ref)
    names = _candidates(ref)
    asked = ["HEAD", *names, *(f"{name}^{{}}" for name in names if name.startswith(_TAG))]
    done = await talk(
        git, hosts, url, lambda address: listing(address, asked), most=LARGEST_LISTING, timeout=LISTING_SECONDS
    )
    if not done.succeeded:
        raise failure(done, url)
    commits, default = _parse(done.output.decode(errors="replace"))
    if not ref:
        return _default(url, commits, default)
    if commit := _as_commit(ref):
        return Resolved(url, "", commit)
    for name in names:
        found = commits.get(f"{name}^{{}}") or commits.get(name)
        if found:
            return Resolved(url, name.removeprefix(_BRANCH).removeprefix(_TAG), found)
    raise _not_found(ref)


def _candidates(ref: str) -> list[str]:
    if not ref or _as_commit(ref):
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


def _not_found(ref: str) -> RefNotFound:
    if _ABBREVIATED.fullmatch(ref):
        return RefNotFound(
            f"The repository has no branch or tag named {ref}.", hint="If it is a commit, give all of its 40 characters."
        )
    return RefNotFound(
        f"The repository has no branch or tag named {ref}.",
        hint="Check the spelling; upper and lower case matter. Leave it empty for the default branch.",
    )
