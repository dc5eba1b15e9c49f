"""Sessions at the hub, started and stopped with the token of the person they belong to, never with the service's own.

The hub's REST API is the same in JupyterHub 5 and 6 as far as it is used here (``jupyterhub/apihandlers/users.py``), but for
the body that starts a server: 6 also takes a name for people, and says so in ``GET /hub/api/``.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import HTTPTimeoutError

from guix_environment.errors import Conflict, GuixSpawnerError, InvalidInput, LimitReached, NotFound, Refused, SessionFailure
from guix_environment.identifiers import CheckedString, EnvironmentId

ANSWER_SECONDS = 30.0
"""How long the hub may take for an answer."""

START_SECONDS = 2.0
"""How long we wait for a session to start, or to be refused; the hub goes on without us, and shows how on its own page."""


PROGRESS_SECONDS = 3600.0
"""How long the start of a session is followed at most; the hub itself gives up long before."""

TOKEN_SECONDS = 24 * 3600
"""How long a token for one session can be used."""


class HubUnavailable(GuixSpawnerError):
    """The hub does not answer, or not with what it should."""

    code, status = "hub-unavailable", 503


class HubSlow(HubUnavailable):
    """The hub was asked, and its answer did not come in time; what was asked for may still happen."""


class SessionName(CheckedString):
    """The name of a named server, as JupyterHub 6 allows it (``jupyterhub.utils.is_valid_servername``)."""

    __slots__ = ()
    form = re.compile(r"(?!.*--)[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?")
    noun = "the name of a session"


def session_name(environment: EnvironmentId, repository: str) -> SessionName:
    """Return the name of the session of ENVIRONMENT, recognisable by its REPOSITORY's name and equal to no other's.

    >>> session_name(EnvironmentId("eabcdefghijk"), "Plots & more")
    'plots-more-eabcdefghijk'
    """
    words = re.sub(r"[^a-z0-9]+", "-", repository.lower()).lstrip("-0123456789")[:17].strip("-")
    return SessionName(f"{words}-{environment}" if words else environment)


@dataclass(frozen=True, slots=True)
class Session:
    """A person's server at the hub."""

    name: str
    """Its name; empty for the person's default server."""
    title: str
    """What people call it."""
    environment: str
    """The id of the environment it was started in, or empty."""
    ready: bool
    pending: str
    """``spawn`` or ``stop`` while it starts or stops, else empty."""
    url: str
    """Its address, below the hub's host or whole."""
    started: str
    """When it was started, as ISO 8601, or empty."""
    last_activity: str
    """When it was last used, as ISO 8601, or empty."""

    @classmethod
    def starting(cls, name: str, environment: str) -> Self:
        """Return a session NAME that was asked for, and that the hub does not list yet."""
        return cls(name, name, environment, ready=False, pending="spawn", url="", started="", last_activity="")

    @property
    def state(self) -> str:
        """``running``, ``starting``, ``stopping`` or ``stopped``."""
        if self.pending:
            return "stopping" if self.pending == "stop" else "starting"
        return "running" if self.ready else "stopped"


class HubClient:
    """The few requests to the hub that sessions need.  Each raises `HubUnavailable` when the hub does not answer."""

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url.rstrip("/")
        self._takes_titles: bool | None = None

    async def person(self, token: str, user: str) -> Mapping[str, object]:
        """Return all that TOKEN may know of USER, such as their authentication state.  Raises `NotFound`, `Refused`."""
        return _mapping(_json(await self._fetch("GET", f"users/{_segment(user)}", token)))

    async def scopes(self, token: str) -> frozenset[str]:
        """Return all that TOKEN lets do.  Raises `Refused` for one that the hub does not know."""
        found = _mapping(_json(await self._fetch("GET", "user", token))).get("scopes")
        return frozenset(str(scope) for scope in found) if isinstance(found, list) else frozenset()

    async def sessions(self, token: str, user: str) -> list[Session]:
        """Return USER's sessions, also stopped ones of environments.  Raises `Refused` when TOKEN may not see them."""
        answer = await self._fetch("GET", f"users/{_segment(user)}?include_stopped_servers", token)
        servers = _mapping(_mapping(_json(answer)).get("servers"))
        found = [_session(_mapping(server)) for server in servers.values()]
        # The hub also names a default server that was never started.
        return [session for session in found if session.environment or session.state != "stopped"]

    async def start(self, token: str, user: str, name: SessionName, *, title: str, options: Mapping[str, object]) -> bool:
        """Start USER's server NAME with OPTIONS; return whether it is ready, or else still starting.

        Returns after `START_SECONDS` at the latest. Raises `Conflict` when it runs already, `LimitReached` when the person
        or the hub has enough of them, `Refused` when TOKEN may not start it, `SessionFailure` when it failed at once.
        """
        body = {"display_name": title, "user_options": dict(options)} if await self._has_titles() else dict(options)
        path = f"users/{_segment(user)}/servers/{_segment(name)}"
        try:
            answer = await self._fetch("POST", path, token, body, seconds=START_SECONDS)
        except HubSlow:
            return False
        return answer.code == HTTPStatus.CREATED

    async def stop(self, token: str, user: str, name: str) -> bool:
        """Stop USER's server NAME; return whether it is gone, or else still stopping.  Raises `NotFound`, `Refused`."""
        path = f"users/{_segment(user)}/servers/{_segment(name)}" if name else f"users/{_segment(user)}/server"
        answer = await self._fetch("DELETE", path, token)
        return answer.code == HTTPStatus.NO_CONTENT

    async def progress(self, token: str, user: str, name: str) -> AsyncGenerator[Mapping[str, object]]:
        """Yield what the hub tells while USER's server NAME starts, the last time when it is ``ready`` or has ``failed``.

        Close it (`contextlib.aclosing`), and the hub is asked no more. Raises `NotFound`, `Refused`.
        """
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        request = HTTPRequest(
            f"{self._api_url}/users/{_segment(user)}/servers/{_segment(name)}/progress",
            headers={"Authorization": f"token {token}", "Accept": "text/event-stream"},
            request_timeout=PROGRESS_SECONDS,
            streaming_callback=pieces.put_nowait,
        )
        # One of its own: the others, which are few, are there for short questions.
        client = AsyncHTTPClient(force_instance=True, max_clients=1)
        asking = asyncio.ensure_future(client.fetch(request, raise_error=False))
        asking.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            rest = b""
            while (piece := await pieces.get()) is not None:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"data:"):
                        yield _mapping(_loaded(line.removeprefix(b"data:")))
            _check_told(asking)
        finally:
            asking.cancel()
            client.close()
            await asyncio.gather(asking, return_exceptions=True)

    async def session_token(self, token: str, user: str, name: str) -> str:
        """Return a new token that opens USER's session NAME and nothing else; none where TOKEN may not make it.

        It can be used for `TOKEN_SECONDS`.
        """
        body = {
            "note": f"Opens the session {name}",
            "expires_in": TOKEN_SECONDS,
            "scopes": [f"access:servers!server={user}/{name}"],
        }
        try:
            answer = await self._fetch("POST", f"users/{_segment(user)}/tokens", token, body)
        except (Refused, NotFound, InvalidInput):
            return ""
        return str(_mapping(_json(answer)).get("token") or "")

    async def _has_titles(self) -> bool:
        """Tell whether the hub is of release 6 or later; asked once."""
        if self._takes_titles is None:
            version = str(_mapping(_json(await self._fetch("GET", "", ""))).get("version", ""))
            self._takes_titles = int(version.partition(".")[0] or 0) >= 6
        return self._takes_titles

    async def _fetch(
        self,
        method: str,
        path: str,
        token: str,
        body: Mapping[str, object] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
    ) -> HTTPResponse:
        request = HTTPRequest(
            f"{self._api_url}/{path}",
            method=method,
            headers={"Content-Type": "application/json", **({"Authorization": f"token {token}"} if token else {})},
            body=json.dumps(body) if body is not None else None,
            allow_nonstandard_methods=True,
            request_timeout=seconds,
            follow_redirects=False,
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except HTTPTimeoutError as error:
            raise HubSlow("The hub does not answer in time.", hint="Try again in a minute.") from error
        except (OSError, HTTPClientError) as error:
            raise HubUnavailable("The hub does not answer.", hint="Try again in a minute.") from error
        if not HTTPStatus.OK <= answer.code < HTTPStatus.MULTIPLE_CHOICES:
            raise _failure(answer)
        return answer


def _check_told(asking: "asyncio.Future[HTTPResponse]") -> None:
    """Raise what the hub's answer means to the person, where it told nothing."""
    try:
        answer = asking.result()
    except (OSError, HTTPClientError) as error:
        raise HubUnavailable("The hub does not answer.", hint="Try again in a minute.") from error
    if answer.code != HTTPStatus.OK:
        raise _failure(answer)


def _failure(answer: HTTPResponse) -> GuixSpawnerError:
    """Return what the hub's refusal ANSWER means to the person."""
    message = _message(answer)
    if answer.code == HTTPStatus.TOO_MANY_REQUESTS:
        wait = answer.headers.get("Retry-After", "60")
        return LimitReached(
            "Too many sessions are running or starting on this hub.",
            hint="Try again in a few minutes.",
            details={"retry_after": int(wait) if wait.isdigit() else 60},
        )
    if answer.code == HTTPStatus.FORBIDDEN:
        return Refused("Your login or token may not start and stop sessions.", hint="Log in to the hub again.")
    if answer.code == HTTPStatus.NOT_FOUND:
        return NotFound("There is no such session, or not one of yours.")
    if answer.code == HTTPStatus.BAD_REQUEST:
        return _bad_request(message)
    if answer.code in {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}:
        return HubUnavailable("The hub does not answer.", hint="Try again in a minute.")
    # What our spawner says of a failed start: a sentence, and what to do about it.
    sentence, stop, hint = message.partition(". ")
    if stop:
        return SessionFailure(f"{sentence}.", hint=hint)
    return SessionFailure(
        message or "The session did not start.", hint="Try again; if it stays so, tell the people who run this hub."
    )


def _bad_request(message: str) -> GuixSpawnerError:
    """Return what the hub's 400 means; only its text says (``jupyterhub/apihandlers/users.py``)."""
    if "already running" in message:
        return Conflict("This session is running already.", hint="Open it, or stop it first.")
    if "pending" in message:
        return Conflict("This session is just starting or stopping.", hint="Try again in a moment.")
    if "maximum" in message:
        return LimitReached(
            "You have as many sessions as this hub allows.", hint="Delete one on the hub's own page, then try again."
        )
    if "not enabled" in message:
        return Refused("This hub does not allow more than one session.", hint="Ask the people who run it.")
    return InvalidInput(message or "The hub refused the session's options.")


def _message(answer: HTTPResponse) -> str:
    """Return what the hub says for people, on one line and not too long, or nothing."""
    try:
        message = _mapping(json.loads(answer.body or b"{}")).get("message")
    except ValueError:
        return ""
    return " ".join(str(message).split())[:500] if message else ""


def _json(answer: HTTPResponse) -> object:
    return _loaded(answer.body)


def _loaded(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise HubUnavailable("The hub's answer makes no sense.", hint="Try again in a minute.") from error


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _segment(text: str) -> str:
    return quote(text, safe="")


def _session(server: Mapping[str, object]) -> Session:
    def text(field: str) -> str:
        value = server.get(field)
        return value if isinstance(value, str) else ""

    environment = _mapping(server.get("user_options")).get("environment")
    return Session(
        name=text("name"),
        title=text("display_name") or text("name"),
        environment=environment if isinstance(environment, str) else "",
        ready=server.get("ready") is True,
        pending=text("pending"),
        url=text("full_url") or text("url"),
        started=text("started"),
        last_activity=text("last_activity"),
    )
