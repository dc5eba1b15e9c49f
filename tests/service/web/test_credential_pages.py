"""The pages of credentials: what is kept is shown, and never what it is."""

import json
from http import HTTPStatus
from pathlib import Path

import pytest

from guix_build_service.credentials.envelope import Kind
from guix_build_service.credentials.ssh_keys import SshKey
from guix_build_service.model.environments import now
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.page import Page, check
from tests.ssh_server import make_key

SECRET = "the-secret-of-the-test"


async def test_a_token_is_kept_shown_without_itself_and_forgotten(site: Site) -> None:
    browser = await site.login("ada")
    empty = Page((await browser.get("credentials")).body.decode())
    check(empty)
    assert "You keep nothing yet" in empty.text
    kept = await browser.submit("credentials", host="git.example:3000", user="ada-there", password=SECRET)
    assert (kept.code, kept.headers["Location"]) == (HTTPStatus.SEE_OTHER, f"{PREFIX}credentials")
    shown = (await browser.get("credentials")).body.decode()
    check(Page(shown))
    assert "git.example:3000" in Page(shown).text
    assert "Not used yet" in Page(shown).text
    assert SECRET not in shown
    assert "ada-there" not in shown
    assert "git.example" not in (await (await site.login("eve")).get("credentials")).body.decode()
    path = "credentials/git.example%3A3000/delete"
    asked = Page((await browser.get(path)).body.decode())
    check(asked)
    assert "Forget what is kept for git.example:3000?" in asked.text
    assert (await browser.submit(path)).code == HTTPStatus.SEE_OTHER
    assert (await browser.submit(path)).code == HTTPStatus.NOT_FOUND
    assert "You keep nothing yet" in (await browser.get("credentials")).body.decode()


@pytest.mark.parametrize(
    "pasted", ["codeberg.org", "https://codeberg.org/ada/plots", "codeberg.org/ada/plots", " codeberg.org "]
)
async def test_the_address_of_a_repository_names_its_host(site: Site, pasted: str) -> None:
    browser = await site.login("ada")
    assert (await browser.submit("credentials", host=pasted, password=SECRET)).code == HTTPStatus.SEE_OTHER
    [kept] = await site.manager.vault.credentials("ada")
    assert kept.place.host == "codeberg.org"


@pytest.mark.parametrize(
    "values",
    [
        {"host": "", "password": SECRET},
        {"host": "a b", "password": SECRET},
        {"host": "git.example/x?", "password": SECRET},
        {"host": "<script>alert(1)</script>", "password": SECRET},
        {"host": "git.example", "password": ""},
        {"host": "git.example", "password": SECRET * 200},
    ],
)
async def test_what_cannot_be_kept_is_asked_for_again_without_the_secret(site: Site, values: dict[str, str]) -> None:
    browser = await site.login("ada")
    answer = await browser.submit("credentials", **values)
    assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
    page = Page(answer.body.decode())
    check(page)
    assert page.all("script") == Page((await browser.get("credentials")).body.decode()).all("script")
    [host] = [each for each in page.all("input") if each.get("name") == "host"]
    assert host.get("value") == values["host"]
    assert SECRET not in answer.body.decode()
    assert await site.manager.vault.credentials("ada") == []


async def test_a_refused_repository_leads_to_the_form_for_its_host(site: Site) -> None:
    browser = await site.login("ada")
    answer = await browser.submit("", repo="https://git.example/a/gone", audience="private")
    assert f'href="{PREFIX}credentials?host=git.example"' in answer.body.decode()
    page = Page((await browser.get("credentials?host=git.example")).body.decode())
    check(page)
    assert "git.example" in [each.get("value") for each in page.all("input")]
    assert await site.manager.vault.credentials("ada") == []


async def test_a_key_is_kept_shown_by_its_fingerprint_beside_a_token_and_forgotten(site: Site, tmp_path: Path) -> None:
    file = make_key(tmp_path / "key")
    key = file.read_text()
    browser = await site.login("ada")
    assert (await browser.submit("credentials", host="git.example", password=SECRET)).code == HTTPStatus.SEE_OTHER
    pasted = {"host": "git@git.example:ada/plots.git", "ssh_key": key.replace("\n", "\r\n")}
    assert (await browser.submit("credentials", **pasted)).code == HTTPStatus.SEE_OTHER
    shown = (await browser.get("credentials")).body.decode()
    check(Page(shown))
    fingerprint = SshKey.parse(key).fingerprint
    assert fingerprint in shown
    assert key.splitlines()[1] not in shown
    listed = json.loads((await site.ask("GET", "api/v1/credentials", token="token-ada")).body)["credentials"]
    assert [(each["host"], each["kind"], each["fingerprint"]) for each in listed] == [
        ("git.example", "password", ""),
        ("git.example", "ssh-key", fingerprint),
    ]
    assert (await browser.submit("credentials/git.example/delete", kind="ssh-key")).code == HTTPStatus.SEE_OTHER
    [kept] = await site.manager.vault.credentials("ada")
    assert kept.place.kind is Kind.PASSWORD


async def test_what_is_no_usable_key_is_refused_without_showing_it(site: Site, tmp_path: Path) -> None:
    protected = make_key(tmp_path / "key", passphrase="a passphrase").read_text()
    browser = await site.login("ada")
    for values, told in (
        ({"ssh_key": protected}, "passphrase"),
        ({"ssh_key": SECRET}, "no private key"),
        ({"ssh_key": protected, "password": SECRET}, "not both"),
        ({}, "not both"),
    ):
        answer = await browser.submit("credentials", host="git.example", **values)
        assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
        shown = answer.body.decode()
        check(Page(shown))
        assert told in shown
        assert protected.splitlines()[1] not in shown
        assert SECRET not in shown
    assert await site.manager.vault.credentials("ada") == []


async def test_what_a_host_did_not_accept_is_to_be_kept_anew(site: Site) -> None:
    browser = await site.login("ada")
    assert (await browser.submit("credentials", host="git.example", password=SECRET)).code == HTTPStatus.SEE_OTHER
    words = "The host did not accept it just now. It may have expired: keep a new one above."
    assert words not in " ".join(Page((await browser.get("credentials")).body.decode()).text.split())
    vault = site.manager.vault
    [kept] = await vault.credentials("ada")
    await vault._rows.note(kept.place.identifier, used=now(), refused=now())
    assert words in " ".join(Page((await browser.get("credentials")).body.decode()).text.split())
