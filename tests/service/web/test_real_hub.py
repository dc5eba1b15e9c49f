"""The service behind a real JupyterHub: logins, its own rules against forged requests, and sessions started as a person."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlencode

import pytest

from tests.service.web.real_hub import TOKENS, RealHub, Visitor, running_hub

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["/", "/base/"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Give a hub at the root of its host, and one below a path."""
    with running_hub(tmp_path_factory.mktemp("hub"), request.param) as hub:
        yield hub


def test_a_person_logs_in_by_way_of_the_hub_and_comes_back(hub: RealHub) -> None:
    stranger = Visitor(hub.address).ask("GET", hub.service, Sec_Fetch_Mode="navigate")
    assert f"{hub.base_url}hub/login" in stranger.url
    browser = hub.browser("ada")
    page = browser.ask("GET", f"{hub.service}?x=1", Sec_Fetch_Mode="navigate")
    assert (page.status, page.url) == (HTTPStatus.OK, f"{hub.address}{hub.service}?x=1")
    assert "good" in page.text
    assert f'href="{hub.base_url}hub/static/css/style.min.css"' in page.text
    style = Visitor(hub.address).ask("GET", f"{hub.base_url}hub/static/css/style.min.css")
    assert (style.status, "data-bs-theme" in style.text) == (HTTPStatus.OK, True)


def test_without_the_right_xsrf_token_a_cookie_changes_nothing(hub: RealHub) -> None:
    browser = hub.browser("ada")
    body = json.dumps({"repo": "https://git.example/a/good"})
    path = f"{hub.service}api/v1/resolve"
    assert browser.xsrf
    hubs_own = next(cookie.value for cookie in browser.jar if cookie.name == "_xsrf" and cookie.path.endswith("/hub/"))
    for token in ("", "wrong", hubs_own or "", hub.browser("eve").xsrf):
        answer = browser.ask("POST", path, body, Content_Type="application/json", X_XSRFToken=token)
        assert answer.status == HTTPStatus.FORBIDDEN, token
    headers = {"Content-Type": "application/json", "X-XSRFToken": browser.xsrf}
    assert browser.ask("POST", path, body, **headers).status == HTTPStatus.OK
    assert browser.ask("POST", path, body, **headers, Sec_Fetch_Site="same-site").status == HTTPStatus.FORBIDDEN
    listed = browser.ask("GET", f"{hub.service}api/v1/environments", Sec_Fetch_Mode="cors")
    assert listed.status == HTTPStatus.FORBIDDEN
    listed = browser.ask("GET", f"{hub.service}api/v1/environments?_xsrf={browser.xsrf}", Sec_Fetch_Mode="cors")
    assert listed.status == HTTPStatus.OK


@pytest.mark.parametrize(
    ("name", "status", "repositories"),
    [
        ("ada", 200, ["good", "slow"]),
        ("eve", 200, ["good"]),
        ("root", 200, ["good", "slow"]),
        ("watcher", 200, ["good"]),
        ("stranger", 403, []),
    ],
)
def test_tokens_open_what_their_owners_may_see(hub: RealHub, name: str, status: int, repositories: list[str]) -> None:
    answer = hub.program(name).ask("GET", f"{hub.service}api/v1/environments")
    assert answer.status == status
    if status == HTTPStatus.OK:
        assert [each["name"] for each in json.loads(answer.text)["environments"]] == repositories
    else:
        assert json.loads(answer.text)["error"]["code"] == "no-access"


def test_an_unknown_token_and_no_token_are_told_so(hub: RealHub) -> None:
    for visitor in (Visitor(hub.address), Visitor(hub.address, "unknown")):
        answer = visitor.ask("GET", f"{hub.service}api/v1/environments")
        assert (answer.status, json.loads(answer.text)["error"]["code"]) == (HTTPStatus.UNAUTHORIZED, "not-logged-in")


def test_someone_without_access_is_told_on_a_page(hub: RealHub) -> None:
    answer = hub.browser("stranger").ask("GET", hub.service, Sec_Fetch_Mode="navigate")
    assert answer.status == HTTPStatus.FORBIDDEN


def test_a_browser_starts_its_own_session_and_is_led_to_the_hub(hub: RealHub) -> None:
    browser = hub.browser("eve")
    listed = browser.ask("GET", f"{hub.service}api/v1/environments", Sec_Fetch_Mode="navigate")
    [environment] = json.loads(listed.text)["environments"]
    form = urlencode({"_xsrf": browser.xsrf})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Mode": "navigate"}
    headers["Sec-Fetch-Site"] = "same-origin"
    answer = browser.ask("POST", f"{hub.service}environments/{environment['id']}/start", form, **headers)
    name = f"good-{environment['id']}"
    assert answer.url.endswith(f"{hub.base_url}hub/spawn-pending/eve/{name}")
    sessions = json.loads(browser.ask("GET", f"{hub.service}api/v1/sessions", Sec_Fetch_Mode="navigate").text)["sessions"]
    assert [(each["name"], each["environment"], each["state"]) for each in sessions] == [
        (name, environment["id"], "starting")
    ]
    assert sessions[0]["url"] == f"{hub.base_url}user/eve/{name}/"
    stopped = browser.ask("DELETE", f"{hub.service}api/v1/sessions/{name}", X_XSRFToken=browser.xsrf)
    assert stopped.status in {HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED}


def test_a_stream_resumes_behind_the_proxy(hub: RealHub) -> None:
    ada = hub.program("ada")
    environments = json.loads(ada.ask("GET", f"{hub.service}api/v1/environments").text)["environments"]
    build = next(each["build"]["id"] for each in environments if each["name"] == "good")
    events = f"{hub.service}api/v1/builds/{build}/events"
    whole = ada.ask("GET", events)
    assert whole.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    identifiers = re.findall(r"^id: (.+)$", whole.text, re.MULTILINE)
    assert "event: log" in whole.text
    assert '"state":"ready"' in ada.ask("GET", events, Last_Event_ID=identifiers[0]).text
    assert ada.ask("GET", events, Last_Event_ID=identifiers[-1]).status == HTTPStatus.NO_CONTENT
    part = ada.ask("GET", f"{hub.service}api/v1/builds/{build}/log", Range="bytes=0-3")
    assert (part.status, len(part.text)) == (HTTPStatus.PARTIAL_CONTENT, 4)


def test_no_secret_is_in_the_hubs_and_services_log(hub: RealHub) -> None:
    browser = hub.browser("ada")
    browser.ask("GET", f"{hub.service}api/v1/environments?_xsrf={browser.xsrf}", Sec_Fetch_Mode="cors")
    text = (hub.folder / "hub.log").read_text()
    assert "api/v1/environments" in text
    assert browser.xsrf not in text
    for token in TOKENS.values():
        assert token not in text
