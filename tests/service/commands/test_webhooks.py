"""A webhook, made and removed at a command line."""

from http import HTTPStatus

from guix_build_service.commands.outcomes import ExitStatus
from tests.service.commands.conftest import Terminal
from tests.service.web.conftest import PREFIX, Site
from tests.service.webhooks.deliveries import of_github, sent


async def test_a_webhook_is_made_used_and_removed(site: Site, terminal: Terminal) -> None:
    detail = await site.ready("good", "ada")
    path = f"api/v1/hooks/github/{detail.environment.id}"
    said = await terminal("webhook", "good")
    assert said.status == ExitStatus.DONE
    lines = {name: value for name, _, value in (line.rpartition(" ") for line in said.out.splitlines())}
    lines = {name.strip(" :"): value for name, value in lines.items()}
    assert lines["address for github"] == f"{site.address}{PREFIX}{path}"
    body = of_github(str(detail.environment.repository))
    headers, content = sent("github", lines["secret"], body)
    assert (await site.ask("POST", path, headers=headers, body=content)).code == HTTPStatus.OK
    assert (await terminal("webhook", "good", "--json")).field("secret") != lines["secret"]
    assert (await site.ask("POST", path, headers=headers, body=content)).code == HTTPStatus.NOT_FOUND
    assert (await terminal("webhook", "good", "--remove")).status == ExitStatus.DONE
    again = await terminal("webhook", "good", "--remove")
    assert again.status == ExitStatus.NOT_FOUND
    assert "no webhook" in again.err
