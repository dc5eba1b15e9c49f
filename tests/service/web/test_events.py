"""A build is followed as it happens, and picked up where one left off."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import pytest

from guix_build_service.model.environments import NewEnvironment, Person
from guix_build_service.model.members import Member, MemberKind, Role
from guix_build_service.queue.shared_looks import PIECE_FOLLOWED
from guix_build_service.web import events
from guix_build_service.web.limits import RequestLimits
from guix_environment.identifiers import BuildId
from guix_environment.records import Visibility
from tests.service.listing import environments_for
from tests.service.web.conftest import PREFIX, Browser, Site, refusal
from tests.service.web.scripted import HOSTILE

TOKEN = "token-ada"


async def read(site: Site, build: str, **headers: str) -> list[dict[str, str]]:
    """Return a finished build's events, each as its fields."""
    answer = await site.ask("GET", f"api/v1/builds/{build}/events", token=TOKEN, headers=headers)
    assert answer.code == HTTPStatus.OK
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    return parsed(answer.body.decode())


def parsed(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("id:")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def text_of(told: list[dict[str, str]]) -> str:
    return "".join(json.loads(each["data"])["text"] for each in told if each["event"] == "log")


async def finished(site: Site, repository: str) -> str:
    detail = await site.ready(repository, "ada")
    assert detail.build is not None
    return detail.build.id


async def test_a_finished_build_is_told_from_its_beginning_and_its_state_last(site: Site) -> None:
    build = await finished(site, "good")
    told = await read(site, build)
    assert [each["event"] for each in told][-1] == "build"
    assert json.loads(told[-1]["data"])["state"] == "ready"
    log = await site.ask("GET", f"api/v1/builds/{build}/log", token=TOKEN)
    assert text_of(told) == log.body.decode()
    assert HOSTILE in text_of(told)


async def test_whoever_comes_back_gets_what_is_missing_and_then_nothing(site: Site) -> None:
    site.pipeline.lines = 50
    build = await finished(site, "good")
    told = await read(site, build)
    whole = text_of(told).encode()
    half = len(b"\n".join(whole.split(b"\n")[:25])) + 1
    assert text_of(await read(site, build, **{"Last-Event-ID": str(half)})) == whole[half:].decode()
    path = f"api/v1/builds/{build}/events"
    answer = await site.ask("GET", f"{path}?position={half}", token=TOKEN)
    assert text_of(parsed(answer.body.decode())) == whole[half:].decode()
    # All of the log, and not yet that it is ready: that is still to be told.
    [last] = await read(site, build, **{"Last-Event-ID": str(len(whole))})
    assert json.loads(last["data"])["state"] == "ready"
    assert last["id"] == told[-1]["id"]
    answer = await site.ask("GET", path, token=TOKEN, headers={"Last-Event-ID": last["id"]})
    assert (answer.code, answer.body) == (HTTPStatus.NO_CONTENT, b"")
    for nonsense in ("-1", "x", "1e3", "²", "9" * 40):
        assert text_of(await read(site, build, **{"Last-Event-ID": nonsense})) == whole.decode()


@asynccontextmanager
async def connection(site: Site, build: str, headers: str) -> AsyncIterator[asyncio.StreamReader]:
    """Open a stream as a browser does, and leave without a word."""
    host, _, port = site.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"GET {PREFIX}api/v1/builds/{build}/events HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}\r\n\r\n"
    writer.write(request.encode())
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def slow_build(site: Site) -> str:
    request = NewEnvironment(repository="https://git.example/a/slow")
    detail = await site.manager.add_environment(request, Person("ada"))
    assert detail.build is not None
    return detail.build.id


async def test_states_progress_and_lines_arrive_while_they_happen(site: Site) -> None:
    build = await slow_build(site)
    async with connection(site, build, f"Authorization: token {TOKEN}") as reader:
        text = ""
        while '"state":"building"' not in text or "line 2" not in text:
            text += (await reader.read(65536)).decode()
        assert "ready" not in [json.loads(each["data"]).get("state") for each in parsed(text.rpartition("\n\n")[0] + "\n\n")]
        site.pipeline.release.set()
        while '"state":"ready"' not in text:
            text += (await reader.read(65536)).decode()
    positions = [int(line.removeprefix("id: ").removesuffix(";end")) for line in text.split("\n") if line.startswith("id: ")]
    assert positions == sorted(positions)


async def test_what_is_made_once_for_all_who_watch_tells_nobody_whose_build_it_is(site: Site) -> None:
    asked = NewEnvironment(repository="https://git.example/a/good", visibility=Visibility.EVERYONE)
    detail = await site.manager.add_environment(asked, Person("ada"))
    assert detail.build is not None
    async for _ in site.manager.follow(detail.build.id, Person("ada")):
        pass
    path = f"api/v1/builds/{detail.build.id}/events"
    seen: dict[str, list[object]] = {}
    for token in (TOKEN, "token-eve", TOKEN, "token-eve"):
        told = parsed((await site.ask("GET", path, token=token)).body.decode())
        seen.setdefault(token, []).append([json.loads(each["data"]).get("requested_by") for each in told][-1])
    assert seen == {TOKEN: ["ada", "ada"], "token-eve": [None, None]}


async def test_a_long_log_comes_in_bounded_pieces_in_order(site: Site) -> None:
    build = BuildId(await finished(site, "good"))
    lines = [f"line {number} {'x' * 90}" for number in range(3000)]
    await asyncio.to_thread(site.manager._logs.path(build).write_text, "\n".join(lines) + "\n")
    told = [each for each in await read(site, build) if each["event"] == "log"]
    pieces = [json.loads(each["data"])["text"] for each in told]
    assert max(map(len, pieces)) <= PIECE_FOLLOWED
    assert "".join(pieces).splitlines() == lines
    assert int(told[-1]["id"]) == len("".join(pieces))
    back = told[len(told) // 2]
    rest = text_of(await read(site, build, **{"Last-Event-ID": back["id"]}))
    assert rest == "".join(pieces)[int(back["id"]) :]


async def test_silence_is_broken_so_that_nobody_hangs_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    build = await slow_build(site)
    async with connection(site, build, f"Authorization: token {TOKEN}") as reader:
        text = ""
        while text.count(": still here") < 2:
            text += (await reader.read(65536)).decode()


@pytest.mark.parametrize("limits", [RequestLimits(streams=2)])
async def test_whoever_leaves_is_forgotten_at_once(site: Site) -> None:
    build = await slow_build(site)
    headers = f"Authorization: token {TOKEN}"
    async with connection(site, build, headers) as first, connection(site, build, headers) as second:
        for reader in (first, second):
            assert b"200 OK" in await reader.read(1024)
        refused = await site.ask("GET", f"api/v1/builds/{build}/events", token=TOKEN)
        assert (refused.code, refusal(refused)) == (HTTPStatus.TOO_MANY_REQUESTS, "too-many-streams")
    while events.Events._open["ada"] or following():
        await asyncio.sleep(0.02)


def following() -> list[str]:
    """Return the tasks that follow a build for somebody."""
    return [found for task in asyncio.all_tasks() if "with_pauses" in (found := repr(task)) or "follow" in found]


async def test_a_stream_ends_when_its_right_does(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(events, "IDENTITY_SECONDS", 0.1)
    build = BuildId(await slow_build(site))
    async with connection(site, build, f"Connection: close\r\nAuthorization: token {TOKEN}") as reader:
        assert b"200 OK" in await reader.read(1024)
        await asyncio.sleep(0.5)
        assert not reader.at_eof()
        del site.hub.people[TOKEN]
        await reader.read()  # to the end of the stream
    assert not (await site.manager.build(build, Person("ada"))).state.is_final


async def test_a_stream_ends_when_its_build_is_shared_no_longer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(events, "IDENTITY_SECONDS", 0.1)
    build = BuildId(await slow_build(site))
    (detail,) = await environments_for(Person("ada"), site.manager)
    await site.manager.share(detail.environment.id, Member(MemberKind.USER, "eve", Role.VIEWER), Person("ada"))
    async with connection(site, build, "Connection: close\r\nAuthorization: token token-eve") as reader:
        assert b"200 OK" in await reader.read(1024)
        await site.manager.unshare(detail.environment.id, MemberKind.USER, "eve", Person("ada"))
        await reader.read()  # to the end of the stream


async def test_a_browser_follows_with_its_token_in_the_query_and_not_without(site: Site) -> None:
    build = await finished(site, "good")
    browser: Browser = await site.login("ada")
    mode = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    path = f"api/v1/builds/{build}/events"
    refused = await browser.ask("GET", path, headers=mode)
    assert (refused.code, refusal(refused)) == (HTTPStatus.FORBIDDEN, "request-forged")
    assert (await browser.ask("GET", f"{path}?_xsrf={browser.xsrf}", headers=mode)).code == HTTPStatus.OK
    assert (await browser.ask("GET", path, headers={**mode, "X-XSRFToken": browser.xsrf})).code == HTTPStatus.OK
