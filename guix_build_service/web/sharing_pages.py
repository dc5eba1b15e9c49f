"""The forms by which an environment is shared, shared no longer, and given away."""

from guix_build_service.model.environments import Changes
from guix_build_service.model.members import Member, MemberKind
from guix_build_service.web.environment_pages import EnvironmentPages
from guix_build_service.web.schemas.members import MemberRequest, NamedMember, RecipientRequest
from guix_environment.errors import Conflict, InvalidInput, LimitReached


class ShareForm(EnvironmentPages):
    """Where an environment is shared with a user or a group, or their role is changed."""

    route = "environments/{environment}/members"

    async def post(self, environment: str) -> None:
        """Share, or show the environment again with what is wrong."""
        card = await self.card(environment)
        try:
            named, role = self.form(NamedMember, "kind", "name"), self.form(MemberRequest, "role").role
            await self.manager.share(
                card.detail.environment.id, Member(MemberKind(named.kind), named.name, role), self.person
            )
        except InvalidInput as refusal:
            await self.show(card, refusal)
            return
        self.go(f"environments/{card.detail.environment.id}#sharing")


class UnshareForm(EnvironmentPages):
    """Where an environment is shared no longer with a user or a group, also by a member who leaves."""

    route = "environments/{environment}/members/remove"

    async def post(self, environment: str) -> None:
        """Share no longer."""
        card = await self.card(environment)
        named = self.form(NamedMember, "kind", "name")
        known = card.detail.environment
        await self.manager.unshare(known.id, MemberKind(named.kind), named.name, self.person)
        self.go(f"environments/{known.id}#sharing" if card.owned else "")


class GiveForm(EnvironmentPages):
    """Where an environment is given to another person."""

    route = "environments/{environment}/owner"

    async def post(self, environment: str) -> None:
        """Give it away, or show the environment again with what is wrong."""
        card = await self.card(environment)
        try:
            changes = Changes(owner=self.form(RecipientRequest, "owner").owner)
            await self.manager.update_environment(card.detail.environment.id, changes, self.person)
        except (InvalidInput, LimitReached, Conflict) as refusal:
            await self.show(card, refusal)
            return
        self.go(f"environments/{card.detail.environment.id}")
