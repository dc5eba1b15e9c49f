"""The pages of environments: each one, and the forms on it."""

from dataclasses import dataclass
from http import HTTPStatus

from guix_build_service.model.environments import EnvironmentDetail
from guix_build_service.web.api import identified
from guix_build_service.web.hub_client import HubUnavailable, Session
from guix_build_service.web.pages import PageHandler
from guix_build_service.web.schemas.versions import RollbackRequest
from guix_build_service.web.sessions import session_of
from guix_environment.errors import (
    Conflict,
    GuixSpawnerError,
    NotFound,
    ProfileLetGo,
    Refused,
    SessionFailure,
)
from guix_environment.identifiers import EnvironmentId, VersionId
from guix_environment.records import Visibility

OF_GROUP = "group:"
"""What the audience begins with where it is a group's."""


def shared_with(audience: str) -> dict[str, object]:
    """Return the fields of a request that say what a form's AUDIENCE means."""
    if audience.startswith(OF_GROUP):
        return {"visibility": Visibility.GROUPS.value, "groups": [audience.removeprefix(OF_GROUP)]}
    return {"visibility": audience or Visibility.PRIVATE.value}


@dataclass(frozen=True, slots=True)
class Card:
    """An environment as the pages show it."""

    detail: EnvironmentDetail
    session: Session | None
    """Its running session, if the visitor has one."""
    may_change: bool
    owned: bool
    """Whether the visitor may do what its owner may."""

    @property
    def busy(self) -> bool:
        """Tell whether a build of it is under way."""
        return self.detail.build is not None and not self.detail.state.is_final

    @property
    def can_start(self) -> bool:
        """Tell whether a session can be started in it."""
        return self.detail.version is not None


class EnvironmentPages(PageHandler):
    """What the pages of environments have in common."""

    async def card(self, environment: str) -> Card:
        """Return the environment that the address names."""
        detail = await self.manager.environment(identified(EnvironmentId, environment), self.person)
        return self.as_card(detail, await self.running_sessions())

    def as_card(self, detail: EnvironmentDetail, sessions: list[Session]) -> Card:
        """Return DETAIL with which of the visitor's SESSIONS is its."""
        environment = detail.environment
        return Card(
            detail,
            session_of(environment, sessions),
            environment.may_be_changed_by(self.person),
            environment.is_owned_by(self.person),
        )

    async def running_sessions(self) -> list[Session]:
        """Return the visitor's sessions; none when the hub does not tell, for the page is worth having without."""
        try:
            return await self.sessions()
        except (HubUnavailable, Refused, NotFound):
            return []

    async def show(self, card: Card, refusal: GuixSpawnerError | None = None) -> None:
        """Answer with the page of the environment on CARD, and with why what its forms asked for was REFUSAL, if it was."""
        identifier = card.detail.environment.id
        versions = await self.manager.versions(identifier, self.person)
        webhook = await self.manager.webhook(identifier, self.person) if card.owned else None
        uses = await self.manager.uses(versions) if card.may_change else {}
        if refusal is not None:
            self.set_status(refusal.status)
        given = {name: self.get_body_argument(name, "") for name in ("kind", "name", "role", "owner")}
        shown = {"versions": versions, "uses": uses, "webhook": webhook}
        self.render_page("environment.html", card=card, **shown, refusal=refusal, given=given)

    def audiences(self, alone: str = "Only me") -> dict[str, str]:
        """Return with whom the visitor can share, as forms' values and in words; ALONE are those for sharing with nobody."""
        groups = {f"{OF_GROUP}{group}": f"Members of {group}" for group in sorted(self.person.groups)}
        return {"private": alone, **groups, "everyone": "Everyone who can log in"}

    def go_to_build(self, detail: EnvironmentDetail) -> None:
        """Send the visitor on to what is happening to the environment in DETAIL."""
        if detail.build is not None and not detail.build.state.is_final:
            self.go(f"builds/{detail.build.id}")
        else:
            self.go(f"environments/{detail.environment.id}")


class EnvironmentPage(EnvironmentPages):
    """One environment."""

    route = "environments/{environment}"

    async def get(self, environment: str) -> None:
        """Show."""
        await self.show(await self.card(environment))


class StartForm(EnvironmentPages):
    """Where a session is started."""

    route = "environments/{environment}/start"

    async def post(self, environment: str) -> None:
        """Start, and send the visitor to the hub, which shows the start and then leads to the session."""
        card = await self.card(environment)
        session = card.session
        if session is None or session.state == "stopping":
            try:
                name: str = await self.start_session(card.detail, {"environment": card.detail.environment.id})
            except (SessionFailure, ProfileLetGo) as failure:
                await self._explain(card, failure)
                return
        else:
            name = session.name
        self.redirect(self.pending_url(name), status=HTTPStatus.SEE_OTHER)

    async def _explain(self, card: Card, failure: SessionFailure | ProfileLetGo) -> None:
        """Answer with why the session did not start, and with the button for what helps."""
        version = card.detail.version
        incomplete = version is not None and not await self.manager.is_whole(version)
        self.set_status(failure.status)
        self.render_page("not_started.html", card=card, failure=failure, incomplete=incomplete)


class StopForm(EnvironmentPages):
    """Where the visitor's session of an environment is stopped."""

    route = "environments/{environment}/stop"

    async def post(self, environment: str) -> None:
        """Stop it."""
        card = await self.card(environment)
        if card.session is not None:
            await self.stop_session(card.session.name)
        self.go("")


class BuildForm(EnvironmentPages):
    """Where an environment is built anew."""

    route = "environments/{environment}/build"

    async def post(self, environment: str) -> None:
        """Build what the ref stands for now, or with ``force`` the same commit once more; with ``version`` that one's."""
        force = self.get_body_argument("force", "") == "yes"
        wanted = self.get_body_argument("version", "")
        version = identified(VersionId, wanted) if wanted else None
        identifier = identified(EnvironmentId, environment)
        self.go_to_build(await self.manager.start_build(identifier, self.person, force=force, version=version))


class RollbackForm(EnvironmentPages):
    """Where another version becomes the current one."""

    route = "environments/{environment}/rollback"

    async def post(self, environment: str) -> None:
        """Make it so."""
        wanted = self.form(RollbackRequest, "version").version
        version = identified(VersionId, wanted) if wanted is not None else None
        identifier = identified(EnvironmentId, environment)
        await self.manager.rollback(identifier, version, self.person)
        self.go(f"environments/{identifier}")


class PinForm(EnvironmentPages):
    """Where a version is marked as always kept, or no longer."""

    route = "environments/{environment}/versions/{version}/pin"

    async def post(self, environment: str, version: str) -> None:
        """Make it so."""
        identifiers = identified(EnvironmentId, environment), identified(VersionId, version)
        pinned = self.get_body_argument("pinned", "yes") == "yes"
        await self.manager.pin_version(*identifiers, self.person, pinned=pinned)
        self.go(f"environments/{identifiers[0]}")


class DeleteVersionForm(EnvironmentPages):
    """Where a version is deleted; a page that asks first, for browsers without scripts."""

    route = "environments/{environment}/versions/{version}/delete"

    async def get(self, environment: str, version: str) -> None:
        """Ask."""
        card = await self.card(environment)
        found = await self.manager.version(card.detail.environment.id, identified(VersionId, version), self.person)
        self.render_page("delete_version.html", card=card, version=found)

    async def post(self, environment: str, version: str) -> None:
        """Delete."""
        identifiers = identified(EnvironmentId, environment), identified(VersionId, version)
        await self.manager.delete_version(*identifiers, self.person)
        self.go(f"environments/{identifiers[0]}")


class DeleteForm(EnvironmentPages):
    """Where an environment is deleted; a page that asks first, for browsers without scripts."""

    route = "environments/{environment}/delete"

    async def get(self, environment: str) -> None:
        """Ask."""
        self.render_page("delete.html", card=await self.card(environment))

    async def post(self, environment: str) -> None:
        """Delete."""
        card = await self.card(environment)
        if card.session is not None:
            raise Conflict(
                f"A session of {card.detail.environment.name} is running.",
                hint="Stop it first, then delete the environment.",
            )
        await self.manager.delete_environment(card.detail.environment.id, self.person)
        self.go("")
