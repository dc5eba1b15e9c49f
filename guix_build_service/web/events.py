"""A build as it happens: an event stream that a browser picks up where it left off."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from functools import lru_cache
from http import HTTPStatus
from typing import ClassVar, TypeVar

from pydantic import BaseModel
from tornado.iostream import StreamClosedError

from guix_build_service.model.environments import Build, BuildChanged, BuildEvent, LogText
from guix_build_service.web.api import ApiHandler, identified, operation
from guix_build_service.web.auth import IDENTITY_SECONDS, Shared
from guix_build_service.web.refusals import TooManyStreams
from guix_build_service.web.schemas.builds import BuildAnswer, LogEvent
from guix_environment.errors import GuixSpawnerError
from guix_environment.identifiers import BuildId

KEEP_ALIVE_SECONDS = 15.0
"""A comment is sent after that much silence, so that proxies keep the connection and we notice who has left."""

_EVENT_ID = re.compile(r"(?P<position>[0-9]{1,15})(?P<end>;end)?")


_Event = TypeVar("_Event")


class EventStream(ApiHandler):
    """What answers with server-sent events for as long as somebody listens."""

    _open: ClassVar[Counter[str]] = Counter()

    def initialize(self, shared: Shared) -> None:
        """Be ready for a visitor who leaves."""
        super().initialize(shared)
        self.left = asyncio.Event()

    def on_connection_close(self) -> None:
        """Stop following for a visitor who has left."""
        super().on_connection_close()
        self.left.set()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Count one stream more of this person while the context lasts.  Raises `TooManyStreams`."""
        if self._open[self.person.name] >= self.shared.settings.limits.streams:
            raise TooManyStreams("You follow too many builds at once.", hint="Close some of their pages.")
        self._open[self.person.name] += 1
        try:
            yield
        finally:
            self._open[self.person.name] -= 1

    def set_stream_headers(self) -> None:
        """Have the answer be a stream that nothing on its way holds back."""
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")  # nginx would hold events back

    async def send(self, text: str | bytes) -> None:
        """Send TEXT, one or more whole events, now, and return once the connection took it."""
        self.write(text)
        await self.flush()


class Events(EventStream):
    """A build's states, progress and log as server-sent events.

    ``build`` events hold the build, ``log`` events hold text. An event's ``id`` begins with its position in the log; whoever
    sends it back in ``Last-Event-ID``, or at first as the query ``position``, goes on from there. A finished build is always
    the last event, and its ``id`` says so: whoever sends that back gets 204, upon which a browser asks no more.
    """

    route = "builds/{build}/events"

    @operation(
        "Follow a build",
        gives=BuildAnswer,
        statuses=(HTTPStatus.OK, HTTPStatus.NO_CONTENT),
        media_type="text/event-stream",
    )
    async def get(self, build: str) -> None:
        """Follow."""
        identifier = identified(BuildId, build)
        await self.manager.build(identifier, self.person)
        last = _EVENT_ID.fullmatch(self.request.headers.get("Last-Event-ID") or self.get_query_argument("position", ""))
        if last is not None and last["end"]:
            self.set_status(HTTPStatus.NO_CONTENT)
            return
        with self.opened():
            await self._stream(identifier, int(last["position"]) if last else 0)

    async def head(self, build: str) -> None:
        """Answer as to GET, without following anything."""
        await self.manager.build(identified(BuildId, build), self.person)
        self.set_stream_headers()

    async def _stream(self, build: BuildId, position: int) -> None:
        self.set_stream_headers()
        clock = asyncio.get_running_loop().time
        known_at = clock()
        # A visitor who has left, or a right that has ended: either way there is nobody left to tell.
        with suppress(StreamClosedError, GuixSpawnerError):
            await self.send("retry: 2000\n\n")
            last: BuildChanged | None = None
            async with aclosing(with_pauses(self.manager.follow(build, self.person, position), self.left)) as events:
                async for event in events:
                    if clock() - known_at > IDENTITY_SECONDS:
                        known_at = clock()
                        await self.identify_again()
                        await self.manager.build(build, self.person)
                    if isinstance(event, BuildChanged) and event.build.state.is_final:
                        last = event  # the rest of its log comes first
                        continue
                    position = event.position if event else position
                    await self.send(self._event(event, str(position)) if event else b": still here\n\n")
            if last is not None:
                await self.send(self._event(last, f"{position};end"))

    def _event(self, event: BuildEvent, identifier: str) -> bytes:
        if isinstance(event, LogText):
            return _log_event(event)
        build = event.build
        return _build_event(build, identifier, whose=self.person.admin or build.requested_by == self.person.name)


@lru_cache(maxsize=16)
def _log_event(piece: LogText) -> bytes:
    """Return PIECE as it is sent: made once, however many watch, and held in memory once, however slow they are."""
    return _as_sent(str(piece.position), "log", LogEvent(text=piece.text))


@lru_cache(maxsize=16)
def _build_event(build: Build, identifier: str, *, whose: bool) -> bytes:
    """Return BUILD as it is sent to all who are told WHOSE it is, or to all others."""
    return _as_sent(identifier, "build", BuildAnswer.telling(build, whose=whose))


def _as_sent(identifier: str, name: str, data: BaseModel) -> bytes:
    return f"id: {identifier}\nevent: {name}\ndata: {data.model_dump_json()}\n\n".encode()


async def with_pauses(events: AsyncIterator[_Event], ended: asyncio.Event) -> AsyncGenerator[_Event | None]:
    """Yield EVENTS, and None after each `KEEP_ALIVE_SECONDS` without one, until they or the visit have ENDED.

    Close it (`contextlib.aclosing`), and it ends what it waits for.
    """
    leaving = asyncio.ensure_future(ended.wait())
    following = asyncio.ensure_future(anext(events))
    try:
        while True:
            await asyncio.wait({following, leaving}, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                return
            if not following.done():
                yield None
                continue
            try:
                event = following.result()
            except StopAsyncIteration:
                return
            yield event
            following = asyncio.ensure_future(anext(events))
    finally:
        leaving.cancel()
        following.cancel()
        await asyncio.gather(leaving, following, return_exceptions=True)
