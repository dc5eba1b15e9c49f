"""The commands of ``guix-build-service`` that speak to a running service."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from getpass import getpass
from typing import TextIO

from guix_build_service.commands import (
    builds,
    credentials,
    environments,
    import_gallery,
    keeping,
    sessions,
    sharing,
    storage,
    tokens,
    webhooks,
)
from guix_build_service.commands.access import access_from
from guix_build_service.commands.call import Call, Command
from guix_build_service.commands.client import Client, Patience
from guix_build_service.commands.hub import Hub
from guix_build_service.commands.outcomes import CommandMisused, ExitStatus, exit_status_of
from guix_build_service.commands.terminal import Output, shown
from guix_build_service.commands.transport import Transport
from guix_environment.errors import GuixSpawnerError


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all these commands."""
    parser = argparse.ArgumentParser(
        prog="guix-build-service",
        description="Ask a hub's build service for what its pages and its API do.",
        epilog="Its administrator's commands are serve, server-layer, downgrade, doctor and read.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (environments, sharing, storage, keeping, webhooks, import_gallery, builds, sessions, credentials, tokens):
        group.add_commands(commands)
    return parser


def main(words: Sequence[str], variables: Mapping[str, str] | None = None, patience: Patience | None = None) -> int:
    """Do what WORDS say with the settings in VARIABLES, this process's own unless given, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # of terminals that know few characters
    try:
        options = make_parser().parse_args(list(words))
    except SystemExit as ended:
        return int(ended.code or 0)
    output = Output(sys.stdout, sys.stderr, options.json)
    run: Command = options.run
    try:
        access = access_from(os.environ if variables is None else variables, options.service, plain_http=options.plain_http)
        client = Client(Transport(access), patience or Patience(tell=output.note))
        return run(Call(options, client, Hub(access), output, Question(sys.stdin, sys.stderr), read_secret))
    except GuixSpawnerError as error:
        output.refuse(error)
        return exit_status_of(error)
    except KeyboardInterrupt:
        output.note("Stopped. What the service was asked for goes on.")
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # Python would write what is left when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.READER_LEFT


def read_secret(prompt: str) -> str:
    """Return what is typed after PROMPT, which is not shown, or the first line of an input that is no terminal."""
    return getpass(prompt).strip() if sys.stdin.isatty() else sys.stdin.readline().strip()


class Question:
    """A question on a terminal."""

    def __init__(self, answers: TextIO, questions: TextIO) -> None:
        self._answers, self._questions = answers, questions

    def __call__(self, question: str) -> bool:
        """Ask QUESTION and return whether the answer is yes."""
        if not self._answers.isatty():
            raise CommandMisused(
                f"{question} Nobody is here to answer.", hint="Give --yes to have it done without a question."
            )
        self._questions.write(f"{shown(question)} [y/N] ")
        self._questions.flush()
        return self._answers.readline().strip().lower() in {"y", "yes"}
