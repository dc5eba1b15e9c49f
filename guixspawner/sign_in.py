"""How people log in, taken from the environment variables that oauthenticator itself knows.

The secrets stay in the hub's environment, where oauthenticator reads them; none passes through the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from traitlets.config import Config


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody else's log-in that people may use."""

    name: str
    authenticator: str
    """What ``JupyterHub.authenticator_class`` calls it (an entry point of oauthenticator)."""
    configurable: str
    client_id: str
    """The variable whose presence chooses this provider."""
    required: tuple[str, ...]
    """The variables that it cannot work without."""


PROVIDERS = (
    Provider("GitHub", "github", "GitHubOAuthenticator", "GITHUB_CLIENT_ID", ("GITHUB_CLIENT_SECRET",)),
    Provider("GitLab", "gitlab", "GitLabOAuthenticator", "GITLAB_CLIENT_ID", ("GITLAB_CLIENT_SECRET",)),
    Provider(
        "OpenID Connect",
        "generic-oauth",
        "GenericOAuthenticator",
        "OAUTH_CLIENT_ID",
        ("OAUTH_CLIENT_SECRET", "OAUTH2_AUTHORIZE_URL", "OAUTH2_TOKEN_URL", "OAUTH2_USERDATA_URL"),
    ),
)
"""In the order in which they are looked for."""

COMMON = ("OAUTH_CALLBACK_URL",)
"""Required by every provider: the hub's address as people's browsers see it, then ``/hub/oauth_callback``."""


def chosen_provider(environment: Mapping[str, str]) -> Provider | None:
    """Return the provider whose client is named in ENVIRONMENT, or None.

    Raises `SystemExit` with one sentence when the client is named and something that it needs is not.
    """
    provider = next((provider for provider in PROVIDERS if environment.get(provider.client_id)), None)
    if provider is None:
        return None
    missing = [name for name in (*provider.required, *COMMON) if not environment.get(name)]
    if missing:
        raise SystemExit(
            f"Logging in with {provider.name} was asked for by {provider.client_id}, but {', '.join(missing)} is not set."
        )
    return provider


def configure_sign_in(c: Config, environment: Mapping[str, str]) -> Provider | None:
    """Have people log in with the provider that ENVIRONMENT names, and return it; change nothing where it names none.

    ``OAUTH_ALLOWED_USERS`` and ``OAUTH_ADMIN_USERS`` are names with spaces between; ``OAUTH_ALLOW_ALL=1`` lets in
    everybody who has an account there.  With none of them nobody gets in, which is oauthenticator's own default.
    """
    provider = chosen_provider(environment)
    if provider is None:
        return None
    c.JupyterHub.authenticator_class = provider.authenticator
    c.Authenticator.allowed_users = set(environment.get("OAUTH_ALLOWED_USERS", "").split())
    c.Authenticator.admin_users = set(environment.get("OAUTH_ADMIN_USERS", "").split())
    c.Authenticator.allow_all = environment.get("OAUTH_ALLOW_ALL", "").lower() in {"1", "true", "yes"}
    c[provider.configurable].oauth_callback_url = environment["OAUTH_CALLBACK_URL"]
    if provider.configurable == "GenericOAuthenticator":
        c.GenericOAuthenticator.scope = environment.get("OAUTH2_SCOPE", "openid").split()
    return provider
