"""Sessions are started and stopped at the hub as the person, and what the hub refuses is told in people's words."""

from collections.abc import AsyncIterator

import pytest

from guix_build_service.web.hub_client import HubClient, HubUnavailable, SessionName, session_name
from guix_environment.errors import (
    Conflict,
    GuixSpawnerError,
    InvalidInput,
    LimitReached,
    NotFound,
    Refused,
    SessionFailure,
)
from guix_environment.identifiers import EnvironmentId
from tests.ports import free_port
from tests.service.web.fake_hub import FakeHub

ENVIRONMENT = EnvironmentId("eabcdefghijk")
NAME = session_name(ENVIRONMENT, "plots")


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    hub = FakeHub()
    hub.add("ada")
    hub.add("eve")
    hub.serve()
    yield hub
    await hub.stop()


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("plots", "plots-eabcdefghijk"),
        ("Plots & more!", "plots-more-eabcdefghijk"),
        ("2026-statistics", "statistics-eabcdefghijk"),
        ("a-very-long-name-of-a-repository", "a-very-long-name-eabcdefghijk"),
        ("--", "eabcdefghijk"),
        ("пингвины", "eabcdefghijk"),
        ("a" * 17 + "b", "a" * 17 + "-eabcdefghijk"),
    ],
)
def test_a_session_is_called_after_its_repository_as_hub_6_allows(repository: str, expected: str) -> None:
    assert session_name(ENVIRONMENT, repository) == expected
    assert len(expected) <= 30


@pytest.mark.parametrize("name", ["", "a--b", "-a", "a-", "1a", "A", "a" * 31, "a/b", "a\n"])
def test_what_is_no_name_of_a_session_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        SessionName(name)


@pytest.mark.parametrize(("version", "titled"), [("6.1.1", True), ("5.5.4", False)])
async def test_a_session_starts_with_the_options_that_either_hub_understands(
    hub: FakeHub, version: str, titled: bool
) -> None:
    hub.version = version
    client = HubClient(hub.api_url)
    options = {"environment": str(ENVIRONMENT)}
    assert not await client.start("token-ada", "ada", NAME, title="Plots", options=options)
    assert hub.started == [("ada", NAME, {"display_name": "Plots", "user_options": options} if titled else options)]
    [session] = await client.sessions("token-ada", "ada")
    assert (session.name, session.environment, session.state) == (NAME, ENVIRONMENT, "starting")
    assert session.title == NAME
    assert await client.stop("token-ada", "ada", NAME)
    assert await client.sessions("token-ada", "ada") == []


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "ada:x is already running", Conflict),
        (400, "ada:x is pending stop", Conflict),
        (400, "User ada already has the maximum of 3 named servers.", LimitReached),
        (400, "Named servers are not enabled.", Refused),
        (400, "Invalid user options", InvalidInput),
        (403, "", Refused),
        (429, "Too many users", LimitReached),
        (500, "There is no such environment", SessionFailure),
        (503, "", HubUnavailable),
    ],
)
async def test_what_the_hub_refuses_becomes_a_kind_of_failure(
    hub: FakeHub, status: int, message: str, kind: type[GuixSpawnerError]
) -> None:
    hub.refusal = status, message
    with pytest.raises(kind) as refused:
        await HubClient(hub.api_url).start("token-ada", "ada", NAME, title="x", options={})
    assert type(refused.value) is kind
    assert refused.value.message
    assert "ada:x" not in refused.value.message


async def test_a_token_reaches_its_own_sessions_and_no_others(hub: FakeHub) -> None:
    client = HubClient(hub.api_url)
    with pytest.raises(NotFound):
        await client.start("token-eve", "ada", NAME, title="x", options={})
    with pytest.raises(NotFound):
        await client.sessions("token-eve", "ada")
    assert hub.started == []


async def test_a_hub_that_is_not_there_is_named_as_such() -> None:
    with pytest.raises(HubUnavailable):
        await HubClient(f"http://127.0.0.1:{free_port()}/hub/api").sessions("token-ada", "ada")
