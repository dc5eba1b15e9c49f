"""A hub that knows a few people, their tokens and their servers: as much as the service ever asks of one."""

import asyncio
import json
from dataclasses import dataclass, field
from http import HTTPStatus

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

ACCESS = "access:services!service=guix"


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class FakeHub:
    """Its people by token, and what happened to their servers."""

    version: str = "6.1.1"
    people: dict[str, dict[str, object]] = field(default_factory=dict)
    servers: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    started: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    identified: list[str] = field(default_factory=list)
    """The tokens that were asked about, in order."""
    starts: asyncio.Event = field(default_factory=_set)
    """Whether it starts servers by now: until it is set, whoever asks for one waits."""
    refusal: tuple[int, str] | None = None
    """What it answers instead, when servers are started or stopped."""
    progress: list[dict[str, object]] = field(default_factory=lambda: [{"progress": 50, "message": "Half way"}])
    """What it tells of each start, before the server is ready."""
    fails: str = ""
    """Why servers do not start, if they do not."""
    minted: list[dict[str, object]] = field(default_factory=list)
    """What was asked of each token that it made."""
    mints: bool = True
    """Whether callers may have tokens made."""
    port: int = 0
    _server: HTTPServer = field(init=False)

    def add(self, name: str, *, admin: bool = False, groups: tuple[str, ...] = (), access: bool = True) -> None:
        """Let NAME log in, with the tokens ``token-NAME`` and ``browser-NAME``."""
        scopes = [ACCESS, f"servers!user={name}"] if access else [f"read:users:name!user={name}"]
        model = {"kind": "user", "name": name, "admin": admin, "groups": list(groups), "scopes": scopes}
        self.people[f"token-{name}"] = self.people[f"browser-{name}"] = model
        self.servers.setdefault(name, {})

    def add_service(self, name: str, *scopes: str) -> None:
        self.people[f"token-{name}"] = {"kind": "service", "name": name, "scopes": [ACCESS, *scopes]}

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hub/api"

    def serve(self) -> None:
        """Answer on a free port of loopback from now on."""
        shared = {"hub": self}
        server = HTTPServer(
            Application(
                [
                    (r"/hub/api/", _About, shared),
                    (r"/hub/api/user", _Identity, shared),
                    (r"/hub/api/oauth2/token", _Token, shared),
                    (r"/hub/api/users/([^/]+)", _User, shared),
                    (r"/hub/api/users/([^/]+)/servers/([^/]+)", _Server, shared),
                    (r"/hub/api/users/([^/]+)/servers/([^/]+)/progress", _Progress, shared),
                    (r"/hub/api/users/([^/]+)/tokens", _Tokens, shared),
                ]
            )
        )
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        server.add_sockets(sockets)
        self._server = server

    async def stop(self) -> None:
        """Answer no more."""
        self._server.stop()
        await self._server.close_all_connections()


class _Handler(RequestHandler):
    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub

    def caller(self) -> dict[str, object]:
        token = self.request.headers.get("Authorization", "").removeprefix("token ")
        self.hub.identified.append(token)
        if token not in self.hub.people:
            raise HTTPError(HTTPStatus.FORBIDDEN)
        return self.hub.people[token]

    def check_owner(self, name: str) -> None:
        scopes = self.caller()["scopes"]
        assert isinstance(scopes, list)
        if f"servers!user={name}" not in scopes:
            raise HTTPError(HTTPStatus.NOT_FOUND)

    def write_error(self, status_code: int, **_: object) -> None:
        self.finish({"status": status_code, "message": "Somewhere it says why"})


class _About(_Handler):
    def get(self) -> None:
        self.write({"version": self.hub.version})


class _Identity(_Handler):
    def get(self) -> None:
        self.write(self.caller())


class _Token(_Handler):
    def post(self) -> None:
        self.write({"access_token": f"browser-{self.get_body_argument('code')}", "token_type": "Bearer"})


class _User(_Handler):
    def get(self, name: str) -> None:
        self.check_owner(name)
        self.write({"name": name, "servers": self.hub.servers[name]})


class _Progress(_Handler):
    async def get(self, name: str, server: str) -> None:
        self.check_owner(name)
        state = self.hub.servers[name][server]
        self.set_header("Content-Type", "text/event-stream")
        last = {"failed": True, "message": self.hub.fails} if self.hub.fails else {"ready": True, "message": "Ready"}
        for event in [*self.hub.progress, last]:
            if event is last and not self.hub.fails:
                state |= {"ready": True, "pending": None}
            self.write(f": a comment\n\ndata: {json.dumps(event)}\n\n")
            await self.flush()
        if self.hub.fails:
            del self.hub.servers[name][server]


class _Tokens(_Handler):
    def post(self, name: str) -> None:
        self.check_owner(name)
        if not self.hub.mints:
            raise HTTPError(HTTPStatus.FORBIDDEN)
        self.hub.minted.append(json.loads(self.request.body))
        self.set_status(HTTPStatus.CREATED)
        self.write({"token": f"minted-{len(self.hub.minted)}"})


class _Server(_Handler):
    def prepare(self) -> None:
        if self.hub.refusal:
            status, message = self.hub.refusal
            self.set_status(status)
            self.finish({"status": status, "message": message})

    async def post(self, name: str, server: str) -> None:
        self.check_owner(name)
        await self.hub.starts.wait()
        body = json.loads(self.request.body)
        self.hub.started.append((name, server, body))
        self.hub.servers[name][server] = {
            "name": server,
            "ready": False,
            "pending": "spawn",
            "stopped": False,
            "url": f"/user/{name}/{server}/",
            "user_options": body.get("user_options", body),
            "started": "2026-01-01T00:00:00Z",
        }
        self.set_status(HTTPStatus.ACCEPTED)

    def delete(self, name: str, server: str) -> None:
        self.check_owner(name)
        if server not in self.hub.servers[name]:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        del self.hub.servers[name][server]
        self.set_status(HTTPStatus.NO_CONTENT)
