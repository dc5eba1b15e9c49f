"""Which hosts and ports the administrator lets sessions reach through the filter."""

from collections.abc import Iterable
from dataclasses import dataclass

from guix_environment.errors import InvalidInput
from guix_environment.proxy_requests import split

PORTS = frozenset({80, 443})
"""What is meant where no port is named."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A host, or all hosts below a name, and the ports that may be reached there."""

    host: str
    """In lower case."""
    below: bool
    """Whether every name below it is meant, and not itself."""
    ports: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Destination":
        """Return what TEXT means: ``HOST``, ``HOST:PORT``, ``*.HOST`` or ``*.HOST:PORT``.  Raises `InvalidInput`."""
        host, port = split(text.strip(), default=0)
        below = host.startswith("*.")
        host = host.removeprefix("*.")
        if "*" in host or not host:
            raise InvalidInput(
                f"This is not a host: {text!r:.80}", hint="Write it as example.org, *.example.org or both with :443"
            )
        return cls(host, below, frozenset({port}) if port else PORTS)

    def includes(self, host: str, port: int) -> bool:
        """Tell whether PORT of HOST, in lower case, may be reached because of this."""
        fits = host.endswith(f".{self.host}") if self.below else host == self.host
        return fits and port in self.ports


def is_allowed(host: str, port: int, destinations: Iterable[Destination]) -> bool:
    """Tell whether one of DESTINATIONS includes PORT of HOST."""
    return any(destination.includes(host, port) for destination in destinations)
