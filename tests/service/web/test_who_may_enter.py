"""Nobody gets past the hub: not without a login, not without access, and not with a cookie from another site's page."""

from http import HTTPStatus

import pytest

from guix_build_service.web.about import Health
from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.application import API, PAGES
from guix_build_service.web.auth import READING_METHODS
from guix_build_service.web.pages import LoginCallbackPage
from guix_build_service.web.webhooks import Deliveries
from guix_environment.records import Visibility
from tests.service.web.conftest import PREFIX, Site, refusal

CHANGING = {"Content-Type": "application/json"}


def every_route() -> list[tuple[str, str, type[AnsweringHandler]]]:
    """Return each method of each address that asks for a login, with made-up names in the address."""
    found = []
    for below, handlers in (("api/v1/", API), ("", PAGES)):
        for handler in handlers:
            if handler in {Health, LoginCallbackPage, Deliveries}:
                continue
            path = below + handler.route.format(
                environment="eaaaaaaaaaaa",
                version="vaaaaaaaaaaa",
                file="manifest.scm",
                build="baaaaaaaaaaa",
                name="a",
                host="git.example",
                kind="user",
                member="eve",
                provider="gh",
                spec="a/b/c",
            )
            methods = [name for name in ("get", "post", "put", "patch", "delete") if name in vars(handler)]
            assert methods
            found += [(method.upper(), path, handler) for method in methods]
    return found


ROUTES = [(method, path) for method, path, _ in every_route()]


async def test_a_stranger_reaches_nothing(site: Site) -> None:
    for method, path in ROUTES:
        answer = await site.ask(method, path, headers={**CHANGING, "Sec-Fetch-Mode": "cors"})
        assert answer.code == HTTPStatus.UNAUTHORIZED, (method, path)
        assert answer.headers["WWW-Authenticate"]
        answer = await site.ask(method, path, headers=CHANGING)
        to_login = method == "GET" and not path.startswith("api/v1")
        assert answer.code == (HTTPStatus.FOUND if to_login else HTTPStatus.UNAUTHORIZED), (method, path)


async def test_an_invalid_token_reaches_nothing_and_is_never_sent_to_a_login_page(site: Site) -> None:
    for method, path in ROUTES:
        if path.startswith("api/v1"):
            answer = await site.ask(method, path, token="wrong", headers=CHANGING)
            assert answer.code == HTTPStatus.UNAUTHORIZED, (method, path)
            assert refusal(answer) == "not-logged-in"


async def test_whoever_has_no_access_to_the_service_reaches_nothing(site: Site) -> None:
    browser = await site.login("stranger")
    for method, path in ROUTES:
        answer = await site.ask(method, path, token="token-stranger", headers=CHANGING)
        assert answer.code == HTTPStatus.FORBIDDEN, (method, path)
        if path.startswith("api/v1"):
            assert refusal(answer) == "no-access"
    assert (await browser.get("")).code == HTTPStatus.FORBIDDEN


async def test_a_cookie_alone_changes_nothing(site: Site) -> None:
    browser = await site.login("ada")
    detail = await site.ready("good", "ada")
    changing = [(method, path) for method, path in ROUTES if method not in READING_METHODS]
    assert len(changing) > 10
    for method, route in changing:
        path = route.replace("eaaaaaaaaaaa", detail.environment.id)
        for headers in (
            {},
            {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Mode": "websocket"},
            {"X-XSRFToken": "2|wrong"},
            {"X-XSRFToken": browser.xsrf[:-1]},
            {"Authorization": "token wrong"},
        ):
            answer = await browser.ask(method, path, headers={**CHANGING, **headers}, body="{}")
            assert answer.code in {HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED}, (method, path, headers)
    assert (await site.ask("GET", f"api/v1/environments/{detail.environment.id}", token="token-ada")).code == HTTPStatus.OK
    assert site.hub.started == []


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "HERE"}, True),
        ({"Origin": "http://elsewhere.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "HERE"}, False),
        ({}, True),
    ],
)
async def test_the_right_token_from_another_place_is_refused_too(site: Site, headers: dict[str, str], allowed: bool) -> None:
    browser = await site.login("ada")
    sent = {name: value.replace("HERE", site.address) for name, value in headers.items()}
    sent |= {"X-XSRFToken": browser.xsrf, **CHANGING}
    answer = await browser.ask("POST", "api/v1/resolve", headers=sent, json_body={"repo": "https://git.example/a/good"})
    assert answer.code == (HTTPStatus.OK if allowed else HTTPStatus.FORBIDDEN)
    if not allowed:
        assert refusal(answer) == "request-forged"


async def test_another_browsers_token_is_refused(site: Site) -> None:
    ada, eve = await site.login("ada"), await site.login("eve")
    body = {"repo": "https://git.example/a/good"}
    answer = await ada.ask("POST", "api/v1/environments", headers={"X-XSRFToken": eve.xsrf}, json_body=body)
    assert answer.code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Mode": "cors", "X-XSRFToken": "RIGHT"}, 200),
        ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Mode": "websocket"}, 403),
    ],
)
async def test_reading_with_a_cookie_follows_the_rules_of_the_hub(site: Site, headers: dict[str, str], status: int) -> None:
    browser = await site.login("ada")
    sent = {name: value.replace("RIGHT", browser.xsrf) for name, value in headers.items()}
    assert (await browser.ask("GET", "api/v1/environments", headers=sent)).code == status
    in_query = "api/v1/environments?" + "_xsrf=" + browser.xsrf
    assert (await browser.ask("GET", in_query, headers=headers | {"Sec-Fetch-Mode": "cors"})).code == 200


async def test_a_token_needs_nothing_else(site: Site) -> None:
    body = {"repo": "https://git.example/a/good"}
    for scheme in ("token", "bearer", "Bearer"):
        headers = {"Authorization": f"{scheme} token-ada", "Sec-Fetch-Site": "cross-site"}
        answer = await site.ask("POST", "api/v1/resolve", headers=headers, json_body=body)
        assert answer.code == HTTPStatus.OK
    assert (await site.ask("GET", "api/v1/environments?token=token-ada")).code == HTTPStatus.UNAUTHORIZED


async def test_a_right_that_was_taken_away_ends_at_once_for_what_changes_something(site: Site) -> None:
    assert (await site.ask("GET", "api/v1/environments", token="token-ada")).code == HTTPStatus.OK
    del site.hub.people["token-ada"]
    body = {"repo": "https://git.example/a/good"}
    answer = await site.ask("POST", "api/v1/environments", token="token-ada", json_body=body)
    assert answer.code == HTTPStatus.UNAUTHORIZED


async def test_reading_asks_the_hub_once_a_minute_at_most(site: Site) -> None:
    for _ in range(5):
        await site.ask("GET", "api/v1/environments", token="token-ada")
    assert site.hub.identified.count("token-ada") == 1


@pytest.mark.parametrize(
    ("name", "sees_private", "may_change"),
    [("ada", True, True), ("eve", False, False), ("root", True, True), ("watcher", False, False), ("keeper", True, True)],
)
async def test_who_sees_and_changes_what(site: Site, name: str, sees_private: bool, may_change: bool) -> None:
    private = await site.ready("good", "ada")
    public = await site.ready("good-too", "ada", visibility=Visibility.EVERYONE)
    token = f"token-{name}"
    listed = await site.ask("GET", "api/v1/environments", token=token)
    assert (private.environment.id in listed.body.decode()) is sees_private
    assert public.environment.id in listed.body.decode()
    expected = HTTPStatus.OK if sees_private else HTTPStatus.NOT_FOUND
    hidden = f"api/v1/environments/{private.environment.id}"
    assert private.build is not None
    for path in (hidden, f"{hidden}/versions", f"api/v1/builds/{private.build.id}", f"api/v1/builds/{private.build.id}/log"):
        assert (await site.ask("GET", path, token=token)).code == expected, path
    for path in (f"environments/{private.environment.id}", f"builds/{private.build.id}"):
        assert (await site.ask("GET", path, token=token)).code == expected, path
    shown = f"api/v1/environments/{public.environment.id}"
    changed = await site.ask("PATCH", shown, token=token, json_body={"name": "Changed"})
    assert changed.code == (HTTPStatus.OK if may_change else HTTPStatus.FORBIDDEN)
    deleted = await site.ask("DELETE", hidden, token=token)
    assert deleted.code == (HTTPStatus.NO_CONTENT if may_change else HTTPStatus.NOT_FOUND)


async def test_a_service_cannot_be_taken_for_a_user(site: Site) -> None:
    site.hub.add_service("ada")  # the token that was ada's is now that of a service of the same name
    detail = await site.ready("good", "ada")
    answer = await site.ask("GET", f"api/v1/environments/{detail.environment.id}", token="token-ada")
    assert answer.code == HTTPStatus.NOT_FOUND
    answer = await site.ask("GET", "api/v1/sessions", token="token-ada")
    assert answer.code == HTTPStatus.FORBIDDEN


async def test_without_a_hub_the_answer_is_that_it_is_not_there(site: Site) -> None:
    await site.hub.stop()
    answer = await site.ask("GET", "api/v1/environments", token="token-ada")
    assert answer.code == HTTPStatus.SERVICE_UNAVAILABLE
    assert refusal(answer) == "hub-unavailable"
    assert (await site.ask("GET", "api/v1/health")).code == HTTPStatus.OK


async def test_logging_in_leads_back_to_where_one_was_going_and_nowhere_else(site: Site) -> None:
    for path in (f"{PREFIX}//elsewhere.example/", f"{PREFIX}?next=//elsewhere.example", f"{PREFIX}builds/%2F%2Felsewhere"):
        answer = await site.ask("GET", path)
        if answer.code == HTTPStatus.FOUND:
            assert answer.headers["Location"].startswith("/hub/api/oauth2/authorize?")
        else:
            assert answer.code == HTTPStatus.NOT_FOUND
    for path in ("//elsewhere.example/", "http://elsewhere.example/", "/\\elsewhere.example/services/guix/"):
        answer = await site.ask("GET", "/" + path)
        assert answer.code == HTTPStatus.NOT_FOUND
        assert "Location" not in answer.headers
    for query in ("", "?code=ada", "?code=ada&state=forged", "?error=x&error_description=<b>"):
        answer = await site.ask("GET", f"oauth_callback{query}")
        assert answer.code in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}
        assert "Set-Cookie" not in answer.headers
        assert b"<b>" not in answer.body
