"""What archives keep, resolved and fetched as if it were a repository: after this, nothing knows the difference."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from guix_build_service.archives.download import Downloads
from guix_build_service.archives.heritage import Heritage, commit_of
from guix_build_service.archives.records import Records
from guix_build_service.git.git import Git
from guix_build_service.model.environments import Found, Resolved
from guix_build_service.pipeline import fetch
from guix_build_service.pipeline.job import Job, Workshop
from guix_environment.archived import Archived, ArchivedKind
from guix_environment.errors import RefNotFound, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NUMBER = re.compile(r"[1-9][0-9]{0,19}")


async def resolve(workshop: Workshop, url: RepositoryUrl, archived: Archived, ref: str) -> Found:
    """Return what is ARCHIVED at URL; REF is empty, a commit, or of a record the number of one of its versions.

    Raises `RefNotFound` for any other, and what looking a record up does.
    """
    if archived.kind is not ArchivedKind.RECORD:
        if ref.lower() not in {"", commit_of(archived)}:
            raise _no_refs(url)
        return Resolved(url, "", commit_of(archived))
    if _COMMIT.fullmatch(ref.lower()):
        return Resolved(url, "", Commit(ref.lower()))
    if ref and not _NUMBER.fullmatch(ref):
        raise _no_refs(url)
    record = await Records(_downloads(workshop)).look_up(url, archived.identifier, ref)
    return Found(url, record.number, None)


async def fetched(
    workshop: Workshop, job: Job, git: Git, found: Found, archived: Archived, kept: Sequence[Path]
) -> Resolved:
    """Bring the commit of what is ARCHIVED into the job's own repository, and return which it is.

    It comes from the first of our own repositories KEPT that has it, and else from the archive. Raises `RefNotFound` where
    another commit was found than should be, `RepositoryFailure` and `HostRefused`.
    """
    await fetch.begin(job, git)
    if found.commit is not None and await fetch.from_kept(job, git, kept, found.commit):
        return Resolved(found.repository, found.ref, found.commit)
    folder, repository = job.folder / "archive", job.folder / "archive.git"
    await asyncio.to_thread(folder.mkdir)
    if archived.kind is ArchivedKind.RECORD:
        records = Records(_downloads(workshop))
        version = found.ref if _NUMBER.fullmatch(found.ref) else ""
        record = await records.look_up(found.repository, archived.identifier, version)
        commit = await records.commit(found.repository, record, git, folder, repository)
    else:
        heritage = Heritage(_downloads(workshop), workshop.vault_pause)
        commit = await heritage.commit(found.repository, archived, git, folder, repository, job.log.say)
    if found.commit not in {None, commit}:
        raise RefNotFound(
            f"What is at {found.repository} is another commit than {found.commit}.", hint="Leave the commit out."
        )
    if not await fetch.from_kept(job, git, [repository], commit):
        raise RepositoryUnavailable(
            "Git refuses what is in this archive: it is damaged, or made to harm whoever checks it out.",
            hint="Whoever published it may publish another version.",
        )
    return Resolved(found.repository, found.ref, commit)


def _downloads(workshop: Workshop) -> Downloads:
    return Downloads(workshop.hosts, workshop.git.certificates)


def _no_refs(url: RepositoryUrl) -> RefNotFound:
    return RefNotFound(f"{url} has no branches, tags or other commits.", hint="Leave it empty.")
