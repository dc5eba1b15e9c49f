"""BinderHub's own client, unchanged, gets from a repository to a session, and is told in words when it does not."""

from guix_build_service.model.environments import Person
from tests.service.listing import environments_for
from tests.service.web.binderhub_client import follow
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.scripted import HOSTILE

ORDER = ["waiting", "fetching", "building", "built", "launching", "ready"]


def spec(repository: str) -> str:
    return f"git/https%3A%2F%2Fgit.example%2Fa%2F{repository}/main"


async def events(site: Site, of: str, token: str = "token-ada", *, build_only: bool = False) -> list[dict[str, object]]:
    return await follow(f"{site.address}{PREFIX}build", of, token, build_only=build_only)


async def test_the_client_gets_to_a_session(site: Site) -> None:
    found = await events(site, spec("good"))
    told = list(dict.fromkeys(str(event["phase"]) for event in found))
    assert told == [phase for phase in ORDER if phase in told], "in their order; who looks late misses some"
    assert {"waiting", "built", "launching", "ready"} <= set(told)
    ((person, name, _),) = site.hub.started
    assert person == "ada"
    assert found[-1]["url"] == f"{site.address}/user/ada/{name}/"
    assert found[-1]["token"] == "minted-1"
    again = await events(site, spec("good"))
    assert [event["phase"] for event in again] == ["waiting", "built", "ready"]


async def test_the_client_can_ask_for_a_build_alone(site: Site) -> None:
    found = await events(site, spec("good"), build_only=True)
    assert found[-1]["phase"] == "ready"
    (detail,) = await environments_for(Person("ada"), site.manager)
    assert found[-1]["imageName"] == detail.environment.id
    assert site.hub.started == []


async def test_the_client_says_why_there_is_no_session(site: Site) -> None:
    for of, words in {
        spec("broken"): f"Guix has no package called {HOSTILE}",
        spec("gone"): "No repository answers there.",
        "nonsense/a/b/main": "There is no provider 'nonsense'.",
        "gh/a": "The address names nobody's repository on GitHub.",
        "git/https%3A%2F%2Fme%3Asecret%40git.example%2Fa/main": "The address holds a user name or password.",
        "gh/a/b/--upload-pack=x": "This cannot be the name of a branch",
    }.items():
        found = await events(site, of)
        assert found[-1]["phase"] == "failed", of
        assert words in str(found[-1]["message"]), of
    assert site.hub.started == []


async def test_the_client_is_told_that_nobody_is_logged_in(site: Site) -> None:
    (event,) = await events(site, spec("good"), "unknown")
    assert event["phase"] == "failed"
    assert "401" in str(event["message"]) or "403" in str(event["message"])
