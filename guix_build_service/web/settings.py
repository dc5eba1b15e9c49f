"""What the web needs to know about where it runs."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guix_build_service.isolation.levels import Report
from guix_build_service.web.limits import RequestLimits


@dataclass(frozen=True, slots=True)
class Example:
    """A repository that is offered to whoever has no environment yet."""

    name: str
    repository: str
    description: str = ""
    ref: str = ""
    subdirectory: str = ""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Where the hub is, how the service is reached, and what its pages are made of."""

    api_url: str
    """The hub's REST API, as this process reaches it, such as ``http://127.0.0.1:8081/hub/api``."""
    api_token: str = field(repr=False)
    """The service's own token; it only asks the hub who somebody is."""
    client_id: str
    """The service's name as an OAuth client of the hub."""
    cookie_secret: bytes = field(repr=False)
    templates: Path
    """The folder of the pages' templates."""
    static: Path
    """The folder of style and scripts."""
    isolation: Callable[[], Awaitable[Report]]
    """Finds out how well people are kept apart here, which takes about a second."""
    prefix: str = "/services/guix/"
    """The path of the service in its visitors' addresses; a slash at both ends."""
    hub_host: str = ""
    """Scheme and host of the hub where users have subdomains, such as ``https://hub.example``; else empty."""
    hub_prefix: str = "/hub/"
    """The path of the hub's own pages; a slash at both ends."""
    callback_url: str = ""
    """Where the hub sends people back to after they logged in; ``oauth_callback`` below the prefix when empty."""
    access_scopes: frozenset[str] = frozenset({"access:services!service=guix"})
    """Whoever has one of these may use the service."""
    examples: tuple[Example, ...] = ()
    limits: RequestLimits = field(default_factory=RequestLimits)

    @property
    def hub(self) -> str:
        """The address of the hub's own pages, with a slash at the end."""
        return self.hub_host + self.hub_prefix

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        *,
        cookie_secret: bytes,
        templates: Path,
        static: Path,
        isolation: Callable[[], Awaitable[Report]],
        examples: tuple[Example, ...] = (),
        limits: RequestLimits | None = None,
    ) -> "WebSettings":
        """Return the settings that the hub gives to a service that it manages (``jupyterhub.services.service``).

        Raises `KeyError` when the hub did not start this process.
        """
        prefix = environment["JUPYTERHUB_SERVICE_PREFIX"]
        scopes = json.loads(environment.get("JUPYTERHUB_OAUTH_ACCESS_SCOPES") or "[]")
        own_scope = f"access:services!service={environment['JUPYTERHUB_SERVICE_NAME']}"
        return cls(
            api_url=environment["JUPYTERHUB_API_URL"],
            api_token=environment["JUPYTERHUB_API_TOKEN"],
            client_id=environment["JUPYTERHUB_CLIENT_ID"],
            cookie_secret=cookie_secret,
            templates=templates,
            static=static,
            isolation=isolation,
            prefix=f"/{prefix.strip('/')}/",
            hub_host=environment.get("JUPYTERHUB_HOST", "").rstrip("/"),
            hub_prefix=f"{environment.get('JUPYTERHUB_BASE_URL', '/').rstrip('/')}/hub/",
            callback_url=environment.get("JUPYTERHUB_OAUTH_CALLBACK_URL", ""),
            access_scopes=frozenset(str(scope) for scope in scopes) or frozenset({own_scope}),
            examples=examples,
            limits=limits or RequestLimits(),
        )


def shared_folder(name: str) -> Path:
    """Return the project's folder NAME of templates or static files, in a checkout or where it was installed.

    Raises `FileNotFoundError` when the installation is not whole.
    """
    candidates = [
        Path(__file__).resolve().parents[2] / "share" / name,
        Path(sys.prefix) / "share" / "guixspawner" / name,
    ]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"The installation lacks share/guixspawner/{name}.")
