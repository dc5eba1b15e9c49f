"""For which hosts the tokens of people's logins are used, as the administrator says."""

from collections.abc import Mapping
from typing import Any

from traitlets import List, TraitError, Unicode, validate
from traitlets.config import Configurable

from guix_build_service.vault.vault import checked_host
from guix_environment.errors import InvalidInput


class LoginTokenHosts(Configurable):
    """Which Git hosts are given the token with which a person logged in to the hub there."""

    hosts = List(
        Unicode(),
        help="""Git hosts for whose private repositories the token of a person's login is used, where they keep no other.

        Each is HOST=PATH: where in the person's auth_state the token lies, names with dots between, such as
        "github.com=access_token" for the GitHubOAuthenticator. A token is given to the host that stands beside it, so list
        only the one that it is of. The hub must keep authentication state, and let this service read it: use login_tokens of
        `configure`.
        """,
    ).tag(config=True)

    @validate("hosts")
    def _check_hosts(self, proposal: Mapping[str, Any]) -> list[str]:
        hosts: list[str] = proposal["value"]
        for text in hosts:
            host, equals, path = text.partition("=")
            try:
                usual = checked_host(host)
            except InvalidInput:
                usual = ""
            if not usual or usual != host or not equals or not all(path.split(".")):
                raise TraitError(f"This is not a host and a path: {text!r}. Write it as github.com=access_token")
        return hosts

    def places(self) -> dict[str, str]:
        """Return where the token for each host lies."""
        return {host: path for host, _, path in (text.partition("=") for text in self.hosts)}
