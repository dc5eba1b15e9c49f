"""The hub's API for sessions: a request is taken apart, judged, and put to the hub as a new one.

Nothing of a session's own words reaches the hub but method, path, query, body and a few headers, so no two readings of one
request are possible.  Only paths below the API go through; the hub's pages, the proxy and everything else that listens on
the machine's loopback stay out of reach.
"""

import asyncio
import logging
import re
from urllib.parse import unquote, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream
from tornado.simple_httpclient import HTTPTimeoutError
from tornado.web import Application, RequestHandler

LARGEST_BODY = 256 * 1024
"""Bytes of a request; what servers send the hub is a few hundred."""

LARGEST_HEAD = 32 * 1024
"""Bytes of a request's first line and headers together."""

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes of the hub's answer."""

SECONDS = 60.0
"""For which a session may take to send a request, and the hub to answer it."""

MOST_CONNECTIONS = 64
"""Of one session at a time; more are closed.  Servers need a few."""

MOST_REQUESTS = 64
"""Of one session that were not answered yet, whether or not it still waits for the answers; more are refused."""

AT_THE_HUB = 8
"""Of them, as many are put to the hub at a time, so that whatever one session asks, the others are answered between."""

SENT = ("Accept", "Authorization", "Content-Type", "User-Agent")
"""Headers that go to the hub.  No cookies: those are browsers'.  None that tell of a proxy: the hub believes them."""

RETURNED = ("Content-Type", "Date", "Location", "Retry-After", "WWW-Authenticate", "X-JupyterHub-Version")
"""Headers that come back."""

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
"""What a path is made of (RFC 3986, ``path-absolute``)."""

_LOG = logging.getLogger(__name__)


def path_below(prefix: str, target: str) -> str | None:
    """Return TARGET, a request's, when it is PREFIX or below it however it is read, and None when it is not.

    PREFIX ends with a slash.  Refused are whole addresses, steps up, empty steps, and whatever decodes to one of them.
    """
    path, _, query = target.partition("?")
    decoded = path
    while (further := unquote(decoded)) != decoded:
        decoded = further
    steps = decoded.split("/")
    clean = (
        _PATH.fullmatch(path) is not None
        and "\\" not in decoded
        and (target + decoded).isprintable()
        and "#" not in target
        and not {".", ".."} & set(steps)
        and "" not in steps[1:-1]
    )
    if not clean or not (path == prefix.rstrip("/") or path.startswith(prefix)):
        return None
    return f"{path}?{query}" if query else path


class HubApi:
    """Forwards what sessions ask of the hub's API at the address API, which ends with a slash."""

    def __init__(self, api: str) -> None:
        address = urlsplit(api)
        self.origin = f"{address.scheme}://{address.netloc}"
        self.prefix = address.path
        # Bounded for each session; one bound for all of them would let one session keep the others waiting.
        self._client = AsyncHTTPClient(force_instance=True, max_clients=1_000_000, max_body_size=LARGEST_ANSWER)

    def server(self) -> HTTPServer:
        """Return an HTTP server for one session, without sockets yet."""
        application = Application([(r".*", _Forward, {"hub": self, "turns": _Turns()})], log_function=_log)
        return _SessionServer(
            application,
            xheaders=False,
            max_body_size=LARGEST_BODY,
            max_header_size=LARGEST_HEAD,
            body_timeout=SECONDS,
            idle_connection_timeout=SECONDS,
        )

    async def ask(self, method: str, path: str, headers: HTTPHeaders, body: bytes) -> HTTPResponse:
        """Put a request to the hub and return its answer, whatever it is.  Raises `OSError` or `HTTPClientError`."""
        request = HTTPRequest(
            self.origin + path,
            method=method,
            headers={name: headers[name] for name in SENT if name in headers},
            body=body if body or method in {"POST", "PUT", "PATCH"} else None,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
            connect_timeout=10.0,
            request_timeout=SECONDS,
        )
        return await self._client.fetch(request, raise_error=False)

    def close(self) -> None:
        """Let go of the connections to the hub."""
        self._client.close()


class _SessionServer(HTTPServer):
    """Takes a bounded number of connections at a time."""

    _taken = 0

    def handle_stream(self, stream: IOStream, address: tuple[object, ...]) -> None:
        """Serve a new connection, or close it."""
        if self._taken >= MOST_CONNECTIONS:
            stream.close()
            return
        self._taken += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Count that a connection has ended."""
        self._taken -= 1
        super().on_close(server_conn)


class _Turns:
    """How many requests of one session are under way."""

    def __init__(self) -> None:
        self.unanswered = 0
        self.at_the_hub = asyncio.Semaphore(AT_THE_HUB)


class _Forward(RequestHandler):
    SUPPORTED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

    def initialize(self, hub: HubApi, turns: _Turns) -> None:
        self._hub = hub
        self._turns = turns

    def check_xsrf_cookie(self) -> None:
        """Leave that to the hub: there are no cookies here."""

    def compute_etag(self) -> None:
        """Leave that to the hub."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def prepare(self) -> None:
        """Answer here, for every method."""
        path = path_below(self._hub.prefix, self.request.uri or "")
        if path is None:
            self._refuse(404, "Only the hub's API is reached from here.")
        elif "Upgrade" in self.request.headers:
            self._refuse(400, "Connections are not upgraded here.")
        elif self._turns.unanswered >= MOST_REQUESTS:
            self._refuse(503, "This session asks too much of the hub at a time.")
        else:
            self._turns.unanswered += 1
            try:
                await self._forward(path)
            finally:
                self._turns.unanswered -= 1

    async def _forward(self, path: str) -> None:
        try:
            async with self._turns.at_the_hub:
                answer = await self._hub.ask(self.request.method or "GET", path, self.request.headers, self.request.body)
        except HTTPTimeoutError:
            self._refuse(504, "The hub took too long to answer.")
            return
        except (OSError, HTTPClientError) as error:
            _LOG.warning("The hub cannot be reached: %s", error)
            self._refuse(502, "The hub cannot be reached.")
            return
        if answer.code == 599:
            self._refuse(504 if isinstance(answer.error, HTTPTimeoutError) else 502, "The hub cannot be reached.")
            return
        self.set_status(answer.code, answer.reason)
        self.clear_header("Content-Type")
        for name in RETURNED:
            if name in answer.headers:
                self.set_header(name, answer.headers[name])
        await self.finish(answer.body if answer.code not in {204, 304} else None)

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish({"status": status, "message": message})


def _log(handler: RequestHandler) -> None:
    """Note what failed: method, path without its query, and status; never a header."""
    if handler.get_status() >= 500:
        _LOG.warning("%s %s: %d", handler.request.method, handler.request.path, handler.get_status())


async def drained(server: HTTPServer) -> None:
    """Take no more connections, and return once those that are there have been answered, or after a while."""
    server.stop()
    try:
        async with asyncio.timeout(SECONDS):
            await server.close_all_connections()
    except TimeoutError:
        _LOG.warning("Connections of sessions to the hub were ended.")
