"""Rows as values of the model, and back."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import RowMapping

from guix_build_service.model.environments import Build, BuildState, Environment, Progress, Version
from guix_build_service.model.members import Member, MemberKind, Role, in_order
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, StorePath, VersionId
from guix_environment.records import LetGo, Visibility
from guix_environment.repository_url import RepositoryUrl

Values = Mapping[str, Any]
"""What a row is made of, by the names of its columns."""

Row = RowMapping | Values
"""A row as the database gave it, or a part of one."""


@lru_cache(maxsize=4096)
def _repository(text: str) -> RepositoryUrl:
    """Return the address TEXT, which environments and builds without number have, and whose check takes the most of all."""
    return RepositoryUrl.parse(text)


def environment(row: Row, groups: Sequence[str], members: Sequence[Member]) -> Environment:
    """Return the environment in ROW, which is shared with GROUPS and MEMBERS."""
    return Environment(
        id=EnvironmentId(row["id"]),
        name=row["name"],
        description=row["description"],
        repository=_repository(row["repository"]),
        ref=row["ref"],
        subdirectory=row["subdirectory"],
        owner=row["owner"],
        visibility=Visibility(row["visibility"]),
        groups=tuple(groups),
        memory=row["memory"],
        cpu=row["cpu"],
        current=VersionId(row["current"]) if row["current"] else None,
        created=row["created"],
        updated=row["updated"],
        members=in_order(members),
    )


def environment_values(value: Environment) -> Values:
    """Return the columns of an environment; its groups and its members have tables of their own."""
    return {
        "id": str(value.id),
        "name": value.name,
        "sorted_as": value.name.casefold(),
        "description": value.description,
        "repository": str(value.repository),
        "ref": value.ref,
        "subdirectory": value.subdirectory,
        "owner": value.owner,
        "visibility": value.visibility.value,
        "memory": value.memory,
        "cpu": value.cpu,
        "current": str(value.current) if value.current else None,
        "created": value.created,
        "updated": value.updated,
    }


def member(row: Row) -> Member:
    """Return the member in ROW."""
    return Member(MemberKind(row["kind"]), row["name"], Role(row["role"]))


def version(row: Row) -> Version:
    """Return the version in ROW."""
    return Version(
        id=VersionId(row["id"]),
        environment=EnvironmentId(row["environment"]),
        build=BuildId(row["build"]),
        commit=Commit(row["commit"]),
        ref=row["ref"],
        subdirectory=row["subdirectory"],
        key=row["key"],
        profile=StorePath(row["profile"]),
        size=row["size"],
        kernels=tuple(row["kernels"]),
        packages=tuple(row["packages"]),
        created=row["created"],
        pinned=row["pinned"],
        let_go=LetGo(row["let_go"], row["let_go_why"]) if row["let_go"] is not None else None,
    )


def version_values(value: Version) -> Values:
    """Return the columns of a version."""
    return {
        "id": str(value.id),
        "environment": str(value.environment),
        "build": str(value.build),
        "commit": str(value.commit),
        "ref": value.ref,
        "subdirectory": value.subdirectory,
        "key": value.key,
        "profile": str(value.profile),
        "size": value.size,
        "kernels": list(value.kernels),
        "packages": list(value.packages),
        "created": value.created,
        "pinned": value.pinned,
        "let_go": value.let_go.since if value.let_go else None,
        "let_go_why": value.let_go.why if value.let_go else "",
    }


def build(row: Row, environments: Sequence[str]) -> Build:
    """Return the build in ROW, which is for ENVIRONMENTS."""
    return Build(
        id=BuildId(row["id"]),
        environments=tuple(EnvironmentId(identifier) for identifier in environments),
        repository=_repository(row["repository"]),
        ref=row["ref"],
        subdirectory=row["subdirectory"],
        commit=Commit(row["commit"]) if row["commit"] else None,
        state=BuildState(row["state"]),
        force=row["force"],
        requested_by=row["requested_by"],
        created=row["created"],
        evaluated_for=tuple(row["evaluated_for"]),
        started=row["started"],
        finished=row["finished"],
        error=row["error"],
        progress=Progress(
            row["phase"], row["done"], row["total"], row["bytes_done"] or 0, row["bytes_total"] or 0, row["item"] or ""
        ),
        service=row["service"],
    )


def build_values(value: Build, request_key: str | None) -> Values:
    """Return the columns of a build."""
    return {
        "id": str(value.id),
        "repository": str(value.repository),
        "ref": value.ref,
        "subdirectory": value.subdirectory,
        "commit": str(value.commit) if value.commit else None,
        "request_key": request_key,
        "state": value.state.value,
        "force": value.force,
        "requested_by": value.requested_by,
        "evaluated_for": list(value.evaluated_for),
        "created": value.created,
        "started": value.started,
        "finished": value.finished,
        "error": dict(value.error) if value.error is not None else None,
        **progress_values(value.progress),
        "service": value.service,
    }


def progress_values(value: Progress) -> Values:
    """Return the columns of a build that say how far it is."""
    return {
        "phase": value.phase[:200],
        "done": value.done,
        "total": value.total,
        "bytes_done": value.bytes_done,
        "bytes_total": value.bytes_total,
        "item": value.item[:200],
    }
