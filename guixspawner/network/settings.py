"""What an administrator says of sessions' network, and what a start does about it, in its order."""

import asyncio
import enum
import os
from collections.abc import Mapping
from pathlib import Path

import jupyterhub
from jupyterhub.proxy import Proxy
from traitlets import CaselessStrEnum, List, Unicode
from traitlets.config import LoggingConfigurable

from guix_environment import process_identity
from guix_environment.container import Network
from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guixspawner.network import inside
from guixspawner.network.client import GatewayClient
from guixspawner.network.gateway.settings import GatewaySettings
from guixspawner.network.inside import Inside
from guixspawner.network.outbound import Namespaces, WayOut, connect, find
from guixspawner.network.reach import fits_an_address, socket_url, takes_sockets
from guixspawner.network.sockets import SessionSockets, until_listening

_CLIENTS: dict[tuple[Path, str], GatewayClient] = {}
"""One for each gateway that this process talks to, so that it is started once."""

_CONNECTING: set[asyncio.Task[None]] = set()
"""Ways out that are being made.  What a hub that ends leaves of one ends with it, as it holds what that lives by."""

_SAID: set[str] = set()
"""What the log was told already."""


class Outbound(enum.StrEnum):
    """What a session with a network of its own reaches of the outside."""

    ALL = "all"
    NONE = "none"
    FILTER = "filter"


class SessionNetwork(LoggingConfigurable):
    """What sessions reach over the network, and how they are reached."""

    network = CaselessStrEnum(
        [network.value for network in Network],
        default_value=Network.OWN.value,
        help="""
        Which network sessions have.

        `own`: each has one of its own, in which it reaches the hub's API, what `outbound` allows, and nothing else of the
        machine or of other sessions. `host`: the machine's, with everything that listens on its loopback, such as other
        services and, through them, other people's data; only for an installation whose people all trust each other.
        """,
    ).tag(config=True)

    outbound = CaselessStrEnum(
        [outbound.value for outbound in Outbound],
        default_value=Outbound.ALL.value,
        help="""
        What sessions with a network of their own reach of the outside.

        `all`: everything that the machine reaches, except what is on the machine itself, link-local and metadata addresses,
        and `refused_networks`; over IPv4. It takes slirp4netns; where that is missing, sessions start without, and the
        hub's log says so. `filter`: `allowed_hosts` through a proxy for HTTP and HTTPS, which programs find by
        `http_proxy` and `https_proxy`. `none`: nothing.
        """,
    ).tag(config=True)

    slirp4netns = Unicode(
        "slirp4netns", help="The program by which sessions reach the outside: a name on the hub's PATH, or a whole path."
    ).tag(config=True)

    reach = CaselessStrEnum(
        ["auto", "socket", "relay"],
        default_value="auto",
        help="""
        How the hub and its proxy reach a session's server.

        `socket`: straight over its Unix socket, which takes JupyterHub 6 and configurable-http-proxy. `relay`: through a
        port of 127.0.0.1 that the gateway holds, with every hub and proxy. `auto`: the first where it works.
        """,
    ).tag(config=True)

    allowed_hosts = List(
        Unicode(),
        help="""
        Hosts that sessions reach through the filtering proxy, with `outbound = "filter"`.

        Each is `HOST`, `HOST:PORT`, `*.HOST` for all below it, or `*.HOST:PORT`; the ports are 80 and 443 unless one is
        named. Hosts on private addresses are not reached, whatever stands here.
        """,
    ).tag(config=True)

    refused_networks = List(
        Unicode(),
        help="""
        Networks that sessions never reach, as `10.0.0.0/8`, in addition to the link-local and metadata addresses.
        """,
    ).tag(config=True)

    folder = Unicode(
        help="""
        The folder of sessions' sockets and of the gateway's.

        Sockets have short paths: at most 40 lower-case characters, digits, dots, dashes and slashes are best.
        """
    ).tag(config=True)

    @property
    def kind(self) -> Network:
        """Which network sessions have."""
        return Network(self.network)

    @property
    def label(self) -> str:
        """What people are told of their session's network: ``none``, ``all``, ``filter`` or ``host``."""
        if self.kind is Network.HOST:
            return "host"
        return "none" if self.outbound == Outbound.ALL and self._way_out is None else str(self.outbound)

    @property
    def sockets_folders(self) -> tuple[Path, ...]:
        """The folder that has one for each session, named by its key, where such a folder is set."""
        return (self._sockets,) if self.folder else ()

    def sockets(self, key: str) -> SessionSockets:
        """Return the sockets of the session KEY."""
        return SessionSockets.of(self._sockets, key)

    async def prepare(
        self, key: str, account: Account, hub_variables: Mapping[str, str], api: str, *, by_path: bool = False
    ) -> Inside:
        """Make ready what the session KEY of ACCOUNT needs, and return what goes into its container.

        HUB_VARIABLES are what the hub would tell it, and API is the address of the hub's API.  With BY_PATH, the account's
        group comes to its folder by its path, as whoever makes the container needs who has not the hub's rights.
        Raises `SessionFailure`.
        """
        if self.kind is Network.HOST:
            self._say_once("Sessions share the machine's network: they reach whatever listens on its loopback.")
        sockets = self.sockets(key)
        await asyncio.to_thread(sockets.make, account, by_path=by_path)
        await self.gateway(api).open(key)
        machine = await asyncio.to_thread(inside.machine_hosts)
        return Inside(
            self.kind,
            inside.mounts(sockets.inner, sockets.gateway),
            inside.variables(
                hub_variables, self.kind, over_sockets=_knows_sockets(), filtered=self.label == Outbound.FILTER
            ),
            resolv_conf=self._resolv_conf,
            hosts=inside.hosts(machine, self.kind),
        )

    async def attach(self, process: ProcessIdentity, api: str) -> None:
        """Begin to give PROCESS, the waiting first one of a session, its way out, where it is to have one.

        The session goes on meanwhile, as its server takes longer to load.  One that could not be given a way out does
        without; the log says why.
        """
        if self._way_out is None:
            return
        beginning = asyncio.create_task(self._connect(self._way_out, process, opened := asyncio.Event(), api))
        _CONNECTING.add(beginning)
        beginning.add_done_callback(_CONNECTING.discard)
        await opened.wait()

    async def _connect(self, way: WayOut, process: ProcessIdentity, opened: asyncio.Event, api: str) -> None:
        try:
            with Namespaces.of(process) as session:
                opened.set()
                await connect(way, session, self.refused_networks, self.gateway(api))
        except SessionFailure as error:
            if process_identity.is_running(process):
                self.log.warning("%s %s", error, error.details.get("reason", ""))
        finally:
            opened.set()

    async def opened(self, key: str, process: ProcessIdentity, proxy: Proxy, api: str) -> str | None:
        """Wait until the server of the session KEY listens, and return the address by which hub and PROXY reach it.

        Returns None when PROCESS, its first, ended before.  Raises `SessionFailure`.
        """
        sockets = self.sockets(key)
        if not await until_listening(sockets, process):
            return None
        try:
            await asyncio.to_thread(sockets.seal)
            return await self._address(key, proxy, api)
        except OSError as error:
            raise SessionFailure(
                "The session listens, and cannot be reached.",
                hint="Tell whoever runs this installation.",
                details={"reason": str(error)},
            ) from error

    async def reopened(self, key: str, address: str, api: str) -> str:
        """Return by which address the session KEY, found again at ADDRESS, is reached now: mostly the same."""
        gateway = self.gateway(api)
        await gateway.ensure()
        port = address.rpartition(":")[2].partition("/")[0]
        if not address.startswith("http://127.0.0.1:") or not port.isdecimal():
            return address
        return f"http://127.0.0.1:{await gateway.relay(key, int(port))}"

    async def keep(self, api: str) -> None:
        """See that the gateway runs, while sessions do."""
        if not self.folder:
            return
        try:
            await self.gateway(api).ensure()
        except SessionFailure as error:
            self.log.warning("%s %s", error, error.details.get("reason", ""))

    async def clear(self, key: str, api: str) -> None:
        """Remove what the session KEY, which has ended, had of sockets and ports."""
        sockets = self.sockets(key)
        if self.folder and sockets.folder.exists():
            await self.gateway(api).forget(key)
            await asyncio.to_thread(sockets.remove)

    def gateway(self, api: str) -> GatewayClient:
        """Return the hub's side of the gateway, which forwards the hub's API at the address API."""
        settings = GatewaySettings(
            sockets=str(self._sockets),
            api=api.rstrip("/") + "/",
            allowed=tuple(self.allowed_hosts),
            refused=tuple(self.refused_networks),
        )
        folder = Path(self.folder) / "gateway"
        return _CLIENTS.setdefault((folder, settings.fingerprint), GatewayClient(folder, settings))

    @property
    def _way_out(self) -> WayOut | None:
        """How sessions reach the outside, or None where they do not; the log says once what is lacking."""
        if self.kind is not Network.OWN or self.outbound != Outbound.ALL:
            return None
        try:
            return find(self.slirp4netns, root=os.geteuid() == 0)
        except SessionFailure as error:
            self._say_once(f"{error.message} {error.hint}")
            return None

    def _say_once(self, sentence: str) -> None:
        if sentence not in _SAID:
            _SAID.add(sentence)
            self.log.warning("%s", sentence)

    @property
    def _resolv_conf(self) -> bytes | None:
        if self.kind is Network.HOST:
            return None
        return self._way_out.resolv_conf if self._way_out else b""

    async def _address(self, key: str, proxy: Proxy, api: str) -> str:
        sockets = self.sockets(key)
        straight = takes_sockets(proxy) and fits_an_address(sockets.public)
        if self.reach == "socket" and not straight:
            raise SessionFailure(
                "This hub and its proxy cannot reach sessions on sockets.",
                hint='Whoever runs it can set c.SessionNetwork.reach = "relay".',
            )
        if straight and self.reach != "relay":
            try:
                return socket_url(await asyncio.to_thread(sockets.publish))
            except PermissionError:
                if self.reach == "socket":
                    raise
        return f"http://127.0.0.1:{await self.gateway(api).relay(key)}"

    @property
    def _sockets(self) -> Path:
        return Path(self.folder) / "s"


def _knows_sockets() -> bool:
    """Tell whether the JupyterHub of sessions, which is of this hub's series, takes addresses of sockets."""
    return int(jupyterhub.version_info[0]) >= 6
