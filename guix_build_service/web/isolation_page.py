"""The page on which an administrator sees how well this machine keeps people apart."""

from guix_build_service.isolation.levels import Level
from guix_build_service.web.pages import PageHandler
from guix_environment.errors import Refused


class IsolationPage(PageHandler):
    """What this machine can enforce and what not, why, and what to do; found out anew for each visit."""

    route = "isolation"

    async def get(self) -> None:
        """Show.  Raises `Refused` for everybody but administrators: where the walls are low is not for all to know."""
        if not self.person.admin:
            raise Refused("Only administrators see this page.", hint="Ask the people who run this hub.")
        self.render_page("isolation.html", report=await self.web.isolation(), levels=tuple(Level))
