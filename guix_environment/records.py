"""The environment record on disk: what the build service writes, and all that a session needs to start.

Below one folder, readable by the hub and written by the service alone::

    server.json                                 the server profile that every session shares
    environments/ID/environment.json            an environment: whose, of which repository, which version is current
    environments/ID/access.json                 of a private repository: whether its owner could still read it, and when
    environments/ID/repository.git/             a bare repository with the commits of all its versions
    environments/ID/versions/VERSION/version.json
    environments/ID/versions/VERSION/kernels/   kernel specifications, rewritten to carry the profile's variables
    environments/ID/versions/VERSION/let-go.json    where its profile is no longer kept: since when, and why

Every file is written atomically, and a version's folder before the environment that names it.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from guix_environment.errors import InvalidInput, NotFound, RecordInvalid
from guix_environment.files import write_json
from guix_environment.identifiers import (
    Commit,
    EnvironmentId,
    KernelName,
    StorePath,
    VariableName,
    VersionId,
)
from guix_environment.record_fields import RecordFields
from guix_environment.repository_access import RepositoryAccess

SCHEMA = 1
"""The form of these records; a reader refuses a higher one."""


class Visibility(StrEnum):
    """Who may see an environment and start it."""

    PRIVATE = "private"
    """Its owner."""
    GROUPS = "groups"
    """Its owner and the members of its groups."""
    EVERYONE = "everyone"
    """Everybody who can log in."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that a version offers."""

    name: KernelName
    display_name: str
    language: str


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """The server profile: JupyterLab, the single-user server and the tools that every session has."""

    key: str
    """What it was built from; another key means that it must be built again."""
    profile: StorePath
    closure: tuple[StorePath, ...]
    variables: Mapping[VariableName, str]
    """The profile's search paths, such as ``PATH`` and ``SSL_CERT_DIR``."""
    versions: Mapping[str, str]
    """Versions of what people ask about: ``jupyterhub``, ``jupyterlab``, …"""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One built commit of an environment's repository."""

    id: VersionId
    commit: Commit
    ref: str
    """The branch or tag that was asked for; empty for the repository's default branch."""
    subdirectory: str
    profile: StorePath
    closure: tuple[StorePath, ...]
    """Every store item that a session must see, the profile among them."""
    variables: Mapping[VariableName, str]
    """The profile's search paths as its ``etc/profile`` sets them."""
    kernels: tuple[Kernel, ...]
    size: int
    """Bytes of the closure."""
    notebook: str = ""
    """The notebook to open first, below the subdirectory; empty for none."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """That the profile of a version is no longer kept from Guix's garbage collector."""

    since: datetime
    why: str
    """A sentence for people."""


@dataclass(frozen=True, slots=True)
class EnvironmentRecord:
    """What a person added, names, shares and starts."""

    id: EnvironmentId
    name: str
    description: str
    repository: str
    """The canonical address."""
    owner: str
    """The hub's name of the person it belongs to."""
    visibility: Visibility
    groups: tuple[str, ...]
    current: VersionId
    memory: int | None
    """Bytes a session may use, where the environment asks for a limit."""
    cpu: float | None
    """Cores a session may use."""
    users: tuple[str, ...] = ()
    """People whom it is shared with by name."""
    member_groups: tuple[str, ...] = ()
    """Groups that it is shared with by name, whatever `visibility` is."""

    def may_be_started_by(self, name: str, groups: frozenset[str], *, admin: bool = False) -> bool:
        """Tell whether the person NAME, a member of GROUPS, may see and start this environment."""
        return (
            admin
            or name == self.owner
            or self.visibility is Visibility.EVERYONE
            or (self.visibility is Visibility.GROUPS and not groups.isdisjoint(self.groups))
            or name in self.users
            or not groups.isdisjoint(self.member_groups)
        )


class Records:
    """The records below one folder.  Blocking, and quick: a few small files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment_folder(self, environment: EnvironmentId) -> Path:
        """Return where everything about ENVIRONMENT lies."""
        return self.folder / "environments" / environment

    def repository(self, environment: EnvironmentId) -> Path:
        """Return the bare repository from which sessions of ENVIRONMENT make a working copy."""
        return self.environment_folder(environment) / "repository.git"

    def version_folder(self, environment: EnvironmentId, version: VersionId) -> Path:
        """Return where everything about VERSION lies."""
        return self.environment_folder(environment) / "versions" / version

    def kernels(self, environment: EnvironmentId, version: VersionId) -> Path:
        """Return the folder of VERSION's kernel specifications, one folder each."""
        return self.version_folder(environment, version) / "kernels"

    def environments(self) -> list[EnvironmentRecord]:
        """Return every environment that has a current version, by name; damaged records are left out."""
        found = []
        for file in self.folder.glob("environments/*/environment.json"):
            try:
                found.append(self.read_environment(EnvironmentId(file.parent.name)))
            except (InvalidInput, NotFound, RecordInvalid):
                continue
        return sorted(found, key=lambda record: (record.name.casefold(), record.id))

    def read_environment(self, environment: EnvironmentId) -> EnvironmentRecord:
        """Return the record of ENVIRONMENT.  Raises `NotFound` or `RecordInvalid`."""
        fields = _read(self.environment_folder(environment) / "environment.json", "environment")
        return EnvironmentRecord(
            id=fields.checked("id", EnvironmentId),
            name=fields.text("name"),
            description=fields.text("description"),
            repository=fields.text("repository"),
            owner=fields.text("owner"),
            visibility=fields.one_of("visibility", Visibility),
            groups=tuple(fields.texts("groups")),
            current=fields.checked("current", VersionId),
            memory=fields.integer("memory"),
            cpu=fields.number("cpu"),
            # Earlier releases shared nothing by name, and wrote neither.
            users=tuple(fields.texts("users", ())),
            member_groups=tuple(fields.texts("member_groups", ())),
        )

    def write_environment(self, record: EnvironmentRecord) -> None:
        """Put RECORD in the place of the environment's earlier record."""
        value: dict[str, object] = {
            "schema": SCHEMA,
            "id": record.id,
            "name": record.name,
            "description": record.description,
            "repository": record.repository,
            "owner": record.owner,
            "visibility": record.visibility.value,
            "groups": list(record.groups),
            "current": record.current,
            "memory": record.memory,
            "cpu": record.cpu,
            "users": list(record.users),
            "member_groups": list(record.member_groups),
        }
        write_json(self.environment_folder(record.id) / "environment.json", value)

    def read_access(self, environment: EnvironmentId) -> RepositoryAccess | None:
        """Return what is known of the right to read ENVIRONMENT's repository; None where it is not private.

        Raises `RecordInvalid`.
        """
        try:
            fields = _read(self.environment_folder(environment) / "access.json", "environment's access")
        except NotFound:
            return None
        return RepositoryAccess(fields.moment("read"), refused=fields.values.get("refused") is not False)

    def write_access(self, environment: EnvironmentId, access: RepositoryAccess | None) -> None:
        """Put ACCESS in the place of what was known; None where the repository is not private."""
        file = self.environment_folder(environment) / "access.json"
        if access is None:
            file.unlink(missing_ok=True)
            return
        read = access.read.isoformat() if access.read is not None else None
        write_json(file, {"schema": SCHEMA, "read": read, "refused": access.refused})

    def read_version(self, environment: EnvironmentId, version: VersionId) -> VersionRecord:
        """Return the record of VERSION.  Raises `NotFound` or `RecordInvalid`."""
        fields = _read(self.version_folder(environment, version) / "version.json", "version")
        return VersionRecord(
            id=fields.checked("id", VersionId),
            commit=fields.checked("commit", Commit),
            ref=fields.text("ref"),
            subdirectory=fields.text("subdirectory"),
            profile=fields.checked("profile", StorePath),
            closure=fields.store_paths("closure"),
            variables=fields.variables("variables"),
            kernels=fields.each("kernels", _kernel),
            size=fields.integer("size") or 0,
            notebook=fields.text("notebook"),
        )

    def write_version(self, environment: EnvironmentId, record: VersionRecord) -> None:
        """Write RECORD of a version of ENVIRONMENT."""
        value: dict[str, object] = {
            "schema": SCHEMA,
            "id": record.id,
            "commit": record.commit,
            "ref": record.ref,
            "subdirectory": record.subdirectory,
            "profile": record.profile,
            "closure": list(record.closure),
            "variables": dict(record.variables),
            "kernels": [
                {"name": kernel.name, "display_name": kernel.display_name, "language": kernel.language}
                for kernel in record.kernels
            ],
            "size": record.size,
            "notebook": record.notebook,
        }
        write_json(self.version_folder(environment, record.id) / "version.json", value)

    def let_go(self, environment: EnvironmentId, version: VersionId) -> LetGo | None:
        """Return since when VERSION's profile is no longer kept; None where it is.  Raises `RecordInvalid`."""
        try:
            fields = _read(self._let_go_file(environment, version), "version")
        except NotFound:
            return None
        since = fields.moment("since")
        if since is None:
            raise RecordInvalid("The record of this version does not say since when it is not kept.", hint="Build it again.")
        return LetGo(since, fields.text("why"))

    def write_let_go(self, environment: EnvironmentId, version: VersionId, letting_go: LetGo) -> None:
        """Write down that VERSION's profile is no longer kept; a version that has no record gets none."""
        if self.version_folder(environment, version).is_dir():
            value: dict[str, object] = {"schema": SCHEMA, "since": letting_go.since.isoformat(), "why": letting_go.why}
            write_json(self._let_go_file(environment, version), value)

    def remove_let_go(self, environment: EnvironmentId, version: VersionId) -> None:
        """Write down that VERSION's profile is kept."""
        self._let_go_file(environment, version).unlink(missing_ok=True)

    def all_let_go(self) -> set[tuple[EnvironmentId, VersionId]]:
        """Return every version whose profile is said to be no longer kept."""
        found = set()
        for file in self.folder.glob("environments/*/versions/*/let-go.json"):
            with contextlib.suppress(InvalidInput):
                found.add((EnvironmentId(file.parents[2].name), VersionId(file.parent.name)))
        return found

    def _let_go_file(self, environment: EnvironmentId, version: VersionId) -> Path:
        return self.version_folder(environment, version) / "let-go.json"

    def read_server(self) -> ServerRecord:
        """Return the record of the server profile.  Raises `NotFound` when none was built yet, or `RecordInvalid`."""
        fields = _read(self.folder / "server.json", "server layer")
        return ServerRecord(
            key=fields.text("key"),
            profile=fields.checked("profile", StorePath),
            closure=fields.store_paths("closure"),
            variables=fields.variables("variables"),
            versions={name: str(version) for name, version in fields.mapping("versions").items()},
        )

    def write_server(self, record: ServerRecord) -> None:
        """Put RECORD in the place of the server profile's earlier record."""
        value: dict[str, object] = {
            "schema": SCHEMA,
            "key": record.key,
            "profile": record.profile,
            "closure": list(record.closure),
            "variables": dict(record.variables),
            "versions": dict(record.versions),
        }
        write_json(self.folder / "server.json", value)


def _read(path: Path, noun: str) -> RecordFields:
    return RecordFields.read(path, noun, newest=SCHEMA)


def _kernel(item: Mapping[str, object]) -> Kernel:
    return Kernel(KernelName(str(item["name"])), str(item["display_name"]), str(item["language"]))
