"""One request to the service and its answer, over the standard library's HTTP.

It blocks, which a command may. A redirection is never followed, for the token would go along; and every way in which a
connection fails becomes a `ServiceUnreachable` in plain words.
"""

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from importlib.metadata import version
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, HTTPHandler, HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from guix_build_service.commands.access import HOW_TO_GET_ONE, Access
from guix_build_service.commands.local import LocalService
from guix_build_service.commands.outcomes import AnswerNotUnderstood, RefusedByService, ServiceUnreachable

ANSWER_SECONDS = 120.0
"""How long the service may be silent; a repository's host is asked in that time, and streams say something every 15 s."""

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that is read as a whole."""

PIECE = 64 * 1024
"""Bytes that are read at once."""

_WHERE = "Check the address; the service's pages are at the same one."


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answers, its body yet to be read."""

    status: int
    headers: Mapping[str, str]
    _response: HTTPResponse
    _host: str

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives.  Raises `ServiceUnreachable` where the connection is lost before its end."""
        length = self.headers.get("Content-Length")
        missing = int(length) if length and length.isdecimal() else None
        with plainly(self._host):
            while piece := self._response.read1(PIECE):
                missing = None if missing is None else missing - len(piece)
                yield piece
        if missing:
            raise _lost(self._host)

    def whole(self) -> bytes:
        """Return the body.  Raises `ServiceUnreachable` and `AnswerNotUnderstood`."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > LARGEST_ANSWER:
                raise AnswerNotUnderstood(f"{self._host} answers with more than any such service does.", hint=_WHERE)
        return bytes(body)


class _StayHere(HTTPRedirectHandler):
    """Follows no redirection."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return no other request."""
        del req, fp, code, msg, headers, newurl
        return None


class _LocalConnection(HTTPConnection):
    """A connection to a service of this machine by its socket."""

    def __init__(self, host: str, local: LocalService, timeout: float = ANSWER_SECONDS) -> None:
        super().__init__(host, timeout=timeout)
        self._local = local

    def connect(self) -> None:
        """Connect."""
        self.sock = self._local.connect(ANSWER_SECONDS)


class _Locally(HTTPHandler):
    """Asks LOCAL whatever is asked for."""

    def __init__(self, local: LocalService) -> None:
        super().__init__()
        self._local = local

    def http_open(self, req: Request) -> HTTPResponse:
        """Ask."""
        return self.do_open(partial(_LocalConnection, local=self._local), req)


class Transport:
    """Sends requests to the one service that ACCESS is for.

    With BASE to what answers below that address of the same host, such as the service's hub, where REFUSAL understands what
    is refused.
    """

    def __init__(
        self,
        access: Access,
        base: str = "",
        refusal: "Callable[[HTTPError, str], RefusedByService | AnswerNotUnderstood] | None" = None,
    ) -> None:
        self._access = access
        self._base = base or f"{access.address}api/v1/"
        self._refusal = refusal or refusal_in
        # What stays on this machine needs no proxy; else those of the environment's variables are used.
        handlers: tuple[BaseHandler, ...] = (ProxyHandler({}),) if access.is_on_this_machine else ()
        if access.local is not None:
            handlers += (_Locally(access.local),)
        self._opener: OpenerDirector = build_opener(_StayHere, *handlers)

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Answer]:
        """Send a request for PATH below ``api/v1/``, or the other base, and give the answer while its connection is open.

        Raises `RefusedByService`, `ServiceUnreachable` and `AnswerNotUnderstood`.
        """
        request = Request(  # noqa: S310 - the scheme is http or https, see `service_address`
            f"{self._base}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                **({"Authorization": f"token {self._access.token}"} if self._access.token else {}),
                "User-Agent": f"guix-build-service/{version('guixspawner')}",
                **({} if body is None else {"Content-Type": "application/json"}),
                **(headers or {}),
            },
        )
        host = self._access.host
        try:
            with plainly(host):
                response = self._opener.open(request, timeout=ANSWER_SECONDS)
        except HTTPError as error:
            with error, plainly(host):
                raise self._refusal(error, host) from None
        with response:
            yield Answer(response.status, response.headers, response, host)


def refusal_in(error: HTTPError, host: str) -> RefusedByService | AnswerNotUnderstood:
    """Return what ERROR, the answer of HOST, says."""
    if HTTPStatus.MULTIPLE_CHOICES <= error.code < HTTPStatus.BAD_REQUEST:
        return AnswerNotUnderstood(f"{host} sends elsewhere, where the token must not go.", hint=_WHERE)
    try:
        said = dict(json.loads(error.read(LARGEST_ANSWER))["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return AnswerNotUnderstood(f"What answers at {host} is not the service ({error.code}).", hint=_WHERE)
        said = {
            "code": "service-unavailable",
            "message": f"The service does not work now: {host} answers {error.code} in its place.",
            "hint": "Try again later; if it stays like this, tell the people who run this hub.",
        }
    if error.code == HTTPStatus.UNAUTHORIZED:
        # The service speaks to whoever is at a browser, too.
        said |= {"message": "The hub does not know this token: it has ended, or was revoked.", "hint": HOW_TO_GET_ONE}
    wait = error.headers.get("Retry-After", "")
    return RefusedByService(error.code, said, retry_after=float(wait) if wait.isdecimal() and len(wait) < 7 else 0.0)


@contextmanager
def plainly(host: str) -> Iterator[None]:
    """Raise a `ServiceUnreachable` for whatever goes wrong with a connection to HOST."""
    try:
        yield
    except HTTPError:
        raise
    except URLError as error:
        reason = error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason))
        raise _unreachable(host, reason) from error
    except (OSError, HTTPException) as error:
        raise _unreachable(host, error) from error


def _unreachable(host: str, error: OSError | HTTPException) -> ServiceUnreachable:
    match error:
        case ssl.SSLCertVerificationError():
            why = getattr(error, "verify_message", error.strerror)
            return ServiceUnreachable(
                f"{host} does not prove that it is {host}: {why}.",
                hint="Where the hub has a certificate of its own, SSL_CERT_FILE names the file with who signed it.",
            )
        case ssl.SSLError():
            return ServiceUnreachable(f"{host} does not speak https.", hint=_WHERE)
        case socket.gaierror():
            return ServiceUnreachable(f"There is no host {host}, or its name cannot be looked up now.", hint=_WHERE)
        case ConnectionRefusedError():
            return ServiceUnreachable(f"Nothing answers at {host}.", hint=_WHERE)
        case TimeoutError():
            return ServiceUnreachable(f"{host} does not answer in time.", hint="Try again later.")
        case OSError(errno=int()) if not isinstance(error, ConnectionError):
            return ServiceUnreachable(f"{host} cannot be reached: {error.strerror}.", hint=_WHERE)
        case _:
            return _lost(host)


def _lost(host: str) -> ServiceUnreachable:
    return ServiceUnreachable(f"The connection to {host} was lost.", hint="Try again.")
