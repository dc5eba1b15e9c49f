"""The API's sessions: the hub's named servers, started in an environment with the caller's own token."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from urllib.parse import quote

from guix_build_service.manager.keeping import check_kept
from guix_build_service.model.environments import Environment, EnvironmentDetail, EnvironmentFilter, Version
from guix_build_service.web.api import ApiHandler, following, identified, operation, requested
from guix_build_service.web.auth import Authenticated
from guix_build_service.web.hub_client import Session, SessionName, session_name
from guix_build_service.web.schemas.fields import PageQuery
from guix_build_service.web.schemas.sessions import (
    GalleryAnswer,
    GalleryEntry,
    SessionAnswer,
    SessionOption,
    SessionOptionsAnswer,
    SessionRequest,
    SessionsAnswer,
)
from guix_build_service.web.texts import TextAnswers
from guix_environment.errors import Conflict, NotFound, Refused
from guix_environment.identifiers import EnvironmentId, VersionId
from guix_environment.records import Visibility


class SessionStarter(Authenticated):
    """A handler that asks the hub for the caller's sessions."""

    async def sessions(self) -> list[Session]:
        """Return the caller's sessions, stopped ones included."""
        return await self.shared.hub_client.sessions(self.token, self.user())

    async def start_session(self, detail: EnvironmentDetail, options: Mapping[str, object], name: str = "") -> SessionName:
        """Start a session of the environment in DETAIL, called NAME or as its repository.

        Raises `Conflict` when no version is ready yet, `RepositoryWithdrawn`, and what the hub client raises.
        """
        environment = detail.environment
        if detail.version is None:
            raise Conflict("This environment is not ready yet.", hint="Wait for its build to finish, then start it.")
        version = str(options["version"]) if options.get("version") else None
        check_kept(environment, await self._version(detail, version))
        chosen = SessionName(name) if name else session_name(environment.id, environment.repository.name)
        user = self.user()
        await self.manager.check_still_readable(environment, self.person)
        await self.shared.hub_client.start(self.token, user, chosen, title=environment.name, options=options)
        await self.manager.session_started(environment, chosen, version, self.person)
        return chosen

    async def _version(self, detail: EnvironmentDetail, version: str | None) -> Version:
        """Return the VERSION of the environment in DETAIL, which is ready; None stands for the current one."""
        if version is None:
            assert detail.version is not None
            return detail.version
        return await self.manager.version(detail.environment.id, VersionId(version), self.person)

    async def stop_session(self, name: str) -> bool:
        """Stop the caller's session NAME; return whether it is gone, or else still stopping."""
        return await self.shared.hub_client.stop(self.token, self.user(), name)

    def pending_url(self, name: str) -> str:
        """Return the hub's page that shows how the start of session NAME goes on, and then leads to it."""
        path = "/".join(quote(part, safe="@~") for part in (self.user(), name) if part)
        return f"{self.shared.settings.hub}spawn-pending/{path}"

    def user(self) -> str:
        """Return the caller's name at the hub.  Raises `Refused` for services and local accounts, which have no sessions."""
        if "/" in self.person.name:
            raise Refused("Only users of the hub have sessions.", hint="Use the token of a user.")
        return self.person.name


class _SessionsApi(SessionStarter, ApiHandler):
    """What answers with sessions."""

    def answer(self, session: Session) -> SessionAnswer:
        """Return SESSION as the API shows it."""
        return SessionAnswer.of(session, self.pending_url(session.name))

    async def session(self, name: str) -> Session:
        """Return the caller's session NAME.  Raises `NotFound`."""
        for session in await self.sessions():
            if session.name == name:
                return session
        raise NotFound("There is no such session, or not one of yours.")


class Sessions(_SessionsApi):
    """The caller's sessions."""

    route = "sessions"

    @operation("List your sessions", gives=SessionsAnswer)
    async def get(self) -> None:
        """List."""
        self.give(SessionsAnswer(sessions=tuple(self.answer(session) for session in await self.sessions())))

    @operation(
        "Start a session in an environment",
        takes=SessionRequest,
        gives=SessionAnswer,
        statuses=(HTTPStatus.CREATED, HTTPStatus.ACCEPTED),
        refuses=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def post(self) -> None:
        """Start."""
        request = self.body(SessionRequest)
        if request.version is not None:
            VersionId(request.version)
        detail = await self.manager.environment(EnvironmentId(request.environment), self.person)
        name = await self.start_session(detail, request.options(), request.name or "")
        listed = [session for session in await self.sessions() if session.name == name]
        session = listed[0] if listed else Session.starting(name, detail.environment.id)
        self.set_header("Location", self.address(f"sessions/{name}"))
        self.give(self.answer(session), HTTPStatus.CREATED if session.ready else HTTPStatus.ACCEPTED)


class OneSession(_SessionsApi):
    """One of the caller's sessions."""

    route = "sessions/{name}"

    @operation("Show one of your sessions", gives=SessionAnswer)
    async def get(self, name: str) -> None:
        """Show."""
        self.give(self.answer(await self.session(identified(SessionName, name))))

    @operation(
        "Stop one of your sessions; its files stay",
        statuses=(HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED),
        refuses=(HTTPStatus.CONFLICT,),
    )
    async def delete(self, name: str) -> None:
        """Stop."""
        gone = await self.stop_session(identified(SessionName, name))
        self.set_status(HTTPStatus.NO_CONTENT if gone else HTTPStatus.ACCEPTED)


class SessionLogReader(TextAnswers, SessionStarter):
    """A handler that shows the caller what one of their sessions printed."""

    async def give_log(self, name: str) -> None:
        """Answer with the log of the caller's session NAME; ``-``, which is no name, is the one without.

        Raises `NotFound`.
        """
        text = await self.manager.session_log(self.user(), "" if name == "-" else name)
        await self.give_text(_one(text.encode()))


class SessionLog(SessionLogReader, ApiHandler):
    """What one of the caller's sessions printed."""

    route = "sessions/{name}/log"

    @operation(
        "Read what one of your sessions printed since it was started last, or a range of it; - for the one without a name",
        statuses=(HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT),
        media_type="text/plain",
    )
    async def get(self, name: str) -> None:
        """Read."""
        await self.give_log(name)


class SessionOptions(ApiHandler):
    """What sessions can be started with."""

    route = "session-options"

    @operation("List the environments that you can start a session in", gives=SessionOptionsAnswer, query=PageQuery)
    async def get(self) -> None:
        """List."""
        page = await self.manager.some_environments(
            self.person, EnvironmentFilter(startable=True), requested(self.query(PageQuery))
        )
        found = tuple(SessionOption.of(detail, detail.version) for detail in page.items if detail.version is not None)
        self.give_page(SessionOptionsAnswer(environments=found, next=following(page)), page.following)


class Gallery(ApiHandler):
    """What everyone may start."""

    route = "gallery"

    @operation("List the environments that everyone may start", gives=GalleryAnswer, query=PageQuery)
    async def get(self) -> None:
        """List."""
        wanted = EnvironmentFilter(visibility=Visibility.EVERYONE, startable=True)
        page = await self.manager.some_environments(self.person, wanted, requested(self.query(PageQuery)))
        found = tuple(self._entry(detail, detail.version) for detail in page.items if detail.version is not None)
        self.give_page(GalleryAnswer(environments=found, next=following(page)), page.following)

    def _entry(self, detail: EnvironmentDetail, version: Version) -> GalleryEntry:
        environment = detail.environment
        return GalleryEntry(
            **SessionOption.of(detail, version).model_dump(),
            description=environment.description,
            owner=environment.owner,
            link=f"{self.shared.settings.prefix}environments/{environment.id}",
        )


async def _one(text: bytes) -> AsyncIterator[bytes]:
    yield text


def session_of(environment: Environment, sessions: list[Session]) -> Session | None:
    """Return the session of ENVIRONMENT among SESSIONS that is most worth showing, or None when none of them runs."""
    states = ("running", "starting", "stopping")
    of_it = [session for session in sessions if session.environment == environment.id and session.state in states]
    return min(of_it, key=lambda session: states.index(session.state), default=None)
