"""The commands by which environments are shared with users and groups, and given away."""

import argparse

from guix_build_service.commands.call import Call
from guix_build_service.commands.finding import environment_meant
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import short, table
from guix_build_service.commands.words import ENVIRONMENT, command
from guix_build_service.model.members import MemberKind, Role
from guix_build_service.web.schemas.members import MembersAnswer


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of these commands."""
    share = command(
        commands,
        "share",
        share_environment,
        "share an environment with a user or a group, or show with whom it is shared",
        "Who has a role already gets the other one.",
    )
    _add_member(share, required=False)
    share.add_argument(
        "--role",
        choices=[Role.VIEWER.value, Role.EDITOR.value],
        default=Role.VIEWER.value,
        help="viewers see and start it, editors also build and rename it; viewer unless given",
    )
    unshare = command(
        commands,
        "unshare",
        unshare_environment,
        "share an environment no longer with a user or a group",
        "With your own name you leave what others share with you. Sessions that run go on.",
    )
    _add_member(unshare, required=True)
    give = command(
        commands, "give", give_environment, "give an environment to another user", "Whoever owned it stays an editor."
    )
    give.add_argument("environment", help=ENVIRONMENT)
    give.add_argument("user", help="who owns it from then on, by the hub's name")
    give.add_argument("--yes", action="store_true", help="do not ask")


def _add_member(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("environment", help=ENVIRONMENT)
    named = parser.add_mutually_exclusive_group(required=required)
    named.add_argument("--user", metavar="NAME", help="a user, by the hub's name")
    named.add_argument("--group", metavar="NAME", help="a group of the hub's")


def _member(call: Call) -> tuple[MemberKind, str] | None:
    """Return who is named, if anybody is."""
    if call.options.user is not None:
        return MemberKind.USER, call.options.user
    return (MemberKind.GROUP, call.options.group) if call.options.group is not None else None


def share_environment(call: Call) -> ExitStatus:
    """Share, or show."""
    identifier, named = environment_meant(call.client, call.options.environment).id, _member(call)
    if named is None:
        _show(call, call.client.members(identifier))
    else:
        _show(call, call.client.share(identifier, *named, Role(call.options.role)))
    return ExitStatus.DONE


def _show(call: Call, found: MembersAnswer) -> None:
    rows = [(each.kind.value, each.name, each.role.value) for each in found.members]
    call.output.give(found.model_dump(mode="json"), table(("KIND", "NAME", "ROLE"), rows) if rows else "")
    if not rows:
        call.output.note("It is shared with nobody by name.")


def unshare_environment(call: Call) -> ExitStatus:
    """Share no longer."""
    found, named = environment_meant(call.client, call.options.environment), _member(call)
    assert named is not None
    call.client.unshare(found.id, *named)
    call.output.give(
        {"environment": found.id}, f"{short(found.name)} is shared with {named[0].value} {short(named[1])} no longer."
    )
    return ExitStatus.DONE


def give_environment(call: Call) -> ExitStatus:
    """Give away."""
    found, owner = environment_meant(call.client, call.options.environment), call.options.user
    question = f"Give {found.owner}'s {short(found.name)} ({found.id}) to {short(owner)}, who alone can give it back?"
    if not call.options.yes and not call.ask(question):
        call.output.note("It stays.")
        return ExitStatus.REFUSED
    after = call.client.change(found.id, {"owner": owner})
    call.output.give(after.model_dump(mode="json"), f"{short(after.name)} belongs to {short(after.owner)} now.")
    return ExitStatus.DONE
