"""The API's members: with whom an environment is shared by name, and in which role."""

from http import HTTPStatus

from guix_build_service.model.members import Member, MemberKind
from guix_build_service.web.api import ApiHandler, identified, operation
from guix_build_service.web.schemas.members import MemberRequest, MembersAnswer
from guix_environment.errors import NotFound
from guix_environment.identifiers import EnvironmentId


class Members(ApiHandler):
    """All with whom an environment is shared by name."""

    route = "environments/{environment}/members"

    @operation("List with whom an environment is shared by name", gives=MembersAnswer)
    async def get(self, environment: str) -> None:
        """List."""
        self.give(MembersAnswer.of(await self.manager.members(identified(EnvironmentId, environment), self.person)))


class OneMember(ApiHandler):
    """A user or a group that an environment is shared with."""

    route = "environments/{environment}/members/{kind}/{member}"

    @operation("Share an environment with a user or a group, or change their role", takes=MemberRequest, gives=MembersAnswer)
    async def put(self, environment: str, kind: str, member: str) -> None:
        """Share."""
        wanted = Member(_kind(kind), member, self.body(MemberRequest).role)
        self.give(MembersAnswer.of(await self.manager.share(identified(EnvironmentId, environment), wanted, self.person)))

    @operation(
        "Share an environment no longer with a user or a group; members may leave by themselves",
        statuses=(HTTPStatus.NO_CONTENT,),
    )
    async def delete(self, environment: str, kind: str, member: str) -> None:
        """Share no longer."""
        await self.manager.unshare(identified(EnvironmentId, environment), _kind(kind), member, self.person)
        self.set_status(HTTPStatus.NO_CONTENT)


def _kind(text: str) -> MemberKind:
    try:
        return MemberKind(text)
    except ValueError:
        raise NotFound("Members are users or groups: …/members/user/NAME or …/members/group/NAME.") from None
