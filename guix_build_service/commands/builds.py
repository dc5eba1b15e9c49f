"""The commands about builds: log and cancel."""

import argparse

from guix_build_service.commands.call import Call
from guix_build_service.commands.finding import build_meant
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import json_text, shown
from guix_build_service.commands.waiting import say_why
from guix_build_service.commands.words import command
from guix_build_service.local.started import Work
from guix_build_service.model.environments import BuildState
from guix_build_service.web.schemas.builds import BuildAnswer, LogEvent

_BUILD = "the build's id, or an environment (id, name or address) whose latest build is meant"


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of these commands."""
    log = command(
        commands,
        "log",
        print_log,
        "print a build's log",
        "What was lost with a connection is asked for again. With -f and --json each line is one event.",
        work=Work.LOOK,
    )
    log.add_argument("build", help=_BUILD)
    log.add_argument("-f", "--follow", action="store_true", help="print what comes until the build has ended")
    cancel = command(
        commands,
        "cancel",
        cancel_build,
        "stop a build",
        "One that others wait for as well goes on; a finished one stays as it is.",
    )
    cancel.add_argument("build", help=_BUILD)


def print_log(call: Call) -> ExitStatus:
    """Print the log."""
    build = build_meant(call.client, call.options.build)
    if call.options.follow:
        return _follow(call, build)
    if call.output.as_json:
        text = b"".join(call.client.log(build)).decode(errors="replace")
        call.output.give({"build": build, "log": text}, "")
    else:
        call.output.raw(call.client.log(build))
    return ExitStatus.DONE


def _follow(call: Call, build: str) -> ExitStatus:
    last: BuildAnswer | None = None
    for event in call.client.follow(build):
        if isinstance(event, BuildAnswer):
            last = event
        if call.output.as_json:
            kind = "log" if isinstance(event, LogEvent) else "build"
            call.output.line(json_text({"event": kind, **event.model_dump(mode="json")}))
        elif isinstance(event, LogEvent):
            call.output.some(event.text)
    build_then = last or call.client.one_build(build)
    if build_then.state is BuildState.READY:
        return ExitStatus.DONE
    say_why(call.output, build_then)
    return ExitStatus.BUILD_FAILED


def cancel_build(call: Call) -> ExitStatus:
    """Cancel."""
    build = call.client.cancel(build_meant(call.client, call.options.build))
    call.output.give(build.model_dump(mode="json"), f"Build {shown(build.id)} is {build.state.value}.")
    return ExitStatus.DONE
