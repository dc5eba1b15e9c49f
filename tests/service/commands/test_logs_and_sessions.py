"""Logs that are read to their end whatever happens to the connection, cancelled builds, and sessions."""

import json

from guix_build_service.commands.outcomes import ExitStatus
from tests.service.commands.conftest import Terminal, wire
from tests.service.web.conftest import Site

RESTARTING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<p>no</p>"


async def log_of(site: Site, build: str, token: str = "token-ada") -> str:
    return (await site.ask("GET", f"api/v1/builds/{build}/log", token=token)).body.decode()


async def built(site: Site, lines: int = 3) -> str:
    site.pipeline.lines = lines
    build = (await site.ready("good", "ada")).build
    assert build is not None
    return build.id


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


async def test_a_log_goes_on_where_the_connection_was_lost(site: Site, terminal: Terminal) -> None:
    build = await built(site, lines=60)
    expected = await log_of(site, build)
    # First the id is looked up, twice in vain as an environment's; the cuts are of the log itself.
    async with wire(site, 1 << 60, 1 << 60, 1 << 60, 1_500, RESTARTING, 0, 1_500) as broken:
        said = await terminal("log", build, address=broken.address)
    assert (said.status, said.out) == (ExitStatus.DONE, expected)
    assert len(terminal.told) == 4
    assert all("Trying again" in each for each in terminal.told)
    assert any("range: bytes=" in request.lower() for request in broken.requests)


async def test_a_build_is_followed_across_lost_connections_and_each_line_is_printed_once(
    site: Site, terminal: Terminal
) -> None:
    site.pipeline.lines = 40
    added = await terminal("add", "https://git.example/a/slow", "--json")
    build = str(added.field("build")["id"])  # type: ignore[index]
    async with wire(site, 1 << 60, 1 << 60, 1 << 60, 2_000, 0, RESTARTING, 3_000) as broken:
        # The build ends only once the client has come back for the last time.
        broken.on_request = lambda: site.pipeline.release.set() if not broken.cuts else None
        said = await terminal("log", build, "-f", address=broken.address)
    assert (said.status, said.out) == (ExitStatus.DONE, await log_of(site, build))
    assert "half a line" in said.out
    assert any("last-event-id: " in request.lower() for request in broken.requests)


async def test_a_service_that_stays_away_ends_the_command(site: Site, terminal: Terminal) -> None:
    build = await built(site)
    cuts = [1 << 60] * 3 + [0] * 6
    async with wire(site, *cuts) as broken:
        said = await terminal("log", build, "-f", address=broken.address)
    assert said.status == ExitStatus.UNREACHABLE
    assert "was lost" in said.err


async def test_waiting_survives_a_lost_connection(site: Site, terminal: Terminal) -> None:
    async with wire(site, 1 << 60, 300) as broken:
        said = await terminal("add", "https://git.example/a/good", "--wait", "--json", address=broken.address)
    assert (said.status, said.field("state")) == (ExitStatus.DONE, "ready")


async def test_a_build_is_cancelled(terminal: Terminal) -> None:
    build = str((await terminal("add", "https://git.example/a/slow", "--json")).field("build")["id"])  # type: ignore[index]
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
    assert (await terminal("sessions", "stop", "..")).status == ExitStatus.NOT_FOUND
