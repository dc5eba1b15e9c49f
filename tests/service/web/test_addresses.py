"""Every link leads to where the hub is: below a base URL, and on another host where users have subdomains."""

import json
from functools import partial
from pathlib import Path

import pytest

from guix_build_service.settings.isolation import Isolation
from guix_build_service.web.answers import security_headers
from guix_build_service.web.application import pattern
from guix_build_service.web.rendering import make_templates
from guix_build_service.web.settings import WebSettings, shared_folder
from guix_environment.guix_command import GuixCommand

ENVIRONMENT = {
    "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/base/hub/api",
    "JUPYTERHUB_API_TOKEN": "secret",
    "JUPYTERHUB_CLIENT_ID": "service-guix",
    "JUPYTERHUB_SERVICE_NAME": "guix",
    "JUPYTERHUB_SERVICE_PREFIX": "/base/services/guix/",
    "JUPYTERHUB_BASE_URL": "/base/",
    "JUPYTERHUB_HOST": "https://hub.example",
    "JUPYTERHUB_OAUTH_CALLBACK_URL": "https://guix.hub.example/base/services/guix/oauth_callback",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(["access:services", "access:services!service=guix"]),
}


def settings(**changes: str) -> WebSettings:
    environment = {name: value for name, value in (ENVIRONMENT | changes).items() if value}
    isolation = partial(Isolation().report, GuixCommand("guix", Path(), "nobody"), Path(), None)
    return WebSettings.from_environment(
        environment, cookie_secret=b"0" * 32, templates=Path(), static=Path(), isolation=isolation
    )


def test_the_hub_says_where_everything_is() -> None:
    found = settings()
    assert found.hub == "https://hub.example/base/hub/"
    assert found.prefix == "/base/services/guix/"
    assert found.access_scopes == {"access:services", "access:services!service=guix"}
    assert "secret" not in repr(found)
    assert "0000" not in repr(found)


def test_without_subdomains_and_scopes_the_hub_is_here_and_access_is_to_this_service() -> None:
    found = settings(JUPYTERHUB_HOST="", JUPYTERHUB_BASE_URL="/", JUPYTERHUB_OAUTH_ACCESS_SCOPES="[]")
    assert found.hub == "/hub/"
    assert found.access_scopes == {"access:services!service=guix"}


def test_outside_of_a_hub_there_are_no_settings() -> None:
    with pytest.raises(KeyError):
        settings(JUPYTERHUB_SERVICE_PREFIX="")


def test_a_page_may_use_the_hubs_style_also_from_its_own_host() -> None:
    policy = security_headers("https://hub.example")["Content-Security-Policy"]
    assert "style-src 'self' https://hub.example" in policy
    assert "script-src 'self';" in policy + ";"
    assert "connect-src 'self';" in policy
    assert "https:" not in security_headers("")["Content-Security-Policy"]


def test_links_lead_to_the_hubs_own_host() -> None:
    text = (
        make_templates(shared_folder("templates/service"))
        .get_template("layout.html")
        .render(
            prefix="/p/", hub="https://hub.example/base/hub/", person=None, xsrf_token=b"", static=lambda name: f"/s/{name}"
        )
    )
    assert 'href="https://hub.example/base/hub/static/css/style.min.css"' in text
    assert 'href="https://hub.example/base/hub/home"' in text
    assert 'href="/p/"' in text
    assert 'href="/hub' not in text


def test_the_variables_of_an_address_take_no_slash_and_the_rest_means_itself() -> None:
    assert pattern("/a.b/{name}/c") == r"/a\.b/(?P<name>[^/]+)/c$"
