"""The commands about one's own sessions."""

import argparse

from guix_build_service.commands.call import Call
from guix_build_service.commands.finding import environment_meant
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import facts, short, table
from guix_build_service.commands.words import ENVIRONMENT, add_limits, asked_for, command
from guix_build_service.local.started import Work
from guix_build_service.web.schemas.sessions import SessionRequest

_NAME = "the session's name, as `list` prints it; - for the one without a name"


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of these commands."""
    about = "list, start and stop your sessions"
    group = commands.add_parser("sessions", help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False)
    own = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command(own, "list", list_sessions, "list your sessions", work=Work.LOOK)
    start = command(own, "start", start_session, "start a session in an environment")
    start.add_argument("environment", help=ENVIRONMENT)
    start.add_argument("--version", help="one of its versions; else the current one")
    start.add_argument("--path", help="the file to open first")
    start.add_argument("--name", help="the session's name; else it is made from the repository's")
    add_limits(start)
    stop = command(own, "stop", stop_session, "stop a session", "Its files stay.")
    stop.add_argument("name", help="the session's name, as `list` prints it")
    log = command(own, "log", print_log, "print what a session printed since it was started last", work=Work.LOOK)
    log.add_argument("name", help=_NAME)


def list_sessions(call: Call) -> ExitStatus:
    """List."""
    found = call.client.sessions()
    rows = [(each.name or "-", each.state, each.environment or "", each.last_activity or "", each.title) for each in found]
    text = table(("NAME", "STATE", "ENVIRONMENT", "LAST USED", "TITLE"), rows) if rows else ""
    call.output.give([each.model_dump(mode="json") for each in found], text)
    if not rows:
        call.output.note("You have no sessions.")
    return ExitStatus.DONE


def start_session(call: Call) -> ExitStatus:
    """Start."""
    options = call.options
    environment = environment_meant(call.client, options.environment)
    names = ("version", "memory", "cpu", "path", "name")
    given = {"environment": environment.id, **{name: getattr(options, name) for name in names}}
    session = call.client.start_session(asked_for(SessionRequest, given))
    state = [("session", session.name), ("state", session.state), ("page", session.pending_url or session.url)]
    call.output.give(session.model_dump(mode="json"), facts(state))
    return ExitStatus.DONE


def stop_session(call: Call) -> ExitStatus:
    """Stop."""
    gone = call.client.stop_session(call.options.name)
    state = "stopped" if gone else "stopping"
    call.output.give({"name": call.options.name, "state": state}, f"{short(call.options.name)} is {state}.")
    return ExitStatus.DONE


def print_log(call: Call) -> ExitStatus:
    """Print the log."""
    name = call.options.name
    if call.output.as_json:
        text = b"".join(call.client.session_log(name)).decode(errors="replace")
        call.output.give({"name": name, "log": text}, "")
    else:
        call.output.raw(call.client.session_log(name))
    return ExitStatus.DONE
