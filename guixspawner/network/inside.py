"""What a session sees of its network, worked out from settings alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from guix_environment import session_layout as layout
from guix_environment.container import Mount, Network
from guixspawner.network.reach import socket_url

FILTER_PORT = 3128
"""Of the session's own loopback, where programs find the filtering proxy."""

_LOCALHOST = b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


@dataclass(frozen=True, slots=True)
class Inside:
    """What goes into a session's container for its network's sake."""

    network: Network
    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """They replace what the hub says of the same name."""
    resolv_conf: bytes | None = None
    """The content of ``/etc/resolv.conf``; None for the machine's own file."""
    hosts: bytes = _LOCALHOST
    """The content of ``/etc/hosts``, to which the session's own name is added."""


def mounts(sockets: Path, gateway: Path) -> tuple[Mount, ...]:
    """Return the folder SOCKETS that the session's server listens in, and the folder GATEWAY that the gateway listens in."""
    return (
        Mount(str(sockets), layout.SOCKETS, writable=True, sealed=True),
        Mount(str(gateway), layout.GATEWAY, sealed=True),
    )


def variables(hub_variables: Mapping[str, str], network: Network, *, over_sockets: bool, filtered: bool) -> dict[str, str]:
    """Return what a session is told of where the hub's API is and what it listens on, instead of HUB_VARIABLES' own words.

    OVER_SOCKETS says that the session's JupyterHub, which is of the hub's series, takes addresses of sockets (6 and later);
    else a port of the session's own loopback leads there.  FILTERED says that there is the filtering proxy.
    """
    server = socket_url(layout.SERVER_SOCKET) + hub_variables.get("JUPYTERHUB_SERVICE_PREFIX", "/")
    found = {"JUPYTERHUB_SERVICE_URL": server}
    if network is Network.HOST:
        return found
    api = urlsplit(hub_variables["JUPYTERHUB_API_URL"])
    port = api.port or 80
    origin = socket_url(layout.HUB_SOCKET) if over_sockets else f"http://127.0.0.1:{port}"
    for name in ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL"):
        found[name] = origin + urlsplit(hub_variables[name]).path
    relays = [] if over_sockets else [(port, layout.HUB_SOCKET)]
    if filtered:
        relays.append((FILTER_PORT, layout.FILTER_SOCKET))
        proxy = f"http://127.0.0.1:{FILTER_PORT}"
        for name in ("http_proxy", "https_proxy"):
            found |= {name: proxy, name.upper(): proxy}
        found |= dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1")
    return found | {"GUIX_SESSION_RELAYS": json.dumps(relays)}


def machine_hosts(file: Path = Path("/etc/hosts")) -> bytes:
    """Return the names in the machine's FILE; a machine need not have one, as its resolver knows its own name (hosts(5))."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def hosts(machine: bytes, network: Network) -> bytes:
    """Return ``/etc/hosts`` for a session in NETWORK: of the MACHINE's names, without those for its own loopback."""
    if network is Network.HOST:
        return machine or _LOCALHOST
    kept = [
        line
        for line in machine.splitlines()
        if line.strip() and not line.lstrip().startswith((b"#", b"127.", b"::1", b"fe80:"))
    ]
    return _LOCALHOST + b"".join(line + b"\n" for line in kept)
