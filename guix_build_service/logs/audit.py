"""What people did, as the audit log keeps it: who, what, when and to what, and never anything secret.

An entry outlives what it tells of, so it says by name what was done to, and not by reference alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from guix_build_service.logs.build_logs import harmless
from guix_build_service.logs.redaction import without_secrets
from guix_build_service.model.environments import Environment, Found, Version, now
from guix_build_service.model.retention import Holder
from guix_environment.identifiers import BuildId, EnvironmentId, Token, VersionId

LONGEST_TEXT = 600
"""Characters of each thing that an entry tells."""


class Action(StrEnum):
    """What somebody did."""

    ADDED = "added"
    """An environment, and asked for its first build."""
    BUILT = "built"
    """Asked for a build, or for a version that was there and became current."""
    CHANGED = "changed"
    """What an environment is called, says, follows or may use."""
    SHARED = "shared"
    """An environment with others than before, in another role, or with nobody any more."""
    GAVE_AWAY = "gave-away"
    """An environment, to somebody who owns it since then."""
    ROLLED_BACK = "rolled-back"
    """An environment to another of its versions."""
    CANCELLED = "cancelled"
    """Asked that a build end."""
    DELETED = "deleted"
    """An environment."""
    DELETED_VERSION = "deleted-version"
    """A version that was not the current one."""
    PINNED = "pinned"
    """A version, so that its profile is kept however long nobody uses it."""
    UNPINNED = "unpinned"
    """A version, which is kept as long as others from then on."""
    LET_GO = "let-go"
    """Of a version's profile, which Guix may collect; its record stays."""
    STARTED_SESSION = "started-session"
    """Had the hub start a session."""
    SET_CREDENTIAL = "set-credential"
    """Gave what opens their private repositories of a host."""
    REMOVED_CREDENTIAL = "removed-credential"
    """Had it forgotten."""
    SET_WEBHOOK = "set-webhook"
    """Had a secret kept by which a forge can have an environment built."""
    REMOVED_WEBHOOK = "removed-webhook"
    """Had it forgotten."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One entry of the audit log."""

    who: str
    """A user of the hub, ``service/NAME``, or ``local/ACCOUNT`` of the machine."""
    action: Action
    environment: EnvironmentId | None = None
    owner: str = ""
    """Whose environment it was then."""
    build: BuildId | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    """What else there is to tell, in words."""
    created: datetime = field(default_factory=now)
    id: Token = field(default_factory=Token.new)

    def of_build(self, build: BuildId) -> "Deed":
        """Return the entry as one that is about BUILD too."""
        return replace(self, build=build)


@dataclass(frozen=True, slots=True)
class DeedFilter:
    """Which entries are wanted; whatever is None does not matter."""

    who: str | None = None
    action: Action | None = None
    environment: EnvironmentId | None = None
    owner: str | None = None
    since: datetime | None = None
    """No entry from before that moment."""
    until: datetime | None = None
    """No entry of that moment or later."""


def deed(
    who: str,
    action: Action,
    environment: Environment | None = None,
    *,
    build: BuildId | None = None,
    about: Mapping[str, object] | None = None,
) -> Deed:
    """Return the entry that WHO did ACTION to ENVIRONMENT or BUILD, and what else there is to tell ABOUT it.

    What is None or empty is not told; nothing in an entry steers a terminal or looks like a secret.
    """
    told: dict[str, object] = {}
    if environment is not None:
        told = {"name": environment.name, "repository": environment.repository}
    told |= about or {}
    return Deed(
        who=_text(who),
        action=action,
        environment=environment.id if environment is not None else None,
        owner=_text(environment.owner) if environment is not None else "",
        build=build,
        about={key: _text(value) for key, value in told.items() if value not in {None, "", False}},
    )


def added(who: str, environment: Environment, resolved: Found | None, **about: object) -> Deed:
    """Return the entry that WHO added ENVIRONMENT; its ref was RESOLVED, or will be later."""
    commit = resolved.commit if resolved is not None else None
    told = {"ref": environment.ref, "subdirectory": environment.subdirectory, "commit": commit, **_sharing(environment)}
    return deed(who, Action.ADDED, environment, about={**told, **about})


def built(
    who: str,
    environment: Environment,
    resolved: Found,
    *,
    force: bool = False,
    version: VersionId | None = None,
    by: str = "",
) -> Deed:
    """Return the entry that WHO wanted what was RESOLVED of ENVIRONMENT; VERSION is what of it was there already.

    BY is what asked in their place.
    """
    about = {"ref": resolved.ref, "commit": resolved.commit, "force": "yes" if force else "", "version": version, "by": by}
    return deed(who, Action.BUILT, environment, about=about)


def version_deed(who: str, action: Action, environment: Environment, version: Version) -> Deed:
    """Return the entry that WHO did ACTION to VERSION of ENVIRONMENT."""
    return deed(who, action, environment, about={"version": version.id, "commit": version.commit})


def let_go(who: str, holder: Holder, why: str) -> Deed:
    """Return the entry that WHO let go of the profile of the version HOLDER, and WHY."""
    about = {"name": holder.name, "version": holder.version, "commit": holder.commit, "why": why}
    return replace(deed(who, Action.LET_GO, about=about), environment=holder.environment, owner=_text(holder.owner))


def changes(who: str, before: Environment, after: Environment) -> Iterator[Deed]:
    """Yield what is to be told of WHO made AFTER of the environment BEFORE."""
    if (before.visibility, before.groups) != (after.visibility, after.groups):
        yield deed(who, Action.SHARED, after, about=_sharing(after))
    yield from _members_changed(who, before, after)
    if before.owner != after.owner:
        yield deed(who, Action.GAVE_AWAY, before, about={"to": after.owner})
    fields = [name for name in ("name", "description", "ref", "memory", "cpu") if _differ(before, after, name)]
    if fields:
        named = {"was": before.name} if "name" in fields else {}
        yield deed(who, Action.CHANGED, after, about={"changed": ", ".join(fields), **named})


def _members_changed(who: str, before: Environment, after: Environment) -> Iterator[Deed]:
    was = {(each.kind, each.name): each.role.value for each in before.members}
    now_is = {(each.kind, each.name): each.role.value for each in after.members}
    for kind, name in sorted(was | now_is):
        role = now_is.get((kind, name), "none")
        if was.get((kind, name), "none") != role:
            yield deed(who, Action.SHARED, after, about={kind.value: name, "role": role})


def _differ(before: Environment, after: Environment, name: str) -> bool:
    return bool(getattr(before, name) != getattr(after, name))


def _sharing(environment: Environment) -> Mapping[str, object]:
    return {"visibility": environment.visibility.value, "groups": ", ".join(environment.groups)}


def _text(value: object) -> str:
    """Return VALUE in one line that shows as what it is."""
    text = without_secrets(harmless(str(value)))
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:LONGEST_TEXT]
