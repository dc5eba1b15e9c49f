"""Logs that are read to their end whatever happens to the connection, cancelled builds, and sessions."""

import json

from guix_build_service.commands.outcomes import ExitStatus
from tests.service.commands.conftest import Terminal, wire
from tests.service.web.conftest import Site

RESTARTING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<p>no</p>"
ASKED_TOO_OFTEN = b'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 13\r\n\r\n{"error": {}}'
NO_MORE = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\n{"error": {}}'

LOOKED_UP = (1 << 60,) * 3
"""A build's id is looked up first, twice in vain as an environment's."""


async def log_of(site: Site, build: str, token: str = "token-ada") -> str:
    return (await site.ask("GET", f"api/v1/builds/{build}/log", token=token)).body.decode()


async def built(site: Site, lines: int = 3) -> str:
    site.pipeline.lines = lines
    build = (await site.ready("good", "ada")).build
    assert build is not None
    return build.id


async def slow_build(terminal: Terminal) -> str:
    added = await terminal("add", "https://git.example/a/slow", "--json")
    return str(added.field("build")["id"])  # type: ignore[index]


async def test_a_log_is_printed_by_environment_and_by_build(site: Site, terminal: Terminal) -> None:
    build = await built(site)
    expected = await log_of(site, build)
    assert "line 2" in expected
    for words in (["good"], [build], ["good", "-f"], [build, "-f"], ["https://git.example/a/good"]):
        said = await terminal("log", *words)
        assert (said.status, said.out) == (ExitStatus.DONE, expected)
    assert (await terminal("log", "good", "--json")).field("log") == expected
    events = [json.loads(line) for line in (await terminal("log", "good", "-f", "--json")).out.splitlines()]
    assert "".join(event["text"] for event in events if event["event"] == "log") == expected
    assert events[-1]["state"] == "ready"
    assert terminal.told == []


async def test_a_log_goes_on_where_the_connection_was_lost(site: Site, terminal: Terminal) -> None:
    build = await built(site, lines=60)
    expected = await log_of(site, build)
    async with wire(site, *LOOKED_UP, 1_500, RESTARTING, 0, 1_500) as broken:
        said = await terminal("log", build, address=broken.address)
    assert (said.status, said.out) == (ExitStatus.DONE, expected)
    assert len(terminal.told) == 4
    assert all("Trying again" in each for each in terminal.told)
    assert any("range: bytes=" in request.lower() for request in broken.requests)


async def test_a_build_is_followed_across_lost_connections_and_each_line_is_printed_once(
    site: Site, terminal: Terminal
) -> None:
    site.pipeline.lines = 40
    build = await slow_build(terminal)
    async with wire(site, *LOOKED_UP, 2_000, 0, RESTARTING, 3_000) as broken:
        # The build ends only once the client has come back for the last time.
        broken.on_request = lambda: site.pipeline.release.set() if not broken.cuts else None
        said = await terminal("log", build, "-f", address=broken.address)
    assert (said.status, said.out) == (ExitStatus.DONE, await log_of(site, build))
    assert "half a line" in said.out
    assert any("last-event-id: " in request.lower() for request in broken.requests)


async def test_a_service_that_stays_away_ends_the_command(site: Site, terminal: Terminal) -> None:
    build = await built(site)
    async with wire(site, *LOOKED_UP, *[0] * 6) as broken:
        said = await terminal("log", build, "-f", "--json", address=broken.address)
    assert said.status == ExitStatus.UNREACHABLE
    assert "was lost" in said.err
    [line] = [json.loads(line) for line in said.out.splitlines()]
    assert line["error"]["code"] == "service-unreachable"


async def test_a_connection_is_made_again_as_often_as_something_comes(site: Site, terminal: Terminal) -> None:
    build = await built(site, lines=60)
    async with wire(site, *LOOKED_UP, 0, 0, 0, 1_500, 0, 0, 0) as broken:
        said = await terminal("log", build, address=broken.address)
    assert (said.status, len(terminal.told)) == (ExitStatus.DONE, 7)
    assert said.out == await log_of(site, build)


async def test_what_may_not_be_followed_any_more_is_not_tried_again(site: Site, terminal: Terminal) -> None:
    build = await built(site)
    async with wire(site, *LOOKED_UP, NO_MORE) as broken:
        said = await terminal("log", build, "-f", address=broken.address)
    assert (said.status, terminal.told) == (ExitStatus.NOT_ALLOWED, [])


async def test_it_is_tried_again_when_the_service_says(site: Site, terminal: Terminal) -> None:
    build = await built(site)
    async with wire(site, *LOOKED_UP, ASKED_TOO_OFTEN) as broken:
        said = await terminal("log", build, "-f", address=broken.address)
    assert (said.status, terminal.pauses) == (ExitStatus.DONE, [7])


async def test_a_log_is_whole_behind_a_proxy_that_knows_no_ranges_or_lengths(site: Site, terminal: Terminal) -> None:
    build = await built(site, lines=60)
    log = await log_of(site, build)
    whole = f"HTTP/1.1 200 OK\r\nContent-Length: {len(log)}\r\n\r\n{log}".encode()
    without_its_end = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{len(log):x}\r\n{log}\r\n".encode()
    for cuts in ([1_500, whole], [without_its_end]):
        async with wire(site, *LOOKED_UP, *cuts) as broken:
            said = await terminal("log", build, address=broken.address)
        assert (said.status, said.out) == (ExitStatus.DONE, log)


async def test_waiting_survives_a_lost_connection(site: Site, terminal: Terminal) -> None:
    async with wire(site, 1 << 60, 300) as broken:
        said = await terminal("add", "https://git.example/a/good", "--wait", "--json", address=broken.address)
    assert (said.status, said.field("state")) == (ExitStatus.DONE, "ready")


async def test_a_build_is_cancelled(terminal: Terminal) -> None:
    build = await slow_build(terminal)
    assert (await terminal("cancel", build, person="eve")).status == ExitStatus.NOT_FOUND
    cancelled = await terminal("cancel", "slow", "--json")
    assert (cancelled.status, cancelled.field("state")) == (ExitStatus.DONE, "cancelled")
    followed = await terminal("log", "-f", build)
    assert followed.status == ExitStatus.BUILD_FAILED
    assert "The build is cancelled." in followed.err


async def test_sessions_are_started_listed_and_stopped(site: Site, terminal: Terminal) -> None:
    await site.ready("good", "ada")
    started = await terminal("sessions", "start", "good", "--memory", "1G", "--json")
    assert started.status == ExitStatus.DONE
    name = str(started.field("name"))
    [(person, server, body)] = site.hub.started
    assert (person, server) == ("ada", name)
    assert body["user_options"]["memory"] == 1 << 30  # type: ignore[index]
    assert name in (await terminal("sessions", "list")).out
    assert (await terminal("sessions", "stop", name)).out == f"{name} is stopped.\n"
    assert "You have no sessions." in (await terminal("sessions", "list")).err
    assert (await terminal("sessions", "log", name)).status == ExitStatus.NOT_FOUND
    async with wire(site) as watched:
        assert (await terminal("sessions", "stop", "..", address=watched.address)).status == ExitStatus.NOT_FOUND
    assert "/.." not in watched.requests[0], "proxies would take it for the folder above"
    assert (await terminal("sessions", "stop", "\udcff")).status == ExitStatus.REFUSED
    too_little = await terminal("sessions", "start", "good", "--memory", "1K")
    assert (too_little.status, "memory: " in too_little.err) == (ExitStatus.MISUSED, True)
