"""Who the caller is to this service, so that a program need not ask the hub."""

from guix_build_service.web.api import ApiHandler, operation
from guix_build_service.web.schemas.service import CallerAnswer, DiskAnswer


class Caller(ApiHandler):
    """Whose token or login it is."""

    route = "user"

    @operation("See who you are here, and what you may", gives=CallerAnswer)
    async def get(self) -> None:
        """Answer."""
        may_add = await self.manager.may_add(self.person)
        limit = None if self.person.admin else self.manager.disk_limit
        disk = DiskAnswer(used=await self.manager.disk_used(self.person.name), limit=limit)
        groups = tuple(sorted(self.person.groups))
        self.give(CallerAnswer(name=self.person.name, groups=groups, admin=self.person.admin, may_add=may_add, disk=disk))
