"""The API's JSON about those with whom environments are shared by name."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field

from guix_build_service.model.members import Member, MemberKind, Role
from guix_build_service.web.schemas.fields import Incoming, Line, Outgoing

MemberName = Annotated[Line, Field(min_length=1, max_length=255, description="As the hub has it.")]


class MemberRequest(Incoming):
    """What somebody may do with an environment."""

    role: Literal[Role.VIEWER, Role.EDITOR] = Field(
        description="viewer: sees it, starts it, reads its logs; editor: also names, describes and builds it, and goes back."
    )


class NamedMember(Incoming):
    """A user or a group, as a form names them."""

    kind: MemberKind = MemberKind.USER
    name: MemberName


class RecipientRequest(Incoming):
    """Whom an environment is given to."""

    owner: MemberName


class MemberAnswer(Outgoing):
    """Somebody an environment is shared with by name."""

    kind: MemberKind
    name: str = Field(description="A user of the hub, or a group.")
    role: Role


class MembersAnswer(Outgoing):
    """All with whom an environment is shared by name."""

    members: tuple[MemberAnswer, ...]

    @classmethod
    def of(cls, members: Sequence[Member]) -> Self:
        """Return MEMBERS as the API shows them."""
        return cls(members=tuple(MemberAnswer(kind=each.kind, name=each.name, role=each.role) for each in members))
