"""Ports of loopback, for programs that must be told theirs before they listen."""

import contextlib
import random
import socket


def free_port() -> int:
    """Return a port that is free, as `free_ports` does."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Return NUMBER ports that are free, as are most of the next ones of each, which a hub takes for its parts.

    They are below those of which the kernel gives one to every connection that is opened (ip(7)): of these, each may be
    taken by the time that somebody listens there.
    """
    found: list[int] = []
    while len(found) < number:
        port = random.randrange(10000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found
