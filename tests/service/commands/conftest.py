"""The command line of people in front of the service's real web application."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from guix_build_service.commands import program
from guix_build_service.commands.access import ADDRESS, TOKEN
from guix_build_service.commands.client import Patience
from tests.service.web.conftest import Site, hub, limits, site

__all__ = ["hub", "limits", "site"]


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)

    def field(self, name: str) -> object:
        value = self.json
        assert isinstance(value, dict)
        return value[name]


@dataclass
class Terminal:
    """Somebody who types commands."""

    address: str
    capsys: pytest.CaptureFixture[str]
    home: Path
    told: list[str] = field(default_factory=list)
    """What was said about lost connections."""
    pauses: list[float] = field(default_factory=list)
    """How long was waited before they were made again, in seconds, but that nothing waits here."""

    async def __call__(self, *words: str, person: str = "ada", address: str = "", **variables: str) -> Said:
        known = {"HOME": str(self.home), ADDRESS: address or self.address, TOKEN: f"token-{person}", **variables}
        patience = Patience(pauses=(0,) * 5, sleep=self.pauses.append, tell=self.told.append)
        settings = {name: value for name, value in known.items() if value}
        status = await asyncio.to_thread(program.main, words, settings, patience)
        out, err = self.capsys.readouterr()
        return Said(status, out, err)


@pytest.fixture
def terminal(site: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    """Give a terminal of ada's, unless another PERSON is named."""
    return Terminal(f"{site.address}/services/guix/", capsys, tmp_path / "home")


@dataclass
class Wire:
    """What is between the client and the service, and breaks."""

    cuts: list[int | bytes]
    """For each connection in order: after how many bytes of the answer it is lost, or what is answered in its place."""
    requests: list[str] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None
    address: str = ""


@asynccontextmanager
async def wire(site: Site, *cuts: int | bytes) -> AsyncIterator[Wire]:
    """Put a `Wire` that loses connections as CUTS say, and none after that, in front of SITE."""
    found = Wire(list(cuts))
    target = urlsplit(site.address)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        found.requests.append(request.decode())
        length = re.search(rb"content-length: (\d+)", request, re.IGNORECASE)
        request += await reader.readexactly(int(length[1])) if length else b""
        found.on_request()
        cut = found.cuts.pop(0) if found.cuts else 1 << 60
        if isinstance(cut, bytes):
            writer.write(cut)
            await writer.drain()
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_connection(target.hostname, target.port)
        up_writer.write(request)
        try:
            while cut > 0 and (piece := await up_reader.read(min(cut, 65536))):
                writer.write(piece)
                await writer.drain()
                cut -= len(piece)
        finally:
            up_writer.close()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/guix/"
    try:
        yield found
    finally:
        server.close()
