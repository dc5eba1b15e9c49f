"""What belongs to BinderHub's links for people: their page, the badge that leads to it, and how the service is."""

from http import HTTPStatus
from importlib.metadata import version

from guix_build_service.model.environments import BuildState
from guix_build_service.web.about import Health
from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.api import ApiHandler
from guix_build_service.web.auth import Shared
from guix_build_service.web.binderhub import LinkReader
from guix_build_service.web.environment_pages import EnvironmentPages
from guix_build_service.web.openapi import API_VERSION
from guix_build_service.web.sessions import session_of

_BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="112" height="20" role="img" aria-label="launch: Guix">
<title>launch: Guix</title>
<rect width="112" height="20" rx="3" fill="#555"/>
<path d="M54 0h55a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H54z" fill="#8a5a00"/>
<path d="M61 6c3 0 5 1 6 4 1-3 3-4 6-4-3 1-4 3-6 9-2-6-3-8-6-9z" fill="#fbc02d"/>
<g fill="#fff" font-family="DejaVu Sans,Verdana,sans-serif" font-size="11">
<text x="8" y="14">launch</text><text x="79" y="14">Guix</text>
</g>
</svg>
"""


class LinkPage(LinkReader, EnvironmentPages):
    """Where a link leads: what it would build and start, and one button that does it."""

    route = "v2/{provider}/{spec}"

    async def get(self, provider: str, spec: str) -> None:  # noqa: ARG002 - the address itself is read
        """Show; nothing else happens."""
        link = self.link(provider)
        query = f"?{self.request.query}" if self.request.query else ""
        self.render_page(
            "link.html",
            place=link.place,
            page=f"{self.web.prefix}{link.request}{query}",
            stream=f"{self.web.prefix}build/{link.provider}/{link.spec}{query}",
            opens=next(iter(link.options.values()), ""),
        )

    async def post(self, provider: str, spec: str) -> None:  # noqa: ARG002 - the address itself is read
        """Build what is lacking, and start a session where nothing is; the page's script does so with more to see."""
        link = self.link(provider)
        self.user()  # before anything is built for somebody who cannot start it
        detail = await self.environment_of(link)
        if detail.state is not BuildState.READY:
            self.go_to_build(detail)
            return
        session = session_of(detail.environment, await self.sessions())
        options = {"environment": detail.environment.id, **link.options}
        name = session.name if session is not None else str(await self.start_session(detail, options))
        self.redirect(self.pending_url(name), status=HTTPStatus.SEE_OTHER)


class Badge(AnsweringHandler):
    """The picture that links are given on pages elsewhere."""

    route = "badge_logo.svg"

    def initialize(self, shared: Shared) -> None:
        """Take nothing: it is the same for everybody."""

    async def get(self) -> None:
        """Show."""
        self.set_header("Content-Type", "image/svg+xml")
        self.set_header("Content-Security-Policy", "default-src 'none'")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.set_header("Cache-Control", "public, max-age=86400")
        self.write(_BADGE)

    async def head(self) -> None:
        """Answer without the picture, as to those who see whether links lead somewhere."""
        await self.get()


class OldBadge(Badge):
    """The same for links from before there was a logo on it."""

    route = "badge.svg"


class BinderHealth(Health):
    """Whether the service can do its work, for those who watch BinderHubs."""

    async def get(self) -> None:
        """Answer."""
        status = (await self._manager.health()).status
        ok = status == "ok"
        self.set_status(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)
        self.write({"ok": ok, "status": status, "checks": [{"service": "Build service", "ok": ok}]})


class BinderVersions(ApiHandler):
    """What is installed, for those who know BinderHub's answer."""

    route = "versions"

    async def get(self) -> None:
        """Answer."""
        own = version("guixspawner")
        self.write(
            {
                "builder_info": {"builder": "guix"},
                "binderhub": own,
                "guixspawner": own,
                "jupyterhub": version("jupyterhub"),
                "api": API_VERSION,
            }
        )
