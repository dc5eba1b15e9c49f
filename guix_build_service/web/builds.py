"""The API's builds: how they stand, their logs, and an end to them."""

import re
from collections.abc import AsyncIterator
from http import HTTPStatus

from guix_build_service.web.api import ApiHandler, identified, operation
from guix_build_service.web.refusals import RangeRefused
from guix_build_service.web.schemas import BuildAnswer
from guix_environment.identifiers import BuildId

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,15})-(?P<last>[0-9]{0,15})")


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

    @operation("Stop a build; one that is finished stays as it is", gives=BuildAnswer)
    async def post(self, build: str) -> None:
        """Stop."""
        self.give(BuildAnswer.of(await self.manager.cancel(identified(BuildId, build), self.person), self.person))


class Log(ApiHandler):
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
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
        self.set_header("Accept-Ranges", "bytes")
        if "Range" in self.request.headers and (part := await self._part(identifier)) is not None:
            self.set_status(HTTPStatus.PARTIAL_CONTENT)
            self.write(part)
            return
        async for piece in self._pieces(identifier):
            self.write(piece)
            await self.flush()

    async def _pieces(self, build: BuildId) -> AsyncIterator[bytes]:
        """Yield the log as people read it, piece by piece."""
        position = 0
        while True:
            piece = await self.manager.log(build, self.person, position)
            if piece.position == position:
                return
            position = piece.position
            yield piece.text.encode()

    async def _part(self, build: BuildId) -> bytes | None:
        """Return the bytes that the request's range asks for, or None for all of them.

        They are bytes of what is answered without a range; what lies on disk is longer, so that it is read from its start.
        """
        text = b"".join([piece async for piece in self._pieces(build)])
        wanted = wanted_range(self.request.headers["Range"], len(text))
        if wanted is None:
            return None
        self.set_header("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{len(text)}")
        return text[wanted.start : wanted.stop]

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Tell how long the log is when a range lies behind its end (RFC 9110, 15.5.17)."""
        error = kwargs["exc_info"][1] if isinstance(kwargs.get("exc_info"), tuple) else None  # type: ignore[index] # a tuple
        if isinstance(error, RangeRefused):
            self.set_header("Content-Range", f"bytes */{error.details['size']}")
        super().write_error(status_code, **kwargs)


def wanted_range(header: str, size: int) -> range | None:
    """Return the bytes that a Range HEADER asks for of SIZE bytes, or None for all of them.

    One range of bytes is understood; several, or another unit, may be answered with everything (RFC 9110, 14.2). Raises
    `RangeRefused` when it begins behind the end.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or not (match["first"] or match["last"]):
        return None
    if match["first"]:
        first = int(match["first"])
        last = min(int(match["last"]) if match["last"] else size - 1, size - 1)
        if match["last"] and int(match["last"]) < first:
            return None
    else:
        first, last = max(size - int(match["last"]), 0), size - 1
    if first > last:
        raise RangeRefused("The log is not that long.", details={"size": size})
    return range(first, last + 1)
