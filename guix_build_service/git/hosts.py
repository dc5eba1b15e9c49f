"""Which Git hosts the service talks to, and at which of their addresses.

A person's address of a repository is a way to make this machine connect somewhere.  Public addresses over HTTPS are fine;
everything else (the machine itself, the networks around it, a cloud's metadata service) is reached only where the
administrator lists it.  A name is looked up here and nowhere else: Git gets no further than the addresses that were checked
(`guix_build_service.egress`). Which of all these are for this installation is said elsewhere too
(`guix_build_service.git.choice`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guix_build_service.git.choice import Choice
from guix_environment.addresses import Address, as_address, is_name_around, is_public
from guix_environment.errors import HostRefused, InvalidInput, RepositoryUnanswered
from guix_environment.repository_url import RepositoryUrl
from guix_environment.resolution import Resolver, is_this_machine, resolved, system_resolver

RESOLUTION_SECONDS = 10.0

_PORTS = {"https": {443}, "ssh": {22, 443}}
_LEAST_PORT = 1024
"""Below it only HTTPS's and SSH's own are used: the others belong to other services (RFC 6335). Forges take SSH at HTTPS's
too, for networks that let nothing else out."""

_OTHERS_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
"""Ports that browsers use for nothing either (the Fetch standard, "port blocking")."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How to reach a repository: its address, and where its host was found to be."""

    url: RepositoryUrl
    addresses: tuple[str, ...] = ()
    """The checked addresses of the host; empty for a file."""
    proxy: str = field(default="", repr=False)
    """The address of the proxy that leads there, with the password that it takes, or for SSH the path of a socket; without
    one Git reaches no host."""


@dataclass(frozen=True, slots=True)
class PrivateHost:
    """A host on a private address that may be used, over plain HTTP too."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "PrivateHost":
        """Return the host in TEXT, ``HOST:PORT`` or ``HOST`` for port 443; else raise `InvalidInput`."""
        host, colon, port = text.strip().lower().rpartition(":")
        if not colon or host.endswith(":") or text.strip().endswith("]"):
            host, port = text.strip().lower(), "443"
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InvalidInput(f"This is not a host and a port: {text!r:.80}", hint="Write it as 127.0.0.1:3000")
        return cls(host, int(port))


class Hosts:
    """The policy of this installation."""

    def __init__(
        self,
        private_hosts: Sequence[PrivateHost] = (),
        file_repositories: Sequence[Path] = (),
        resolver: Resolver = system_resolver,
        choice: Choice | None = None,
        *,
        over_ssh: bool = False,
    ) -> None:
        self._private = frozenset(private_hosts)
        self._folders = tuple(folder.resolve() for folder in file_repositories)
        self._resolver = resolver
        self._choice = choice or Choice()
        self._over_ssh = over_ssh

    async def check(self, url: RepositoryUrl) -> Reached:
        """Return how to reach URL.  Raises `HostRefused`, or `RepositoryUnanswered` for a host that has no address."""
        self._choice.check(url)
        if url.scheme == "file":
            return self._file(url)
        if url.scheme == "ssh" and not self._over_ssh:
            raise HostRefused(
                "Repositories are fetched over HTTPS here, not over SSH.",
                hint=f"Try https://{url.host}{url.path}. "
                f"If it is private, keep a token for {url.host} on the page of credentials.",
            )
        port = url.reached_port
        listed = PrivateHost(url.host, port) in self._private
        if not listed:
            _check_unlisted(url)
        addresses = await self._addresses(url.host, port)
        if not listed and not all(is_public(address) and not is_this_machine(address) for address in addresses):
            raise _private(url)
        return Reached(url, tuple(str(address) for address in addresses))

    def _file(self, url: RepositoryUrl) -> Reached:
        # Without following links out of the listed folders.  Blocks for a few microseconds: it is a local folder.
        folder = Path(url.path).resolve()
        if not any(folder.is_relative_to(allowed) for allowed in self._folders):
            raise HostRefused(
                "Repositories in folders of the hub's machine are not used here.",
                hint="Give an address that starts with https://",
            )
        return Reached(url)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        if address := as_address(host):
            return [address]
        try:
            return await resolved(self._resolver, host, port, RESOLUTION_SECONDS)
        except OSError:
            raise RepositoryUnanswered(
                f"There is no host named {host}.",
                hint="Check the address: paste it from the forge's page of the repository.",
            ) from None


def _check_unlisted(url: RepositoryUrl) -> None:
    """Raise `HostRefused` where nobody need be asked to know that URL, which the administrator does not list, is refused."""
    port = url.reached_port
    if url.scheme == "http":
        raise HostRefused(
            "Repositories are fetched over HTTPS here, not over plain HTTP.",
            hint=f"Try https://{url.authority}{url.path}, or ask the administrator to allow {url.host}:{port}.",
        )
    if port not in _PORTS[url.scheme] and (port < _LEAST_PORT or port in _OTHERS_PORTS):
        raise HostRefused(
            f"Repositories are not fetched from port {port}, which belongs to another service.",
            hint=f"Leave the port out, or ask the administrator to allow {url.host}:{port}.",
        )
    address = as_address(url.host)
    if is_name_around(url.host) if address is None else not is_public(address):
        raise _private(url)


def _private(url: RepositoryUrl) -> HostRefused:
    return HostRefused(
        f"{url.host} is not on the public internet, and this hub does not fetch from private addresses.",
        hint=f"The administrator can allow it: private_hosts, {url.host}:{url.reached_port}.",
    )
