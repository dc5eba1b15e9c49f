"""Nothing that a repository or a stranger sends becomes more than words on a page, or is told to others."""

from http import HTTPStatus
from pathlib import Path

from guix_build_service.model.environments import Changes, Person
from guix_build_service.web.settings import shared_folder
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.page import Page, check
from tests.service.web.scripted import HOSTILE

ADA = Person("ada")


async def test_hostile_words_are_words_on_every_page(site: Site) -> None:
    browser = await site.login("ada")
    addresses = [""]
    for repository in ("good", "broken"):
        detail = await site.ready(repository, "ada")
        identifier = detail.environment.id
        await site.manager.update_environment(identifier, Changes(name=HOSTILE, description=HOSTILE), ADA)
        assert detail.build is not None
        addresses += [f"environments/{identifier}", f"environments/{identifier}/delete", f"builds/{detail.build.id}"]
    for address in addresses:
        answer = await browser.get(address)
        assert answer.code == HTTPStatus.OK
        text = answer.body.decode()
        assert "<script>alert" not in text
        page = Page(text)
        check(page)
        assert HOSTILE in page.text, address


async def test_every_answer_has_the_headers_that_keep_browsers_safe(site: Site) -> None:
    browser = await site.login("ada")
    for answer in (
        await browser.get(""),
        await browser.get("environments/x"),
        await browser.get("nowhere"),
        await site.ask("GET", "api/v1/health"),
        await site.ask("GET", "api/v1/environments"),
        await site.ask("GET", "static/build.js"),
        await site.ask("GET", "static/../layout.html"),
        await site.ask("GET", "static/missing.js"),
        await site.ask("GET", "oauth_callback"),
        await site.ask("GET", ""),
        await site.ask("TRACE", ""),
        await site.ask("GET", PREFIX.rstrip("/")),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "Server" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.code < 500
        assert b"Traceback" not in answer.body


async def test_static_files_are_those_of_one_folder(site: Site) -> None:
    answer = await site.ask("GET", "static/service.css")
    assert answer.code == HTTPStatus.OK
    assert answer.headers["Cache-Control"] == "no-cache"
    for path in ("../templates/service/layout.html", "%2e%2e/%2e%2e/pyproject.toml", "/etc/passwd", ""):
        assert (await site.ask("GET", f"static/{path}")).code in {
            HTTPStatus.NOT_FOUND,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.BAD_REQUEST,
        }


async def test_cookies_are_kept_from_scripts_and_other_paths(site: Site) -> None:
    browser = await site.login("ada")
    assert browser.cookies.keys() >= {"service-guix", "_xsrf"}
    assert browser.set_cookies
    for line in [each for each in browser.set_cookies if '=""' not in each]:
        assert f"Path={PREFIX}" in line
        assert "samesite" in line.lower()
        assert "httponly" in line.lower()


def test_scripts_put_no_text_into_a_page_as_markup() -> None:
    for script in Path(shared_folder("static")).glob("*.js"):
        text = script.read_text()
        for way in ("innerHTML", "outerHTML =", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in text, (script.name, way)
