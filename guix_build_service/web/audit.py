"""The API's audit log: who did what and when, for administrators."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, Field

from guix_build_service.logs.audit import Action, Deed, DeedFilter
from guix_build_service.web.api import ApiHandler, following, operation, requested
from guix_build_service.web.schemas.fields import EnvironmentName, Line, Outgoing, PageQuery, PartAnswer
from guix_environment.identifiers import EnvironmentId


class AuditQuery(PageQuery):
    """Which entries are wanted; whatever is left out does not matter."""

    who: Annotated[Line, Field(max_length=600, description="A user, or service/NAME.")] | None = None
    action: Action | None = None
    environment: EnvironmentName | None = Field(default=None, description="Its id, also when it was deleted since.")
    owner: Annotated[Line, Field(max_length=600, description="Whose environment it was then.")] | None = None
    since: AwareDatetime | None = Field(default=None, description="No entry from before that moment.")
    until: AwareDatetime | None = Field(default=None, description="No entry of that moment or later.")

    def wanted(self) -> DeedFilter:
        """Return what the manager is asked for.  Raises `InvalidInput`."""
        environment = EnvironmentId(self.environment) if self.environment is not None else None
        return DeedFilter(self.who, self.action, environment, self.owner, self.since, self.until)


class DeedAnswer(Outgoing):
    """That somebody did something."""

    id: str
    created: datetime = Field(description="When it was done.")
    who: str = Field(description="A user, or service/NAME.")
    action: Action
    environment: str | None
    owner: str | None = Field(description="Whose environment it was then.")
    build: str | None
    about: dict[str, str] = Field(description="What else there is to tell, such as name, repository, commit or host.")

    @classmethod
    def of(cls, deed: Deed) -> Self:
        """Return DEED as the API shows it."""
        return cls(
            id=deed.id,
            created=deed.created,
            who=deed.who,
            action=deed.action,
            environment=deed.environment,
            owner=deed.owner or None,
            build=deed.build,
            about=dict(deed.about),
        )


class AuditAnswer(PartAnswer):
    """Entries of the audit log, newest first."""

    entries: tuple[DeedAnswer, ...]


class AuditLog(ApiHandler):
    """Who did what."""

    route = "audit"

    @operation("Read who did what, newest first; for administrators", gives=AuditAnswer, query=AuditQuery)
    async def get(self) -> None:
        """Read."""
        query = self.query(AuditQuery)
        page = await self.manager.audit(self.person, query.wanted(), requested(query))
        entries = tuple(DeedAnswer.of(each) for each in page.items)
        self.give_page(AuditAnswer(entries=entries, next=following(page)), page.following)
