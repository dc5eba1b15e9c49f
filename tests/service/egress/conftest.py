"""What the tests of the way out share."""

import asyncio

import pytest

from tests.service.egress.answering import connect


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where the service connects to; nothing beyond loopback is really connected to."""
    found: list[tuple[str, int]] = []

    async def recorded(host: str, port: int, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        found.append((host, port))
        if host != "127.0.0.1":
            raise ConnectionRefusedError
        return await connect(host, port, **options)

    monkeypatch.setattr(asyncio, "open_connection", recorded)
    return found
