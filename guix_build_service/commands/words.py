"""Words that several commands take."""

import argparse
from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from guix_build_service.commands.call import Command
from guix_build_service.commands.outcomes import CommandMisused
from guix_build_service.commands.terminal import amount
from guix_build_service.local.started import Work
from guix_environment.records import Visibility

_Request = TypeVar("_Request", bound=BaseModel)

ENVIRONMENT = "the environment's id or name, or its repository's address"


def command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Command,
    about: str,
    more: str = "",
    work: Work = Work.CHANGE,
) -> argparse.ArgumentParser:
    """Add the command NAME, which RUN does; ABOUT says so in a line, and MORE what else is to be known.

    WORK is what it may do to what the service has.
    """
    parser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}. {more}".strip(), allow_abbrev=False
    )
    parser.set_defaults(run=run, work=work)
    parser.add_argument("--json", action="store_true", help="print JSON as the API has it; errors too")
    reached = parser.add_argument_group("the service")
    which = reached.add_mutually_exclusive_group()
    which.add_argument(
        "--service", metavar="URL", default="", help="the service's address; else GUIX_BUILD_SERVICE_URL has it"
    )
    which.add_argument("--local", action="store_true", help="ask the service of this machine, without a token")
    which.add_argument(
        "--folder",
        metavar="FOLDER",
        default="",
        help="likewise, with the hub's state folder or the service's own; else GUIX_BUILD_SERVICE_FOLDER has it",
    )
    reached.add_argument(
        "--plain-http", action="store_true", help="send the token unencrypted where the address is that of another machine"
    )
    return parser


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Have PARSER understand whether to wait."""
    parser.add_argument("--wait", action="store_true", help="wait for the build to end, and show how far it is")


def add_sharing(parser: argparse.ArgumentParser) -> None:
    """Have PARSER understand what an environment is called, for whom it is and what its sessions may use."""
    parser.add_argument("--name", help="what people call it; else it is called as its repository")
    parser.add_argument("--description", metavar="TEXT", help="what it is for")
    parser.add_argument(
        "--visibility", choices=[each.value for each in Visibility], help="who may see and start it; private unless given"
    )
    parser.add_argument(
        "--group", dest="groups", action="append", metavar="GROUP", help="a group of the hub's that may; can be given again"
    )
    add_limits(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Have PARSER understand what sessions may use."""
    parser.add_argument(
        "--memory", type=_named("bytes such as 4G", amount), metavar="BYTES", help="memory of a session, such as 4G"
    )
    parser.add_argument("--cpu", type=_named("number of cores", float), metavar="CORES", help="processor cores of a session")


def asked_for(kind: type[_Request], given: Mapping[str, object]) -> _Request:
    """Return the request of KIND with what is GIVEN, as the API has it.  Raises `CommandMisused`."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise CommandMisused(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", hint="See --help.") from error


def _named(what: str, kind: Callable[[str], float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"this is no {what}: {text[:40]!r}") from None

    return convert
