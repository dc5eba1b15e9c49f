"""The API's environments: add, see, change, build, roll back, delete."""

import asyncio
from datetime import datetime
from http import HTTPStatus

from guix_build_service.model.environments import BuildFilter, BuildState, EnvironmentDetail
from guix_build_service.providers import read
from guix_build_service.web.api import ApiHandler, following, identified, operation, requested
from guix_build_service.web.schemas.builds import BuildAnswer, BuildRequest, BuildsAnswer
from guix_build_service.web.schemas.environments import (
    EnvironmentAnswer,
    EnvironmentChanges,
    EnvironmentRequest,
    EnvironmentsAnswer,
    EnvironmentsQuery,
    ResolvedAnswer,
    ResolveRequest,
)
from guix_build_service.web.schemas.fields import PageQuery
from guix_build_service.web.schemas.versions import (
    ExportAnswer,
    RollbackRequest,
    VersionAnswer,
    VersionChanges,
    VersionsAnswer,
)
from guix_environment.identifiers import EnvironmentId, VersionId

OK_OR_ACCEPTED = (HTTPStatus.OK, HTTPStatus.ACCEPTED)


class _EnvironmentHandler(ApiHandler):
    """What answers with one environment."""

    def give_environment(self, detail: EnvironmentDetail) -> None:
        """Answer with DETAIL and its address: 200 when it is ready, 202 while it is being made."""
        self.set_header("Location", self.address(f"environments/{detail.environment.id}"))
        ready = detail.state is BuildState.READY
        self.give(EnvironmentAnswer.of(detail, self.person), HTTPStatus.OK if ready else HTTPStatus.ACCEPTED)


class Environments(_EnvironmentHandler):
    """All environments that one may see."""

    route = "environments"

    @operation("List the environments that you may see", gives=EnvironmentsAnswer, query=EnvironmentsQuery)
    async def get(self) -> None:
        """List."""
        query = self.query(EnvironmentsQuery)
        page = await self.manager.some_environments(self.person, query.wanted(), requested(query))
        found = tuple(EnvironmentAnswer.of(each, self.person) for each in page.items)
        self.give_page(EnvironmentsAnswer(environments=found, next=following(page)), page.following)

    @operation(
        "Add an environment, or find the one you have, and build what it lacks",
        takes=EnvironmentRequest,
        gives=EnvironmentAnswer,
        statuses=OK_OR_ACCEPTED,
    )
    async def post(self) -> None:
        """Add."""
        body = self.body(EnvironmentRequest)
        opener = await asyncio.to_thread(body.credentials.opener) if body.credentials is not None else None
        self.give_environment(await self.manager.add_environment(body.as_request(), self.person, opener))


class OneEnvironment(ApiHandler):
    """One environment."""

    route = "environments/{environment}"

    @operation("Show an environment", gives=EnvironmentAnswer)
    async def get(self, environment: str) -> None:
        """Show."""
        detail = await self.manager.environment(identified(EnvironmentId, environment), self.person)
        self.give(EnvironmentAnswer.of(detail, self.person))

    @operation(
        "Rename, describe, share or limit an environment", takes=EnvironmentChanges, gives=EnvironmentAnswer, tagged=True
    )
    async def patch(self, environment: str) -> None:
        """Change."""
        identifier, changes = identified(EnvironmentId, environment), self.body(EnvironmentChanges).as_changes()
        seen = await self._seen(identifier)
        self.give(
            EnvironmentAnswer.of(await self.manager.update_environment(identifier, changes, self.person, seen), self.person)
        )

    @operation("Forget an environment; nobody's files are touched", statuses=(HTTPStatus.NO_CONTENT,), tagged=True)
    async def delete(self, environment: str) -> None:
        """Delete."""
        identifier = identified(EnvironmentId, environment)
        await self.manager.delete_environment(identifier, self.person, await self._seen(identifier))
        self.set_status(HTTPStatus.NO_CONTENT)

    async def _seen(self, environment: EnvironmentId) -> datetime | None:
        """Return of when the caller knows the environment, where they want it touched only as they know it."""
        detail = await self.manager.environment(environment, self.person)
        return detail.environment.updated if self.check_match(EnvironmentAnswer.of(detail, self.person)) else None


class Versions(ApiHandler):
    """An environment's versions."""

    route = "environments/{environment}/versions"

    @operation("List an environment's versions, newest first", gives=VersionsAnswer, query=PageQuery)
    async def get(self, environment: str) -> None:
        """List."""
        identifier = identified(EnvironmentId, environment)
        detail = await self.manager.environment(identifier, self.person)
        page = await self.manager.some_versions(identifier, self.person, requested(self.query(PageQuery)))
        found = tuple(VersionAnswer.of(version) for version in page.items)
        self.give_page(
            VersionsAnswer(versions=found, current=detail.environment.current, next=following(page)), page.following
        )


class OneVersion(ApiHandler):
    """One version of an environment."""

    route = "environments/{environment}/versions/{version}"

    @operation("Show one version of an environment", gives=VersionAnswer)
    async def get(self, environment: str, version: str) -> None:
        """Show."""
        identifiers = identified(EnvironmentId, environment), identified(VersionId, version)
        self.give(VersionAnswer.of(await self.manager.version(*identifiers, self.person)))

    @operation(
        "Pin a version, so that its profile is kept, or unpin it", takes=VersionChanges, gives=VersionAnswer, tagged=True
    )
    async def patch(self, environment: str, version: str) -> None:
        """Pin or unpin."""
        identifiers = identified(EnvironmentId, environment), identified(VersionId, version)
        pinned = self.body(VersionChanges).pinned
        await self._check_seen(*identifiers)
        self.give(VersionAnswer.of(await self.manager.pin_version(*identifiers, self.person, pinned=pinned)))

    @operation(
        "Forget a version that is not the current one",
        statuses=(HTTPStatus.NO_CONTENT,),
        refuses=(HTTPStatus.CONFLICT,),
        tagged=True,
    )
    async def delete(self, environment: str, version: str) -> None:
        """Delete."""
        identifiers = identified(EnvironmentId, environment), identified(VersionId, version)
        await self._check_seen(*identifiers)
        await self.manager.delete_version(*identifiers, self.person)
        self.set_status(HTTPStatus.NO_CONTENT)

    async def _check_seen(self, environment: EnvironmentId, version: VersionId) -> None:
        """Return if the caller knows the version as it is, or does not mind.  Raises `ChangedMeanwhile`."""
        self.check_match(VersionAnswer.of(await self.manager.version(environment, version, self.person)))


class VersionExport(ApiHandler):
    """What makes a version again elsewhere."""

    route = "environments/{environment}/versions/{version}/export"

    @operation("Get the files and the command that make a version again on another machine", gives=ExportAnswer)
    async def get(self, environment: str, version: str) -> None:
        """Export."""
        identifiers = identified(EnvironmentId, environment), identified(VersionId, version)
        self.give(ExportAnswer.of(await self.manager.export(*identifiers, self.person)))


class EnvironmentBuilds(_EnvironmentHandler):
    """An environment's builds, and where it is built anew."""

    route = "environments/{environment}/builds"

    @operation("List an environment's builds, newest first", gives=BuildsAnswer, query=PageQuery)
    async def get(self, environment: str) -> None:
        """List."""
        wanted = BuildFilter(environment=identified(EnvironmentId, environment))
        page = await self.manager.some_builds(self.person, wanted, requested(self.query(PageQuery)))
        found = tuple(BuildAnswer.of(each, self.person) for each in page.items)
        self.give_page(BuildsAnswer(builds=found, next=following(page)), page.following)

    @operation(
        "Build what the environment's ref stands for now",
        takes=BuildRequest,
        gives=EnvironmentAnswer,
        statuses=OK_OR_ACCEPTED,
    )
    async def post(self, environment: str) -> None:
        """Build."""
        request = self.body(BuildRequest)
        identifier = identified(EnvironmentId, environment)
        detail = await self.manager.start_build(identifier, self.person, force=request.force, version=request.wanted())
        self.give_environment(detail)


class Rollback(ApiHandler):
    """Where an environment goes back to an earlier version."""

    route = "environments/{environment}/rollback"

    @operation(
        "Make an earlier version the current one",
        takes=RollbackRequest,
        gives=EnvironmentAnswer,
        refuses=(HTTPStatus.CONFLICT,),
    )
    async def post(self, environment: str) -> None:
        """Go back."""
        wanted = self.body(RollbackRequest).version
        version = VersionId(wanted) if wanted is not None else None
        detail = await self.manager.rollback(identified(EnvironmentId, environment), version, self.person)
        self.give(EnvironmentAnswer.of(detail, self.person))


class Resolve(ApiHandler):
    """Where one sees what would be built."""

    route = "resolve"

    @operation("See which commit would be built; builds nothing", takes=ResolveRequest, gives=ResolvedAnswer)
    async def post(self) -> None:
        """Resolve."""
        request = self.body(ResolveRequest)
        place, resolved = await self.manager.look_up(read(request.repo), request.ref, request.subdir, self.person)
        self.give(ResolvedAnswer.of(resolved, place))
