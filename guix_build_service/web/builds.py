"""The API's builds: how they stand, their logs, and an end to them."""

from collections.abc import AsyncIterator
from http import HTTPStatus

from guix_build_service.web.api import ApiHandler, following, identified, operation, requested
from guix_build_service.web.schemas.builds import BuildAnswer, BuildsAnswer, BuildsQuery
from guix_build_service.web.texts import TextAnswers
from guix_environment.identifiers import BuildId


class Builds(ApiHandler):
    """Builds of all environments that one may see."""

    route = "builds"

    @operation("List builds, newest first", gives=BuildsAnswer, query=BuildsQuery)
    async def get(self) -> None:
        """List."""
        query = self.query(BuildsQuery)
        page = await self.manager.some_builds(self.person, query.wanted(), requested(query))
        found = tuple(BuildAnswer.of(each, self.person) for each in page.items)
        self.give_page(BuildsAnswer(builds=found, next=following(page)), page.following)


class OneBuild(ApiHandler):
    """One build."""

    route = "builds/{build}"

    @operation("Show how a build stands", gives=BuildAnswer)
    async def get(self, build: str) -> None:
        """Show."""
        self.give(BuildAnswer.of(await self.manager.build(identified(BuildId, build), self.person), self.person))


class Cancel(ApiHandler):
    """Where a build is stopped."""

    route = "builds/{build}/cancel"

    @operation("Stop a build; one that is finished stays as it is", gives=BuildAnswer, refuses=(HTTPStatus.CONFLICT,))
    async def post(self, build: str) -> None:
        """Stop."""
        self.give(BuildAnswer.of(await self.manager.cancel(identified(BuildId, build), self.person), self.person))


class Log(TextAnswers, ApiHandler):
    """A build's log as text."""

    route = "builds/{build}/log"

    @operation(
        "Read a build's log, or a range of it",
        statuses=(HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT),
        media_type="text/plain",
    )
    async def get(self, build: str) -> None:
        """Read."""
        identifier = identified(BuildId, build)
        await self.manager.build(identifier, self.person)
        await self.give_text(self._pieces(identifier))

    async def _pieces(self, build: BuildId) -> AsyncIterator[bytes]:
        """Yield the log as people read it, piece by piece."""
        position = 0
        while True:
            piece = await self.manager.log(build, self.person, position)
            if piece.position == position:
                return
            position = piece.position
            yield piece.text.encode()
