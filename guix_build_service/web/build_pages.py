"""The page of a build, which shows how it goes on, and the form that stops it."""

from dataclasses import dataclass

from guix_build_service.model.environments import Build, EnvironmentDetail
from guix_build_service.web.api import identified
from guix_build_service.web.environment_pages import EnvironmentPages
from guix_environment.errors import NotFound
from guix_environment.identifiers import BuildId

LINES_SHOWN = 2000
"""The last lines of a log that a page shows; all of them are behind the link to the raw text."""

LARGEST_NUMBERED = 4 * 1024 * 1024
"""Bytes of a log beyond which its lines are not counted, as that means to read it all."""

TAIL = 128 * 1024
"""Bytes of such a log that are shown."""


@dataclass(frozen=True, slots=True)
class LogView:
    """The end of a log, as a page shows it."""

    lines: tuple[str, ...]
    first: int
    """The number of the first of these lines; 0 when they were not counted."""
    position: int
    """Where the log goes on."""
    whole: bool
    """Whether these are all lines so far."""
    open: bool
    """Whether the last line has no end yet."""


class BuildPage(EnvironmentPages):
    """One build, as it happens."""

    route = "builds/{build}"

    async def get(self, build: str) -> None:
        """Show."""
        found = await self.manager.build(identified(BuildId, build), self.person)
        detail = await self._environment(found)
        self.render_page(
            "build.html",
            build=found,
            card=self.as_card(detail, await self.running_sessions()) if detail else None,
            log=await self._log_view(found.id),
        )

    async def _log_view(self, build: BuildId) -> LogView:
        size = await self.manager.log_size(build, self.person)
        start = position = size - TAIL if size > LARGEST_NUMBERED else 0
        text = ""
        while True:
            piece = await self.manager.log(build, self.person, position)
            if piece.position == position:
                break
            position, text = piece.position, text + piece.text
        lines = text.split("\n")
        is_open = bool(lines[-1])
        if not is_open:
            lines.pop()
        if start:
            return LogView(tuple(lines[1:][-LINES_SHOWN:]), 0, position, whole=False, open=is_open)
        first = max(0, len(lines) - LINES_SHOWN) + 1
        return LogView(tuple(lines[-LINES_SHOWN:]), first, position, whole=first == 1, open=is_open)

    async def _environment(self, build: Build) -> EnvironmentDetail | None:
        """Return the first of the environments that BUILD is for and the visitor may see; None when they were deleted."""
        for environment in build.environments:
            try:
                return await self.manager.environment(environment, self.person)
            except NotFound:
                continue
        return None


class CancelForm(EnvironmentPages):
    """Where a build is stopped."""

    route = "builds/{build}/cancel"

    async def post(self, build: str) -> None:
        """Stop it."""
        found = await self.manager.cancel(identified(BuildId, build), self.person)
        self.go(f"builds/{found.id}")
