"""The API's environments: add, see, change, build, roll back, delete."""

from http import HTTPStatus

from guix_build_service.model import BuildState, EnvironmentDetail
from guix_build_service.web.api import ApiHandler, identified, operation
from guix_build_service.web.schemas import (
    BuildRequest,
    EnvironmentAnswer,
    EnvironmentChanges,
    EnvironmentRequest,
    EnvironmentsAnswer,
    ResolvedAnswer,
    ResolveRequest,
    RollbackRequest,
    VersionAnswer,
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

    @operation("List the environments that you may see", gives=EnvironmentsAnswer)
    async def get(self) -> None:
        """List."""
        found = await self.manager.environments(self.person)
        self.give(EnvironmentsAnswer(environments=tuple(EnvironmentAnswer.of(each, self.person) for each in found)))

    @operation(
        "Add an environment, or find the one you have, and build what it lacks",
        takes=EnvironmentRequest,
        gives=EnvironmentAnswer,
        statuses=OK_OR_ACCEPTED,
    )
    async def post(self) -> None:
        """Add."""
        request = self.body(EnvironmentRequest).as_request()
        self.give_environment(await self.manager.add_environment(request, self.person))


class OneEnvironment(ApiHandler):
    """One environment."""

    route = "environments/{environment}"

    @operation("Show an environment", gives=EnvironmentAnswer)
    async def get(self, environment: str) -> None:
        """Show."""
        detail = await self.manager.environment(identified(EnvironmentId, environment), self.person)
        self.give(EnvironmentAnswer.of(detail, self.person))

    @operation("Rename, describe, share or limit an environment", takes=EnvironmentChanges, gives=EnvironmentAnswer)
    async def patch(self, environment: str) -> None:
        """Change."""
        changes = self.body(EnvironmentChanges).as_changes()
        detail = await self.manager.update_environment(identified(EnvironmentId, environment), changes, self.person)
        self.give(EnvironmentAnswer.of(detail, self.person))

    @operation("Forget an environment; nobody's files are touched", statuses=(HTTPStatus.NO_CONTENT,))
    async def delete(self, environment: str) -> None:
        """Delete."""
        await self.manager.delete_environment(identified(EnvironmentId, environment), self.person)
        self.set_status(HTTPStatus.NO_CONTENT)


class Versions(ApiHandler):
    """An environment's versions."""

    route = "environments/{environment}/versions"

    @operation("List an environment's versions, newest first", gives=VersionsAnswer)
    async def get(self, environment: str) -> None:
        """List."""
        identifier = identified(EnvironmentId, environment)
        detail = await self.manager.environment(identifier, self.person)
        versions = await self.manager.versions(identifier, self.person)
        self.give(
            VersionsAnswer(
                versions=tuple(VersionAnswer.of(version) for version in versions), current=detail.environment.current
            )
        )


class EnvironmentBuilds(_EnvironmentHandler):
    """Where an environment is built anew."""

    route = "environments/{environment}/builds"

    @operation(
        "Build what the environment's ref stands for now",
        takes=BuildRequest,
        gives=EnvironmentAnswer,
        statuses=OK_OR_ACCEPTED,
    )
    async def post(self, environment: str) -> None:
        """Build."""
        force = self.body(BuildRequest).force
        identifier = identified(EnvironmentId, environment)
        self.give_environment(await self.manager.start_build(identifier, self.person, force=force))


class Rollback(ApiHandler):
    """Where an environment goes back to an earlier version."""

    route = "environments/{environment}/rollback"

    @operation("Make an earlier version the current one", takes=RollbackRequest, gives=EnvironmentAnswer)
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
        self.give(ResolvedAnswer.of(await self.manager.resolve(request.repo, request.ref, self.person)))
