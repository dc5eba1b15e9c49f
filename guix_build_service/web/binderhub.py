"""BinderHub's API, so that its clients and links work here: a repository becomes a session by one stream of events."""

import asyncio
import hmac
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from guix_build_service.model.environments import (
    LARGEST_PAGE,
    EnvironmentDetail,
    EnvironmentFilter,
    NewEnvironment,
    PageRequest,
)
from guix_build_service.providers import Place, read_spec
from guix_build_service.web.auth import IDENTITY_SECONDS
from guix_build_service.web.binderhub_events import (
    AGAIN,
    END,
    Event,
    Phase,
    admits_event_stream,
    as_sent,
    failed,
    of_build,
    told,
)
from guix_build_service.web.events import EventStream, with_pauses
from guix_build_service.web.hub_client import Session
from guix_build_service.web.refusals import InternalFailure, NothingAcceptable, RequestForged
from guix_build_service.web.sessions import SessionStarter, session_of
from guix_environment.errors import Conflict, GuixSpawnerError, InvalidInput, NotFound, Refused, SessionFailure

log = logging.getLogger(__name__)

OPENED = {"urlpath": "urlpath", "labpath": "path", "filepath": "path"}
"""What a link says is to be opened, and which option of a session that is."""

LONGEST_OPENED = 1000
"""Characters of what is to be opened."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link of BinderHub's asks for."""

    provider: str
    spec: str
    """As it stands in the address, quoted."""
    place: Place
    options: Mapping[str, str]
    """Options of the session: what to open first."""

    @property
    def request(self) -> str:
        """The link's own path below the service's prefix."""
        return f"v2/{self.provider}/{self.spec}"


class LinkReader(SessionStarter):
    """A handler at an address that ends with ``PROVIDER/SPEC``."""

    def link(self, provider: str) -> Link:
        """Return what the address asks for.  Raises `UnknownProvider`, `InvalidInput`."""
        # Tornado has unquoted the spec, in which quoted slashes are not what others are.
        spec = self.request.path.partition(f"/{provider}/")[2]
        place = read_spec(provider, spec)
        given = {name: self.get_query_argument(name, "")[:LONGEST_OPENED] for name in OPENED}
        options = {OPENED[name]: value for name, value in given.items() if value}
        if place.opens:
            options.setdefault("path", place.path)
        return Link(provider, spec, place, options)

    async def environment_of(self, link: Link) -> EnvironmentDetail:
        """Return the caller's environment of LINK, with the build of what it lacks; or one that is shared with them.

        The latter where they may add none. Raises what `Manager.add_environment` does.
        """
        place = link.place
        if await self.manager.may_add(self.person):
            folder = "" if place.opens else place.path
            return await self.manager.add_environment(NewEnvironment(str(place.repository), place.ref, folder), self.person)
        wanted = EnvironmentFilter(repository=place.repository, startable=True)
        shared = await self.manager.some_environments(self.person, wanted, PageRequest(LARGEST_PAGE))
        for detail in shared.items:
            if place.ref in {detail.environment.ref, detail.version.commit if detail.version else ""}:
                return detail
        raise Refused(
            "You may not add environments on this hub, and nobody shares this one with you.", hint="Ask its administrator."
        )


class BuildStream(LinkReader, EventStream):
    """A repository on its way to a session, as BinderHub tells of it.

    It is opened with ``GET`` and yet changes something, so that a cookie is not enough: it takes a token, or the XSRF token
    of the service's own pages. A caller who leaves does not end the build, and one who comes back finds it as it is.
    """

    route = "build/{provider}/{spec}"
    head = RequestHandler.head  # none: it would build and start as GET does, and tell nobody

    @property
    def changes_something(self) -> bool:
        """It does, whatever its method says."""
        return True

    async def prepare(self) -> None:
        """Let the request through; raises as `Authenticated.prepare`, and `NothingAcceptable`."""
        await super().prepare()
        if not self.by_token:
            self._check_from_our_page()
        if not admits_event_stream(self.request.headers.get("Accept", "")):
            raise NothingAcceptable("This address answers with an event stream.", hint="Accept text/event-stream.")

    async def get(self, provider: str, spec: str) -> None:  # noqa: ARG002 - the address itself is read
        """Build, and start a session unless ``build_only`` says not to."""
        link = self.link(provider)
        build_only = self.get_query_argument("build_only", "").lower() == "true"
        if not build_only:
            self.user()
        if self.request.headers.get("Last-Event-ID") == END:
            self.set_status(HTTPStatus.NO_CONTENT)
            return
        with self.opened():
            self.set_stream_headers()
            # Whoever has left need not be told anything.
            with suppress(StreamClosedError):
                await self.send(AGAIN)
                async with aclosing(with_pauses(self._happenings(link, build_only=build_only), self.left)) as events:
                    await self._send_all(events)

    async def _send_all(self, events: AsyncIterator[Event | None]) -> None:
        """Send EVENTS, or that it failed and why; then the stream ends."""
        clock = asyncio.get_running_loop().time
        known_at = clock()
        try:
            async for event in events:
                if clock() - known_at > IDENTITY_SECONDS:
                    known_at = clock()
                    await self.identify_again()
                await self.send(as_sent(event) if event else ": keepalive\n\n")
        except GuixSpawnerError as error:
            await self.send(as_sent(failed(error)))
        except StreamClosedError:
            raise
        except Exception:  # the last line of defence: whoever waits is told that there is no more
            log.exception("Failed at %s %r", self.request.method, self.request.path[:300])
            await self.send(as_sent(failed(InternalFailure("Something went wrong in the service.", hint="Try again."))))

    async def _happenings(self, link: Link, *, build_only: bool) -> AsyncGenerator[Event]:
        yield told(Phase.WAITING, f"Looking for {link.place.ref or 'the default branch'} of {link.place.repository}…")
        detail = await self.environment_of(link)
        if detail.build is not None and not detail.build.state.is_final:
            async for event in of_build(self.manager.follow(detail.build.id, self.person)):
                yield event
            detail = await self.manager.environment(detail.environment.id, self.person)
        image = {"imageName": str(detail.environment.id)}
        yield told(
            Phase.BUILT, "The environment is built." if build_only else "The environment is built, starting…", **image
        )
        if build_only:
            yield told(Phase.READY, "Done! Found built image", **image)
            return
        async for event in self._launched(link, detail):
            yield event

    async def _launched(self, link: Link, detail: EnvironmentDetail) -> AsyncIterator[Event]:
        """Yield how a session of the environment in DETAIL starts, unless it runs already, and in the end how to open it."""
        session = session_of(detail.environment, await self.sessions())
        if session is None or session.state == "stopping":
            yield told(Phase.LAUNCHING, "Starting a session…")
            options = {"environment": detail.environment.id, **link.options}
            name = str(await self.start_session(detail, options))
        else:
            name = session.name
        if session is None or not session.ready:
            async for message in self._progress(name):
                yield told(Phase.LAUNCHING, message)
            session = await self._running(name)
        token = await self.shared.hub_client.session_token(self.token, self.user(), name)
        yield self._ready(link, detail, self.absolute(session.url), token)

    async def _progress(self, name: str) -> AsyncIterator[str]:
        """Yield what the spawner says while the session NAME starts.  Raises `SessionFailure`."""
        async with aclosing(self.shared.hub_client.progress(self.token, self.user(), name)) as told_by_hub:
            async for each in told_by_hub:
                message = str(each.get("message") or "")
                if each.get("failed"):
                    raise SessionFailure(message or "The session did not start.", hint="Try again.")
                if each.get("ready"):
                    return
                if message:
                    yield message

    async def _running(self, name: str) -> Session:
        for session in await self.sessions():
            if session.name == name and session.ready:
                return session
        raise Conflict("The session ended before it could be opened.", hint="Try again.")

    def _ready(self, link: Link, detail: EnvironmentDetail, url: str, token: str) -> Event:
        environment, version = detail.environment, detail.version
        commit = version.commit if version is not None else environment.ref
        repository = str(environment.repository)
        return told(
            Phase.READY,
            f"server running at {url}",
            url=url,
            token=token,
            image=str(environment.id),
            repo_url=repository,
            binder_ref_url=repository,
            binder_launch_host=self.absolute(self.shared.settings.prefix),
            binder_request=link.request,
            binder_persistent_request=f"v2/git/{quote(repository, safe='')}/{commit}",
        )

    def absolute(self, address: str) -> str:
        """Return ADDRESS, which may be a path at the hub's host, as a whole one."""
        if not address.startswith("/"):
            return address
        return (self.shared.settings.hub_host or f"{self.request.protocol}://{self.request.host}") + address

    def _check_from_our_page(self) -> None:
        """Raise `RequestForged` unless the XSRF token of our own pages came along, also where the hub asks for none."""
        given = self.get_query_argument("_xsrf", "") or self.request.headers.get("X-Xsrftoken", "")
        if not hmac.compare_digest(given.encode(), self.xsrf_token):
            raise RequestForged(
                "A login alone does not start anything from a link.",
                hint="Send a token of the hub in the Authorization header, or open the link in a browser.",
            )

    def write_refusal(self, refusal: GuixSpawnerError) -> None:
        """Write REFUSAL as the last event of a stream, for those who take one; its ``status_code`` says what it is as well.

        Clients look into a stream alone that begins with 200 (``@jupyterhub/binderhub-client``, and browsers' own), so that
        what is wrong with a link comes so, as it does from BinderHub. Who may not enter gets the status of that.
        """
        if isinstance(refusal, NothingAcceptable):
            super().write_refusal(refusal)
            return
        if isinstance(refusal, InvalidInput | NotFound):
            self.set_status(HTTPStatus.OK)
        self.set_stream_headers()
        self.finish(as_sent(failed(refusal)))
