"""What every command is given when it runs: its words, the service, and where to print."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass

from guix_build_service.commands.client import Client
from guix_build_service.commands.hub import Hub
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import Output


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a command."""

    options: Namespace
    """What its parser made of its words; what is in there is known to that parser's module alone."""
    client: Client
    hub: Hub
    output: Output
    ask: Callable[[str], bool]
    """Asks the person a question, and returns whether they said yes; raises `CommandMisused` where nobody can answer."""
    builds_end_with_us: Callable[[], bool]
    """Tells whether what answers serves this command alone, so that a build has to be waited for."""
    read_secret: Callable[[str], str]
    """Asks for a secret without showing it, or takes the first line of the input where nobody is there to be asked."""


Command = Callable[[Call], ExitStatus]
