"""What people ask for, checked: whatever passes here can be remembered, shown and built."""

from dataclasses import replace

from guix_build_service.model.environments import (
    Build,
    BuildState,
    Changes,
    Environment,
    Found,
    NewEnvironment,
    Person,
    now,
)
from guix_build_service.model.members import Member, MemberKind, Role, in_order
from guix_environment.archived import name_of
from guix_environment.errors import InvalidInput, NotFound
from guix_environment.identifiers import BuildId, EnvironmentId
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl, checked_ref, checked_subdirectory

LONGEST_NAME = 100
LONGEST_DESCRIPTION = 2_000
MOST_GROUPS = 50
MOST_MEMBERS = 200
LONGEST_MEMBER = 255
LEAST_MEMORY = 128 * 1024 * 1024
LARGEST_MEMORY = 1 << 50
MOST_CPU = 1024.0


def new_environment(request: NewEnvironment, person: Person) -> Environment:
    """Return the environment that PERSON asks for by REQUEST.  Raises `InvalidInput`."""
    url = RepositoryUrl.parse(request.repository)
    moment = now()
    return _shared_sensibly(
        Environment(
            id=EnvironmentId.new(),
            name=_name(request.name or name_of(url)),
            description=_description(request.description),
            repository=url,
            ref=given_ref(request.ref),
            subdirectory=checked_subdirectory(request.subdirectory),
            owner=person.name,
            visibility=request.visibility,
            groups=_groups(request.groups),
            memory=None if request.memory is None else _memory(request.memory),
            cpu=None if request.cpu is None else _cpu(request.cpu),
            current=None,
            created=moment,
            updated=moment,
        )
    )


def changed(before: Environment, changes: Changes) -> Environment:
    """Return the environment BEFORE with the CHANGES made to it.  Raises `InvalidInput`."""
    memory = before.memory if changes.memory is None else _memory(changes.memory)
    cpu = before.cpu if changes.cpu is None else _cpu(changes.cpu)
    after = replace(
        before,
        name=before.name if changes.name is None else _name(changes.name),
        description=before.description if changes.description is None else _description(changes.description),
        ref=before.ref if changes.ref is None else given_ref(changes.ref),
        memory=None if "memory" in changes.cleared else memory,
        cpu=None if "cpu" in changes.cleared else cpu,
        visibility=before.visibility if changes.visibility is None else changes.visibility,
        groups=before.groups if changes.groups is None else _groups(changes.groups),
    )
    return _shared_sensibly(after if changes.owner is None else _given_to(after, _member_name(changes.owner)))


def shared_with(before: Environment, member: Member) -> Environment:
    """Return the environment BEFORE with MEMBER among its members, in that role alone.  Raises `InvalidInput`."""
    member = replace(member, name=_member_name(member.name))
    if member.role is Role.OWNER:
        raise InvalidInput("An environment has one owner.", hint="Give it to somebody else, or share it with an editor.")
    if (member.kind, member.name) == (MemberKind.USER, before.owner):
        raise InvalidInput(f"{member.name} is its owner already.")
    others = _others(before, member.kind, member.name)
    if len(others) >= MOST_MEMBERS:
        raise InvalidInput(f"An environment has at most {MOST_MEMBERS} members.", hint="Share it with a group.")
    return replace(before, members=in_order((*others, member)))


def not_shared_with(before: Environment, kind: MemberKind, name: str) -> Environment:
    """Return the environment BEFORE without its member of that KIND and NAME.  Raises `NotFound`."""
    others = _others(before, kind, name)
    if len(others) == len(before.members):
        raise NotFound("It is not shared with them by name.")
    return replace(before, members=others)


def _given_to(before: Environment, owner: str) -> Environment:
    """Return the environment BEFORE as OWNER's; who had it stays an editor."""
    if owner == before.owner:
        return before
    former = Member(MemberKind.USER, before.owner, Role.EDITOR)
    return replace(before, owner=owner, members=in_order((*_others(before, MemberKind.USER, owner), former)))


def _others(environment: Environment, kind: MemberKind, name: str) -> tuple[Member, ...]:
    return tuple(each for each in environment.members if (each.kind, each.name) != (kind, name))


def _member_name(text: str) -> str:
    name = text.strip()
    if not 0 < len(name) <= LONGEST_MEMBER or not name.isprintable():
        raise InvalidInput(f"The name of a user or group has 1 to {LONGEST_MEMBER} characters, and no invisible ones.")
    return name


def new_build(
    environment: Environment,
    resolved: Found | None,
    person: Person,
    *,
    force: bool,
    evaluated_for: tuple[str, ...] = (),
) -> Build:
    """Return the build of what was RESOLVED, or else of what the ref of ENVIRONMENT will stand for when its turn comes.

    EVALUATED_FOR are those of PERSON's groups whose members may have manifests run.
    """
    return Build(
        id=BuildId.new(),
        environments=(environment.id,),
        repository=environment.repository,
        ref=resolved.ref if resolved else environment.ref,
        subdirectory=environment.subdirectory,
        commit=resolved.commit if resolved else None,
        state=BuildState.QUEUED,
        force=force,
        requested_by=person.name,
        evaluated_for=evaluated_for,
        created=now(),
    )


def _shared_sensibly(environment: Environment) -> Environment:
    if environment.visibility is Visibility.GROUPS and not environment.groups:
        raise InvalidInput("No group was named to share this environment with.", hint="Name one, or keep it private.")
    return environment


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"A name has 1 to {LONGEST_NAME} characters, and no invisible ones.")
    return name


def _description(text: str) -> str:
    if len(text) > LONGEST_DESCRIPTION:
        raise InvalidInput(f"A description has at most {LONGEST_DESCRIPTION} characters.")
    return "".join(character for character in text if character.isprintable() or character == "\n")


def given_ref(text: str) -> str:
    """Return TEXT as a ref; empty stands for the default branch.  Raises `InvalidRef`."""
    return checked_ref(text.strip()) if text.strip() else ""


def _groups(groups: tuple[str, ...]) -> tuple[str, ...]:
    if len(groups) > MOST_GROUPS or not all(0 < len(group) <= 255 and group.isprintable() for group in groups):
        raise InvalidInput(f"At most {MOST_GROUPS} groups, each with a name.")
    return tuple(dict.fromkeys(groups))


def _memory(size: int) -> int:
    if not LEAST_MEMORY <= size <= LARGEST_MEMORY:
        raise InvalidInput("A session needs at least 128 MB of memory.")
    return size


def _cpu(cores: float) -> float:
    if not 0 < cores <= MOST_CPU:
        raise InvalidInput("The number of cores is above 0, such as 0.5 or 2.")
    return float(cores)
