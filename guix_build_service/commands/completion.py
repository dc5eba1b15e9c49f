"""``guix-build-service completion SHELL``: print what a shell runs to complete these commands, made from their parsers."""

import argparse
import sys
from collections.abc import Mapping, Sequence

import shtab

from guix_build_service.commands.outcomes import CommandMisused, ExitStatus
from guix_build_service.commands.program import Parser, make_parser, printed
from guix_build_service.commands.terminal import Output

SHELLS = ("bash", "zsh", "fish")

_ON_THE_MACHINE: Mapping[str, str] = {
    "serve": "run the service",
    "server-layer": "build JupyterLab and the tools of every session",
    "downgrade": "take the database back for an earlier release",
    "doctor": "see whether the service could do its work here",
    "read": "say what a manifest or a channels file says",
    "completion": "print what a shell runs to complete these commands",
}
"""The commands that are not in the parser of the others, whose settings are not completed."""

_PLACES: Mapping[str, object] = {"FOLDER": shtab.DIRECTORY, "FILE": shtab.FILE, "file": shtab.FILE}
"""What is completed for a word that stands for a place, by what its help calls it."""


def main(words: Sequence[str]) -> int:
    """Print the script for the shell that WORDS name, and return the exit status."""
    output = Output(sys.stdout, sys.stderr)
    return printed(output, lambda: _script_printed(words, output))


def _script_printed(words: Sequence[str], output: Output) -> int:
    parser = Parser(
        prog="guix-build-service completion",
        description="Print what a shell runs to complete the words of these commands.",
        epilog='Example: eval "$(guix-build-service completion bash)"',
    )
    parser.add_argument("shell", choices=SHELLS)
    try:
        output.some(script(parser.parse_args(words).shell))
    except SystemExit as ended:
        return int(ended.code or 0)
    except CommandMisused as error:
        output.refuse(error)
        return error.exit_status
    return ExitStatus.DONE


def script(shell: str) -> str:
    """Return the script for SHELL, one of `SHELLS`."""
    parser = make_parser()
    for command in _parsers(parser):
        _name_places(command)
    [commands] = _groups(parser)
    for name, about in _ON_THE_MACHINE.items():
        added = commands.add_parser(name, help=about)
        if name == "read":
            added.add_argument("file").__dict__["complete"] = shtab.FILE
        elif name == "completion":
            added.add_argument("shell", choices=SHELLS)
    return shtab.complete(parser, shell)


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return PARSER and those of its commands."""
    return [parser, *(each for group in _groups(parser) for one in group.choices.values() for each in _parsers(one))]


def _groups(parser: argparse.ArgumentParser) -> "list[argparse._SubParsersAction[argparse.ArgumentParser]]":
    kind = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it
    return [action for action in _actions(parser) if isinstance(action, kind)]


def _name_places(parser: argparse.ArgumentParser) -> None:
    for action in _actions(parser):
        place = _PLACES.get(str(action.metavar or action.dest))
        if place is not None:
            action.__dict__["complete"] = place  # where shtab looks


def _actions(parser: argparse.ArgumentParser) -> Sequence[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no public way to ask
