"""The commands of ``guix-build-service`` that speak to a running service."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from typing import NoReturn, TextIO

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
from guix_build_service.commands.access import Access, access_from, local_folder
from guix_build_service.commands.call import Call, Command
from guix_build_service.commands.client import Client, Patience
from guix_build_service.commands.hub import Hub
from guix_build_service.commands.local import LocalService
from guix_build_service.commands.outcomes import CommandMisused, ExitStatus, exit_status_of
from guix_build_service.commands.terminal import Output, shown
from guix_build_service.commands.transport import Transport
from guix_build_service.local.started import Work
from guix_environment.errors import GuixSpawnerError

STOPPED = "Stopped. What the service was asked for goes on."
STOPPED_ALONE = "Stopped. What was asked for is kept, and goes on when the service runs again."


class Parser(argparse.ArgumentParser):
    """A parser, and those of its commands, that says what is wrong as every command does."""

    def error(self, message: str) -> NoReturn:
        """Raise `CommandMisused` for words that are wrong because of MESSAGE."""
        raise CommandMisused(f"{message[:1].upper()}{message[1:]}.", hint=f"See {self.prog} --help.")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all these commands."""
    parser = Parser(
        prog="guix-build-service",
        description="Ask a hub's build service for what its pages and its API do.",
        epilog="Its administrator's further commands are serve, server-layer, downgrade, doctor and read.",
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
    output = Output(sys.stdout, sys.stderr, as_json="--json" in words)
    known = os.environ if variables is None else variables
    return printed(output, lambda: _answered(words, known, output, patience))


def printed(output: Output, command: Callable[[], int]) -> int:
    """Do COMMAND, which prints to OUTPUT, and return its exit status, also where nothing can be printed any more."""
    try:
        return command()
    except BrokenPipeError:
        _print_no_more()
        return ExitStatus.READER_LEFT
    except OSError as error:
        # Whoever meets another one, of a file or a connection, has words of their own for it.
        _print_no_more()
        with contextlib.suppress(OSError):
            output.note(f"guix-build-service: The answer cannot be written: {error.strerror}.")
        return ExitStatus.REFUSED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED  # once more, while what serves us alone was ending


def _print_no_more() -> None:
    # Python would write what is left when it ends, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answered(words: Sequence[str], known: Mapping[str, str], output: Output, patience: Patience | None) -> int:
    """Do what WORDS say with the settings that are KNOWN, and return the exit status."""
    try:
        options = make_parser().parse_args(list(words))
    except SystemExit as ended:
        return int(ended.code or 0)
    except CommandMisused as error:
        output.refuse(error)
        return error.exit_status
    with contextlib.ExitStack() as until_done:
        local: LocalService | None = None
        try:
            folder = local_folder(known, wanted=options.local, named=options.folder, address=options.service)
            if folder is not None:
                local = until_done.enter_context(LocalService(folder, _work(options)))
            return _done(options, known, local, output, patience)
        except GuixSpawnerError as error:
            output.refuse(error)
            return exit_status_of(error)
        except KeyboardInterrupt:
            output.note(STOPPED_ALONE if local is not None and local.ends_with_us else STOPPED)
            return ExitStatus.INTERRUPTED


def _work(options: argparse.Namespace) -> Work:
    """Return what a command with these OPTIONS is about: who follows a build to its end needs somebody to do it."""
    work: Work = options.work
    return Work.BUILD if getattr(options, "follow", False) else work


def _done(
    options: argparse.Namespace,
    variables: Mapping[str, str],
    local: LocalService | None,
    output: Output,
    patience: Patience | None,
) -> int:
    """Do what OPTIONS say, by the LOCAL service or else the one that VARIABLES name, and return the exit status."""
    if local is not None:
        access = Access.here(local)
    else:
        access = access_from(variables, options.service, plain_http=options.plain_http)
    client = Client(Transport(access), patience or Patience(tell=output.note))
    alone = (lambda: local.ends_with_us) if local is not None else (lambda: False)
    run: Command = options.run
    return run(Call(options, client, Hub(access), output, Question(sys.stdin, sys.stderr), alone, read_secret))


def read_secret(prompt: str) -> str:
    """Return what is typed after PROMPT, which is not shown, or the first line of an input that is no terminal.

    Empty where there is none.  Raises `CommandMisused` for what is no text.
    """
    try:
        return getpass(prompt).strip() if sys.stdin.isatty() else sys.stdin.readline().strip()
    except EOFError:
        return ""
    except UnicodeDecodeError:
        raise CommandMisused("What was given is no text.", hint="Send it in the encoding of your terminal.") from None


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
