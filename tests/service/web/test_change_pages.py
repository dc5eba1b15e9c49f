"""The pages on which an environment is changed, and on which a version is made ready for another machine."""

from html import escape
from http import HTTPStatus

import pytest

from guix_build_service.model.environments import Changes, Environment, Export, Person, Version
from guix_environment.identifiers import EnvironmentId
from guix_environment.records import Visibility
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.page import Page, check

ADA = Person("ada", groups=frozenset({"lab"}))
AS_BEFORE = {"name": "good", "description": "", "ref": "", "audience": "private", "memory": "", "cpu": ""}
HOSTILE = '</textarea><script>alert("&")</script>'


async def known(site: Site, identifier: EnvironmentId) -> Environment:
    return (await site.manager.environment(identifier, ADA)).environment


def filled_in(page: Page) -> dict[str, str | None]:
    """Return what the fields of the form hold but its choices and its paragraph."""
    return {str(field["name"]): field.get("value") for field in page.all("input") if field.get("type") == "text"}


async def test_an_owner_changes_what_there_is_and_finds_it_again(site: Site) -> None:
    one = (await site.ready("good", "ada")).environment.id
    browser = await site.login("ada")
    address = f"environments/{one}/change"
    assert f"{PREFIX}{address}" in (await browser.get(f"environments/{one}")).body.decode()
    page = Page((await browser.get(address)).body.decode())
    check(page)
    assert filled_in(page) == {"name": "good", "ref": "", "memory": "", "cpu": ""}
    wanted = {"name": "Plots", "description": HOSTILE, "ref": "next", "audience": "group:lab", "memory": "1.5", "cpu": "2"}
    answer = await browser.submit(address, **wanted)
    assert (answer.code, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, f"{PREFIX}environments/{one}")
    after = await known(site, one)
    assert (after.name, after.description, after.ref) == ("Plots", HOSTILE, "next")
    assert (after.visibility, after.groups) == (Visibility.GROUPS, ("lab",))
    assert (after.memory, after.cpu) == (3 << 29, 2.0)
    shown = (await browser.get(address)).body.decode()
    check(Page(shown))
    assert HOSTILE not in shown
    assert escape(HOSTILE).replace("&quot;", "&#34;") in shown
    assert filled_in(Page(shown)) == {"name": "Plots", "ref": "next", "memory": "1.5", "cpu": "2"}
    assert [choice["value"] for choice in Page(shown).all("option") if "selected" in choice] == ["group:lab"]
    # What is left empty is as it is without being asked for.
    assert (await browser.submit(address, **AS_BEFORE)).code == HTTPStatus.SEE_OTHER
    cleared = await known(site, one)
    assert (cleared.description, cleared.ref, cleared.memory, cleared.cpu) == ("", "", None, None)
    assert (cleared.visibility, cleared.groups) == (Visibility.PRIVATE, ())


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", "", "name"),
        ("ref", "-x", "ref"),
        ("audience", "all", "visibility"),
        ("memory", "much", "memory is not a number"),
        ("memory", "nan", "memory"),
        ("memory", "1e300", "memory"),
        ("cpu", "0", "cpu"),
        ("cpu", "inf", "cpu"),
    ],
)
async def test_what_cannot_be_is_told_beside_what_was_typed(site: Site, field: str, value: str, told: str) -> None:
    one = (await site.ready("good", "ada")).environment.id
    before = await known(site, one)
    browser = await site.login("ada")
    answer = await browser.submit(f"environments/{one}/change", **{**AS_BEFORE, "name": "Typed", field: value})
    assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
    shown = answer.body.decode()
    assert 'role="alert"' in shown
    assert told in shown
    assert field == "name" or 'value="Typed"' in shown
    assert await known(site, one) == before


async def test_an_editor_changes_name_and_description_alone(site: Site) -> None:
    one = (await site.ready("good", "ada")).environment.id
    owner, eve = await site.login("ada"), await site.login("eve")
    await owner.submit(f"environments/{one}/members", kind="user", name="eve", role="editor")
    address = f"environments/{one}/change"
    assert filled_in(Page((await eve.get(address)).body.decode())) == {"name": "good"}
    sent = {**AS_BEFORE, "name": "Eve's", "audience": "everyone", "ref": "evil", "memory": "99"}
    assert (await eve.submit(address, **sent)).code == HTTPStatus.SEE_OTHER
    after = await known(site, one)
    assert (after.name, after.visibility, after.ref, after.memory) == ("Eve's", Visibility.PRIVATE, "", None)


async def test_several_groups_stay_where_nothing_else_is_chosen(site: Site) -> None:
    one = (await site.ready("good", "ada")).environment.id
    await site.manager.update_environment(one, Changes(visibility=Visibility.GROUPS, groups=("lab", "library")), ADA)
    browser = await site.login("ada")
    shown = (await browser.get(f"environments/{one}/change")).body.decode()
    assert "Members of lab, library" in shown
    await browser.submit(f"environments/{one}/change", **{**AS_BEFORE, "name": "Other", "audience": ""})
    after = await known(site, one)
    assert (after.name, after.groups) == ("Other", ("lab", "library"))


async def test_a_version_is_shown_and_kept_for_another_machine(site: Site) -> None:
    detail = await site.ready("good", "ada", visibility=Visibility.EVERYONE)
    assert detail.version is not None
    export = await site.manager.export(detail.environment.id, detail.version.id, ADA)
    browser = await site.login("eve")
    address = f"environments/{detail.environment.id}/versions/{detail.version.id}/export"
    assert f"{PREFIX}{address}" in (await browser.get(f"environments/{detail.environment.id}")).body.decode()
    shown = (await browser.get(address)).body.decode()
    check(Page(shown))
    assert export.command in shown
    for block in Page(shown).all("pre"):  # a long line is read by keyboard, too
        assert (block["tabindex"], block["role"]) == ("0", "region")
        assert block["aria-label"]
    for name, text in (("manifest.scm", export.manifest), ("channels.scm", export.channels)):
        assert f"{PREFIX}{address}/{name}" in shown
        kept = await browser.get(f"{address}/{name}")
        assert kept.body.decode() == text
        assert kept.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert kept.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert kept.headers["X-Content-Type-Options"] == "nosniff"
    assert (await browser.get(f"{address}/version.json")).code == HTTPStatus.NOT_FOUND


async def test_a_version_of_an_unknown_guix_promises_no_more_than_its_manifest(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def export(_: Version) -> Export:
        return Export("(list)", "")

    monkeypatch.setattr(site.pipeline, "export", export)
    detail = await site.ready("good", "ada")
    assert detail.version is not None
    address = f"environments/{detail.environment.id}/versions/{detail.version.id}/export"
    browser = await site.login("ada")
    page = Page((await browser.get(address)).body.decode())
    check(page)
    assert "to the bit" not in page.text
    assert "channels.scm" not in page.text
    assert (await browser.get(f"{address}/channels.scm")).code == HTTPStatus.NOT_FOUND
