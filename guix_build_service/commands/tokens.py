"""The commands about one's own tokens for the service, which are the hub's."""

import argparse
from datetime import UTC, datetime

from guix_build_service.commands.call import Call
from guix_build_service.commands.outcomes import ExitStatus, NothingSuch
from guix_build_service.commands.terminal import short, table
from guix_build_service.commands.words import command
from guix_build_service.local.started import Work

HEAD = ("ID", "NOTE", "CREATED (UTC)", "USED (UTC)", "ENDS (UTC)", "SCOPES")
LONGEST_DAYS = 3650


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of these commands."""
    about = "list, make and revoke your tokens for the service"
    group = commands.add_parser("tokens", help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False)
    own = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command(
        own,
        "list",
        list_tokens,
        "list your tokens that let in at the service",
        "What a token itself is, is not shown.",
        work=Work.LOOK,
    )
    create = command(
        own,
        "create",
        create_token,
        "make a token and print it, which is the only time that it can be seen",
        "The token that you use needs the scope tokens, as those that the hub's page makes without scopes have.",
    )
    create.add_argument("--note", default="guix-build-service", help="what it is for, as lists show it")
    create.add_argument("--days", type=_days, metavar="DAYS", help="days until it ends; else it does not")
    create.add_argument("--sessions", action="store_true", help="let it start and stop your sessions too")
    revoke = command(own, "revoke", revoke_token, "have a token be none any more, at once")
    revoke.add_argument("id", help="the token's id, as `list` prints it; never the token itself")


def list_tokens(call: Call) -> ExitStatus:
    """List."""
    found = call.hub.tokens(call.hub.caller())
    rows = [
        (
            each.id,
            each.note or "",
            _moment(each.created),
            _moment(each.last_activity),
            _moment(each.expires_at),
            " ".join(each.scopes),
        )
        for each in found
    ]
    call.output.give([each.model_dump(mode="json") for each in found], table(HEAD, rows) if rows else "")
    if not rows:
        call.output.note("You have no tokens that let in at the service.")
    return ExitStatus.DONE


def create_token(call: Call) -> ExitStatus:
    """Make one, and print it alone, so that it can be sent into a file."""
    options, user = call.options, call.hub.caller()
    scopes = (call.hub.scope, *((f"servers!user={user}",) if options.sessions else ()))
    made = call.hub.create(user, options.note, scopes, None if options.days is None else options.days * 86400)
    call.output.give(made.model_dump(mode="json"), made.token)
    call.output.note(f"Token {made.id} of {short(user)}. It is not shown again; keep it where only you can read it.")
    return ExitStatus.DONE


def revoke_token(call: Call) -> ExitStatus:
    """Revoke."""
    user, wanted = call.hub.caller(), call.options.id
    # The hub would take the token itself in this place too, which must not stand in anybody's command line.
    if wanted not in {token.id for token in call.hub.tokens(user)}:
        raise NothingSuch("You have no such token.", hint="guix-build-service tokens list prints their ids.")
    call.hub.revoke(user, wanted)
    call.output.give({"revoked": wanted}, f"Token {wanted} is revoked.")
    return ExitStatus.DONE


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if moment is not None else "-"


def _days(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= LONGEST_DAYS:
        raise argparse.ArgumentTypeError(f"this is no number of days from 1 to {LONGEST_DAYS}: {text[:40]!r}")
    return int(text)
