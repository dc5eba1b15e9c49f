"""Ask which addresses a host's name stands for, once."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

from guix_environment.addresses import Address

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and port to its addresses; raises `OSError` where there are none."""

_SOME_PORT = 9


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the machine's own resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def resolved(resolver: Resolver, host: str, port: int, seconds: float) -> list[Address]:
    """Return the addresses of HOST, each once, in RESOLVER's order.

    Raises `OSError` where it has none, and where none that can be used are told within SECONDS.
    """
    try:
        async with asyncio.timeout(seconds):
            texts = await resolver(host, port)
        addresses = [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
    except (ValueError, TimeoutError) as error:
        raise OSError(f"no address of {host} is known") from error
    if not addresses:
        raise OSError(f"{host} has no address")
    return addresses


def is_this_machine(address: Address) -> bool:
    """Tell whether ADDRESS is one of this machine's own.

    To its own addresses a machine talks from these same addresses.  Nothing is sent to find out.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(address), _SOME_PORT))
            return str(asking.getsockname()[0]) == str(address)
    except OSError:
        return False
