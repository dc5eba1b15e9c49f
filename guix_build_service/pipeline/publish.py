"""Write the environment record of a version, so that sessions can start without this service and without Guix."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from guix_build_service.git.git import Git, fetching, version_reference
from guix_build_service.git.hosts import Reached
from guix_build_service.model.environments import Environment, Export, Version, now
from guix_build_service.model.members import MemberKind
from guix_build_service.pipeline.job import Job, Made
from guix_build_service.pipeline.kernels import remove_folder, write_kernels
from guix_environment.errors import BuildFailure, NotFound, RecordInvalid
from guix_environment.files import write_atomically
from guix_environment.identifiers import EnvironmentId, VersionId
from guix_environment.records import EnvironmentRecord, Records, VersionRecord
from guix_environment.repository_access import RepositoryAccess
from guix_environment.repository_url import RepositoryUrl
from guix_environment.store_items import all_there
from guix_environment.threads import uninterrupted


async def publish(records: Records, git: Git, job: Job, made: Made, environment: Environment) -> Version:
    """Write what sessions of ENVIRONMENT need of the version that was MADE, and make it the one they start from.

    The version's folder is whole before the environment's record names it.  When anything fails, nothing of the version
    stays.
    """
    identifier = VersionId.new()
    try:
        await _keep_commit(records, git, job, made, environment.id)
        record = await uninterrupted(_write_version, records, made, job.subdirectory, environment.id, identifier)
        if made.resolved.private:
            await uninterrupted(_write_access, records, job, environment)
        await uninterrupted(write_environment, records, environment, identifier)
    except BaseException:
        remove_folder(records.version_folder(environment.id, identifier))
        raise
    return Version(
        id=identifier,
        environment=environment.id,
        build=job.build,
        commit=record.commit,
        ref=record.ref,
        subdirectory=record.subdirectory,
        key=made.profile.key,
        profile=record.profile,
        size=record.size,
        kernels=tuple(kernel.display_name for kernel in record.kernels),
        packages=made.manifest.packages.specifications(),
        created=now(),
    )


def is_whole(records: Records, environment: EnvironmentId, version: VersionId) -> bool:
    """Tell whether sessions can start from VERSION: it is kept, and all its parts are in the store.  Blocks."""
    try:
        kept = records.let_go(environment, version) is None
        return kept and all_there(records.read_version(environment, version).closure)
    except (NotFound, RecordInvalid):
        return False


def kept_repositories(records: Records, environments: Iterable[EnvironmentId]) -> list[Path]:
    """Return our own repositories of those ENVIRONMENTS whose repository is not private.  Blocks.

    A private one's host is asked each time, as whoever could read it once may not any more.
    """
    return [records.repository(each) for each in environments if not _is_private(records, each)]


def _is_private(records: Records, environment: EnvironmentId) -> bool:
    try:
        return records.read_access(environment) is not None
    except RecordInvalid:
        return True


def note_let_go(records: Records, versions: Iterable[Version]) -> None:
    """Have the records of VERSIONS say whether their profiles are kept.  Blocks."""
    for version in versions:
        if version.let_go is not None:
            records.write_let_go(version.environment, version.id, version.let_go)
        else:
            records.remove_let_go(version.environment, version.id)


def tidy_let_go(records: Records, versions: Iterable[Version]) -> None:
    """Have RECORDS say that the profiles of VERSIONS are not kept, and those of all others are.  Blocks."""
    said = records.all_let_go()
    known = {(version.environment, version.id): version for version in versions}
    note_let_go(records, (known[missing] for missing in known.keys() - said))
    for environment, version in said - known.keys():
        records.remove_let_go(environment, version)


def read_export(records: Records, environment: EnvironmentId, version: VersionId) -> Export:
    """Return what makes VERSION again elsewhere.  Raises `NotFound` where nothing of it is kept.  Blocks."""
    folder = records.version_folder(environment, version)
    try:
        manifest = (folder / "manifest.scm").read_text()
    except FileNotFoundError:
        raise NotFound("Of this version no manifest is kept.", hint="Build its commit again.") from None
    channels = folder / "channels.scm"
    return Export(manifest, channels.read_text() if channels.exists() else "")


def write_environment(records: Records, environment: Environment, current: VersionId) -> None:
    """Write the record of ENVIRONMENT with CURRENT as the version that sessions start from.  Blocks.

    A record that says so already stays: each that is written waits for the disk, and a start of the service looks at all.
    """
    record = EnvironmentRecord(
        id=environment.id,
        name=environment.name,
        description=environment.description,
        repository=str(environment.repository),
        owner=environment.owner,
        visibility=environment.visibility,
        groups=environment.groups,
        current=current,
        memory=environment.memory,
        cpu=environment.cpu,
        users=environment.member_names(MemberKind.USER),
        member_groups=environment.member_names(MemberKind.GROUP),
    )
    with contextlib.suppress(NotFound, RecordInvalid):
        if records.read_environment(environment.id) == record:
            return
    records.write_environment(record)


def remove_environment(records: Records, environment: EnvironmentId) -> None:
    """Remove the record of ENVIRONMENT with all its versions: its name first, so that no session starts.  Blocks."""
    folder = records.environment_folder(environment)
    (folder / "environment.json").unlink(missing_ok=True)
    remove_folder(folder)


def withdraw_environment(records: Records, environment: EnvironmentId) -> None:
    """Remove the record of an environment without a current version, but no version that is being published.  Blocks."""
    folder = records.environment_folder(environment)
    (folder / "environment.json").unlink(missing_ok=True)
    if not any((folder / "versions").glob("*")):
        remove_folder(folder)


def remove_unknown(records: Records, environment: EnvironmentId, kept: frozenset[VersionId]) -> None:
    """Remove the versions of ENVIRONMENT that are not KEPT.  Blocks."""
    for folder in (records.environment_folder(environment) / "versions").glob("*"):
        if folder.name not in kept:
            remove_folder(folder)


def _write_version(
    records: Records, made: Made, subdirectory: str, environment: EnvironmentId, identifier: VersionId
) -> VersionRecord:
    kernels = write_kernels(made.profile.path, made.profile.variables, records.kernels(environment, identifier))
    record = VersionRecord(
        id=identifier,
        commit=made.resolved.commit,
        ref=made.resolved.ref,
        subdirectory=subdirectory,
        profile=made.profile.path,
        closure=made.profile.closure,
        variables=made.profile.variables,
        kernels=kernels,
        size=made.profile.size,
        notebook=made.manifest.notebook,
    )
    folder = records.version_folder(environment, identifier)
    write_atomically(folder / "manifest.scm", made.manifest.packages.manifest().encode())
    if made.profile.channels:
        write_atomically(folder / "channels.scm", made.profile.channels.encode())
    records.write_version(environment, record)
    return record


def _write_access(records: Records, job: Job, environment: Environment) -> None:
    """Have the record of ENVIRONMENT say that its repository is private, and was just read by its owner, if it was."""
    if job.person == environment.owner:
        records.write_access(environment.id, RepositoryAccess(read=now()))
    elif records.read_access(environment.id) is None:
        records.write_access(environment.id, RepositoryAccess())


async def _keep_commit(records: Records, git: Git, job: Job, made: Made, environment: EnvironmentId) -> None:
    """Have the environment's own repository hold the commit, under its name and as its branch."""
    repository = records.repository(environment)
    if not (repository / "HEAD").exists():
        await uninterrupted(repository.parent.mkdir, parents=True, exist_ok=True)
        _check((await git.run("init", "--quiet", "--bare", "--template=", folder=repository)).succeeded)
    commit, name = made.resolved.commit, version_reference(made.resolved.commit)
    words = fetching(f"file://{job.clone}", name, name)
    # Our own repository, which `fetch` made: the policy for people's addresses does not apply to it.
    own = Reached(RepositoryUrl("file", "", None, str(job.clone)))
    _check((await git.run(*words, folder=repository, reached=own)).succeeded)
    branch = made.resolved.ref
    if branch:
        done = await git.run("update-ref", f"refs/heads/{branch}", f"{commit}^{{commit}}", folder=repository)
        if done.succeeded:
            await git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}", folder=repository)


def _check(succeeded: bool) -> None:
    if not succeeded:
        raise BuildFailure("The repository could not be kept for sessions.", hint="Build it again.")
