"""Get one file from an archive's site, by the one way out: each host that it leads to is checked, and each byte counted.

The transfer goes through the same proxy as Git's (`guix_build_service.egress`), which leads to the addresses that were
checked and looks up no name; a redirect begins anew, with a check of where it leads.
"""

import asyncio
import base64
import http.client
import io
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit

from guix_build_service.egress import Passage
from guix_build_service.git.hosts import Hosts, Reached
from guix_environment.errors import (
    HostRefused,
    InvalidAddress,
    RepositoryTooLarge,
    RepositoryUnanswered,
    RepositoryUnavailable,
)
from guix_environment.repository_url import RepositoryUrl

ANSWER_SECONDS = 30.0
"""How long an answer that is no file may take, redirects included."""

IDLE_SECONDS = 20.0
"""How long nothing may come."""

MOST_REDIRECTS = 5

LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer that is no file."""

_OVERHEAD = 256 * 1024
"""Bytes of a transfer that are not the file: what TLS and HTTP say about it."""

_OF_ADDRESSES = "!#$%&'()*+,/:;=?@[]~"
"""What stays as it is of where a redirect leads, beside letters, digits and ``_.-``."""

_BLOCK = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for."""

    address: str
    into: BinaryIO
    """Where its content goes."""
    most: int
    """Bytes of it."""
    method: str = "GET"
    accept: str = "*/*"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    status: int
    location: str = ""
    """Where it leads, of a redirect."""


@dataclass(frozen=True, slots=True)
class Downloads:
    """How archives are reached."""

    hosts: Hosts
    certificates: Path | None = None
    """A file of the authorities that hosts' certificates are checked against, in the place of the machine's own."""

    async def json(self, url: RepositoryUrl, path: str, *, method: str = "GET") -> tuple[int, object]:
        """Return the status and the JSON that the site of URL, an archive's address, answers at PATH.

        The JSON is None where there is none. Raises what `get` does.
        """
        content = io.BytesIO()
        order = Order(f"{url.scheme}://{url.authority}{path}", content, LARGEST_ANSWER, method, "application/json")
        answer = await self.get(url, order, ANSWER_SECONDS)
        return answer.status, await asyncio.to_thread(_parsed, content.getvalue())

    async def get(self, url: RepositoryUrl, order: Order, seconds: float) -> Answer:
        """Carry out ORDER, which begins at the site of URL, an archive's address, and return the answer that is no redirect.

        Raises `HostRefused`, `RepositoryTooLarge`, and `RepositoryUnanswered` also after SECONDS.
        """
        address = order.address
        try:
            async with asyncio.timeout(seconds):
                for _ in range(MOST_REDIRECTS + 1):
                    reached = await self.hosts.check(_to_check(url, address))
                    answer = await self._one(reached, address, order)
                    if answer.status not in _REDIRECTS:
                        return answer
                    address = _led_to(url, address, answer.location)
        except TimeoutError:
            raise _unanswered(url.authority) from None
        raise RepositoryUnavailable(f"{url.authority} leads from one address to the next without an end.")

    async def _one(self, reached: Reached, address: str, order: Order) -> Answer:
        passage = Passage(reached, order.most + _OVERHEAD)
        async with passage.listening():
            try:
                return await asyncio.to_thread(_transfer, passage.reached, address, order, self.certificates)
            except (OSError, http.client.HTTPException) as error:
                if passage.refusal is not None:
                    raise passage.refusal from None
                if isinstance(error, ssl.SSLError):
                    raise RepositoryUnanswered(
                        f"{reached.url.authority} does not prove who it is: its certificate is not accepted.",
                        hint="Ask the administrator of that server, or of this hub.",
                    ) from None
                raise _unanswered(reached.url.authority) from None


def _led_to(url: RepositoryUrl, address: str, location: str) -> str:
    """Return where LOCATION, of the answer at ADDRESS, leads to, in the characters that addresses have (RFC 3986, 2).

    Raises `HostRefused` for what is no address.
    """
    try:
        return urljoin(address, quote(location, safe=_OF_ADDRESSES, encoding="latin-1"))
    except ValueError:
        raise _not_followed(url) from None


def _to_check(url: RepositoryUrl, address: str) -> RepositoryUrl:
    """Return what is to be checked before ADDRESS is asked: URL itself where it is at the same site."""
    parts = urlsplit(address)
    if parts.scheme not in {"https", "http"}:
        raise _not_followed(url)
    if (parts.scheme, parts.netloc) == (url.scheme, url.authority):
        return url
    try:
        return RepositoryUrl.parse(f"{parts.scheme}://{parts.netloc}/download")
    except InvalidAddress:
        raise _not_followed(url) from None


def _not_followed(url: RepositoryUrl) -> HostRefused:
    return HostRefused(f"{url.authority} leads to an address that is not followed.", hint="Open it in a browser.")


def _transfer(reached: Reached, address: str, order: Order, certificates: Path | None) -> Answer:
    """Ask for ADDRESS by way of the proxy of REACHED, as ORDER has it.  Blocks."""
    parts, proxy = urlsplit(address), urlsplit(reached.proxy)
    assert parts.hostname
    assert proxy.hostname
    password = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    proves = {"Proxy-Authorization": f"Basic {password}"}
    asks = {"Accept": order.accept, "User-Agent": "GuixSpawner", "Connection": "close"}
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=str(certificates) if certificates else None)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            proxy.hostname, proxy.port, timeout=IDLE_SECONDS, context=context
        )
        connection.set_tunnel(parts.hostname, parts.port or 443, proves)
        target, headers = parts._replace(scheme="", netloc="", fragment="").geturl() or "/", asks
    else:
        connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=IDLE_SECONDS)
        target, headers = parts._replace(fragment="").geturl(), asks | proves
    with closing(connection):
        return _ask(connection, target, headers, order)


def _ask(connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str], order: Order) -> Answer:
    connection.request(order.method, target, headers=headers)
    response = connection.getresponse()
    answer = Answer(response.status, response.getheader("Location", ""))
    if answer.status != HTTPStatus.OK:
        return answer
    left = order.most
    while block := response.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise RepositoryTooLarge(
                "What the archive sends is larger than this hub fetches, or than it said.",
                hint="Keep large data elsewhere, and let the notebook download it.",
            )
        order.into.write(block)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return answer


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _unanswered(host: str) -> RepositoryUnanswered:
    return RepositoryUnanswered(f"{host} does not answer, or too slowly.", hint="Try again later, or check the address.")


def check_answered(status: int, url: RepositoryUrl) -> None:
    """Return if STATUS is that of an answer with what was asked for at URL.

    Raises `RepositoryUnavailable`; where the site may answer later, `RepositoryUnanswered`.
    """
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _unanswered(url.authority)
    raise RepositoryUnavailable(
        f"There is nothing at {url}, or it is not for everybody.", hint="Open the address in a browser."
    )
