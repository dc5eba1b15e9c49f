"""What one person keeps to themselves does not exist for others, on any way in."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.rest import API, Client, add_person
from tests.git_server import GitServer

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(900)]

MANIFEST = '(specifications->manifest (list "sed"))\n'


@pytest.fixture
def bob(person: Client) -> Client:
    return add_person(person, "bob")


@pytest.fixture
def private(quiet: Client, git_server: GitServer) -> Iterator[str]:
    """A private environment of the administrator's that is ready."""
    git_server.commit("secret", {"manifest.scm": MANIFEST})
    identifier = quiet.add(repo=git_server.url("secret"), name="Secret").content["id"]
    assert quiet.built(identifier)["state"] == "ready"
    yield identifier
    assert quiet.ask("DELETE", f"{API}environments/{identifier}").status == 204


def test_a_private_environment_does_not_exist_for_others(private: str, quiet: Client, bob: Client) -> None:
    assert "Secret" in quiet.environments()
    assert "Secret" not in bob.environments()
    assert set(bob.environments()) >= {"A plot in Python", "A plot in R"}
    build = quiet.environments()["Secret"]["build"]["id"]
    for method, path in (
        ("GET", f"environments/{private}"),
        ("GET", f"environments/{private}/versions"),
        ("DELETE", f"environments/{private}"),
        ("POST", f"environments/{private}/builds"),
        ("GET", f"builds/{build}"),
        ("GET", f"builds/{build}/log"),
    ):
        answer = bob.ask(method, f"{API}{path}", {} if method == "POST" else None)
        assert answer.status == 404, (path, answer)
        assert answer.error["code"] == "not-found"
    assert quiet.ask("GET", f"{API}environments/{private}").content["state"] == "ready"


def test_a_private_environment_cannot_be_started_by_others(private: str, bob: Client) -> None:
    through_the_service = bob.ask("POST", f"{API}sessions", {"environment": private})
    assert through_the_service.status == 404
    for server in ("server", "servers/mine"):
        # Both forms of the hub's: release 6 takes the options by name, release 5 as the body.
        for body in ({"user_options": {"environment": private}}, {"environment": private}):
            answer = bob.ask("POST", f"hub/api/users/bob/{server}", body)
            assert answer.status in {400, 404}, answer
    started = bob.ask("POST", "hub/api/users/bob/server", {"user_options": {"environment": private}})
    assert "There is no such environment, or it is not shared with you." in started.content["message"]
    never = bob.ask("POST", "hub/api/users/bob/server", {"user_options": {"environment": "e" * 12}})
    assert (never.status, never.content["message"]) == (started.status, started.content["message"])
    assert bob.ask("GET", "hub/api/users/bob").content.get("servers", {}) == {}


def test_others_cannot_change_what_is_shared_with_them(quiet: Client, bob: Client) -> None:
    example = bob.environments()["A plot in Python"]
    assert not example["may_change"]
    for method, body in (("DELETE", None), ("PATCH", {"name": "Mine"})):
        answer = bob.ask(method, f"{API}environments/{example['id']}", body)
        assert (answer.status, answer.error["code"]) == (403, "refused")
    assert "A plot in Python" in quiet.environments()


def test_nobody_gets_anything_without_a_token(quiet: Client) -> None:
    for client in (Client(quiet.address, "", ""), Client(quiet.address, "", "0" * 32)):
        answer = client.ask("GET", f"{API}environments")
        assert (answer.status, answer.error["code"]) == (401, "not-logged-in")
