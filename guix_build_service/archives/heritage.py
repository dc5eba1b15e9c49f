"""Objects of Software Heritage, from its vault: a commit with its history, or a folder without one.

The vault prepares ("cooks") what it was not asked for lately, and is asked again until that is done. Its API is as its own
documentation describes it (docs.softwareheritage.org, "Vault API"): commits as bare repositories, folders as flat archives.
Nothing that it sends is believed: an identifier is what Git computes of the content, so other content has another one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from guix_build_service.archives.commits import Authorship, Source, commit_files, commit_of_tree, take_packs
from guix_build_service.archives.download import Downloads, Order, check_answered
from guix_build_service.git.git import LARGEST_PACK, Git
from guix_environment.archived import Archived, ArchivedKind
from guix_environment.errors import RefNotFound, RepositoryUnanswered, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl

COOK_SECONDS = 1800.0
"""How long the vault may take to prepare something."""

DOWNLOAD_SECONDS = 300.0
_BUNDLES = {ArchivedKind.REVISION: "git-bare", ArchivedKind.DIRECTORY: "flat"}

Say = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Heritage:
    """The archive."""

    downloads: Downloads
    pause: float = 5.0
    """Seconds between two questions whether something is prepared."""

    async def commit(
        self, url: RepositoryUrl, archived: Archived, git: Git, folder: Path, repository: Path, say: Say
    ) -> Commit:
        """Make a bare repository at REPOSITORY with the commit of what is ARCHIVED at URL, and return that commit.

        FOLDER is used for what is downloaded; SAY tells people how it goes on. Raises `RefNotFound` for what the archive
        does not have, `RepositoryUnavailable` for what is not what it should be, and what `Downloads.get` does.
        """
        name = f"swh:1:{archived.kind.value}:{archived.identifier}"
        path = f"/api/1/vault/{_BUNDLES[archived.kind]}/{name}/"
        await self._cooked(url, path, say)
        file = folder / "bundle"
        with file.open("wb") as into:
            order = Order(f"{url.scheme}://{url.authority}{path}raw/", into, LARGEST_PACK)
            check_answered((await self.downloads.get(url, order, DOWNLOAD_SECONDS)).status, url)
        expected = commit_of(archived)
        if archived.kind is ArchivedKind.REVISION:
            await take_packs(git, repository, file, expected)
        elif await commit_files(git, repository, [Source(file, "", unpack=True)], _says(name), within=name) != expected:
            raise RepositoryUnavailable(
                "What the archive sent is not what was asked for.",
                hint="A folder with submodules or empty folders cannot be had alone: take the id of a revision that has it.",
            )
        return expected

    async def _cooked(self, url: RepositoryUrl, path: str, say: Say) -> None:
        """Return once the vault has prepared what is at PATH."""
        status, state = await self._asked(url, path, "POST")
        if status == HTTPStatus.NOT_FOUND:
            raise RefNotFound(
                "Software Heritage does not have this.", hint="Check the id, or have the repository archived there first."
            )
        try:
            async with asyncio.timeout(COOK_SECONDS):
                if state != "done":
                    await say("Software Heritage prepares this first, which may take minutes.")
                while state not in {"done", "failed"}:
                    await asyncio.sleep(self.pause)
                    status, state = await self._asked(url, path, "GET")
        except TimeoutError:
            raise RepositoryUnanswered(
                "Software Heritage still prepares this.", hint="It goes on with it: build again later."
            ) from None
        if state == "failed":
            raise RepositoryUnavailable("Software Heritage could not prepare this.", hint="Try again later.")

    async def _asked(self, url: RepositoryUrl, path: str, method: str) -> tuple[int, str]:
        """Return the status of the answer, and the state that it tells."""
        status, answer = await self.downloads.json(url, path, method=method)
        if status != HTTPStatus.NOT_FOUND:
            check_answered(status, url)
        return status, str(answer.get("status", "")) if isinstance(answer, Mapping) else ""


def commit_of(archived: Archived) -> Commit:
    """Return the commit of what is ARCHIVED: itself, or the one that we make of a folder."""
    if archived.kind is ArchivedKind.REVISION:
        return Commit(archived.identifier)
    return commit_of_tree(archived.identifier, _says(f"swh:1:dir:{archived.identifier}"))


def _says(name: str) -> Authorship:
    return Authorship("Software Heritage", "records@archive.softwareheritage.org", 0, f"{name}\n")
