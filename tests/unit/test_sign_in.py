"""The provider that the environment names is the one that the real oauthenticator then uses."""

import pytest
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.github import GitHubOAuthenticator
from oauthenticator.gitlab import GitLabOAuthenticator
from traitlets.config import Config

from guixspawner.sign_in import configure_sign_in

CALLBACK = {"OAUTH_CALLBACK_URL": "https://hub.example/hub/oauth_callback"}
GENERIC = {
    "OAUTH_CLIENT_ID": "id",
    "OAUTH_CLIENT_SECRET": "hidden",
    "OAUTH2_AUTHORIZE_URL": "https://idp.example/authorize",
    "OAUTH2_TOKEN_URL": "https://idp.example/token",
    "OAUTH2_USERDATA_URL": "https://idp.example/userdata",
}


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"GITHUB_CLIENT_ID": "id", "GITHUB_CLIENT_SECRET": "hidden"}, GitHubOAuthenticator),
        ({"GITLAB_CLIENT_ID": "id", "GITLAB_CLIENT_SECRET": "hidden"}, GitLabOAuthenticator),
        (GENERIC, GenericOAuthenticator),
    ],
)
def test_the_named_provider_is_used(
    environment: dict[str, str], kind: type[GenericOAuthenticator], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = environment | CALLBACK | {"OAUTH_ALLOWED_USERS": "ada bob", "OAUTH_ADMIN_USERS": "ada"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    c = Config()
    provider = configure_sign_in(c, environment)
    assert provider is not None
    authenticator = kind(config=c)
    assert (authenticator.client_id, authenticator.client_secret) == ("id", "hidden")
    assert authenticator.oauth_callback_url == CALLBACK["OAUTH_CALLBACK_URL"]
    assert authenticator.allowed_users == {"ada", "bob"}
    assert authenticator.admin_users == {"ada"}
    assert not authenticator.allow_all


def test_without_a_provider_nothing_is_changed() -> None:
    c = Config()
    assert configure_sign_in(c, {"OAUTH_ALLOW_ALL": "1"}) is None
    assert not c


@pytest.mark.parametrize("missing", ["GITHUB_CLIENT_SECRET", "OAUTH_CALLBACK_URL"])
def test_half_a_provider_is_one_sentence(missing: str) -> None:
    environment = {"GITHUB_CLIENT_ID": "id", "GITHUB_CLIENT_SECRET": "hidden", **CALLBACK}
    del environment[missing]
    with pytest.raises(SystemExit, match=f"GitHub.*{missing} is not set") as refusal:
        configure_sign_in(Config(), environment)
    assert "hidden" not in str(refusal.value)
