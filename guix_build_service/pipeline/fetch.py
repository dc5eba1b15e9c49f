"""Bring one commit here, without its history, and never check it out."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from guix_build_service.git.git import FETCH_SECONDS, LARGEST_PACK, Git, fetching, version_reference
from guix_build_service.git.hosts import Hosts, Reached
from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.remote import failure, talk
from guix_environment.errors import RefNotFound
from guix_environment.identifiers import Commit
from guix_environment.processes import Completed
from guix_environment.repository_url import RepositoryUrl


async def fetch(job: Job, git: Git, hosts: Hosts, resolved: Resolved, kept: Sequence[Path] = ()) -> None:
    """Fetch the resolved commit into the job's own bare repository.  Raises `RepositoryFailure` and `HostRefused`.

    It comes from the first of our own repositories KEPT that has it: what was built once can be built again when its
    repository is gone.  Servers that do not give a commit by its name are asked for the branch or tag, which must still
    stand for that commit.
    """
    await begin(job, git)
    if await from_kept(job, git, kept, resolved.commit):
        return
    deadline = asyncio.get_running_loop().time() + FETCH_SECONDS
    done = await _fetch(job, git, hosts, resolved, resolved.commit, deadline)
    if done.succeeded and await _holds(git, job, resolved.commit):
        return
    for name in (f"refs/heads/{resolved.ref}", f"refs/tags/{resolved.ref}") if resolved.ref and _not_given(done) else ():
        again = await _fetch(job, git, hosts, resolved, name, deadline)
        if again.succeeded and await _holds(git, job, resolved.commit):
            return
    raise _failed(done, resolved)


async def begin(job: Job, git: Git) -> None:
    """Make the job's own bare repository, which is empty."""
    await asyncio.to_thread(job.folder.mkdir, parents=True, exist_ok=True)
    made = await git.run("init", "--quiet", "--bare", "--template=", folder=job.clone)
    if not made.succeeded:
        raise failure(made, job.repository)


async def from_kept(job: Job, git: Git, kept: Sequence[Path], commit: Commit) -> bool:
    """Fetch COMMIT from the first of our own repositories KEPT that has it, and return whether one does."""
    for repository in kept:
        if await _fetch_kept(job, git, repository, commit):
            return True
    return False


async def _fetch(job: Job, git: Git, hosts: Hosts, resolved: Resolved, wanted: str, deadline: float) -> Completed:
    kept_as = version_reference(resolved.commit)
    return await talk(
        git,
        hosts,
        resolved.repository,
        lambda address: fetching(address, wanted, kept_as),
        most=LARGEST_PACK,
        timeout=max(1.0, deadline - asyncio.get_running_loop().time()),
        folder=job.clone,
    )


async def _fetch_kept(job: Job, git: Git, repository: Path, commit: Commit) -> bool:
    """Fetch COMMIT from REPOSITORY, one of our own, and return whether it was there."""
    if not await asyncio.to_thread((repository / "HEAD").exists):
        return False
    name = version_reference(commit)
    # We made that repository: the policy for people's addresses does not apply to it.
    own = Reached(RepositoryUrl("file", "", None, str(repository)))
    done = await git.run(*fetching(f"file://{repository}", name, name), folder=job.clone, reached=own)
    return done.succeeded and await _holds(git, job, commit)


async def _holds(git: Git, job: Job, commit: Commit) -> bool:
    """Tell whether what was fetched is COMMIT; an annotated tag is followed to it."""
    words = ("rev-parse", "--verify", "--quiet", f"{version_reference(commit)}^{{commit}}")
    done = await git.run(*words, folder=job.clone)
    return done.succeeded and done.output.decode().strip() == commit


def _not_given(done: Completed) -> bool:
    """Tell whether the server answered, and gives no commit of that name."""
    said = done.errors.decode(errors="replace")
    return "not our ref" in said or "unadvertised object" in said or "no such remote ref" in said or done.succeeded


def _failed(done: Completed, resolved: Resolved) -> Exception:
    if _not_given(done):
        return RefNotFound(
            f"The repository does not have the commit {resolved.commit.short}, or no longer.",
            hint="Check that it was pushed, and give a branch's name if the server hands out no single commits.",
        )
    return failure(done, resolved.repository)
