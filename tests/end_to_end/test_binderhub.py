"""A client of BinderHub's gets from a repository to a server that answers it, by one stream and the token in it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.end_to_end.rest import API, Client
from tests.git_server import GitServer
from tests.service.web.binderhub_client import follow

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(900)]

PHASES = {"waiting", "fetching", "building", "built", "launching", "ready"}


@pytest.fixture
def link(quiet: Client, git_server: GitServer) -> Iterator[str]:
    """A link to a repository that nobody has added; what comes of it is taken away again."""
    git_server.commit("linked", {"manifest.scm": '(specifications->manifest (list "sed"))\n', "notes/i.md": "Hello"})
    url = git_server.url("linked")
    yield f"git/{quote(url, safe='')}/main"
    for environment in quiet.environments().values():
        if environment["repo"] == url:
            quiet.stop(environment["id"])
            assert quiet.ask("DELETE", f"{API}environments/{environment['id']}").status == 204


def stream(person: Client, path: str) -> list[dict[str, Any]]:
    """Return the events that the service tells PERSON at PATH, once it has closed the stream."""
    request = Request(person.address + path, headers={"Authorization": f"token {person.token}", "Accept": "*/*"})
    with urlopen(request, timeout=600) as answer:
        lines = answer.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def test_a_link_of_binderhubs_leads_to_a_server_that_answers(quiet: Client, link: str) -> None:
    events = stream(quiet, f"services/guix/build/{link}?labpath=notes/i.md")
    assert {event["phase"] for event in events} == PHASES, events[-1]
    ready = events[-1]
    assert ready["phase"] == "ready"
    assert ready["url"].startswith(f"{quiet.address}user/{quiet.name}/")
    session = Client(ready["url"], quiet.name, ready["token"])
    assert session.ask("GET", "api/status").status == 200
    assert session.ask("GET", "hub/api/user").status != 200
    elsewhere = Client(quiet.address, quiet.name, ready["token"])
    assert elsewhere.ask("GET", f"{API}environments").status in {401, 403}
    again = asyncio.run(follow(f"{quiet.address}services/guix/build", link, quiet.token))  # with BinderHub's own client
    assert [event["phase"] for event in again] == ["waiting", "built", "ready"]
    assert again[-1]["url"] == ready["url"]
