"""How hub and proxy reach a session: straight over its socket, or through a port of the gateway's.

JupyterHub 6 and configurable-http-proxy from 5.3 on take addresses of sockets, ``http+unix://`` with the quoted path
in the place of the host (``jupyterhub/objects.py``, ``lib/configproxy.js``).  JupyterHub 5 and other proxies do not.
"""

import re
from pathlib import Path
from urllib.parse import quote

import jupyterhub
from jupyterhub.proxy import ConfigurableHTTPProxy, Proxy

SCHEME = "http+unix"

LONGEST_PATH = 100
"""Characters of a socket's path; the kernel takes 107 (unix(7))."""

_FITTING = re.compile(r"[a-z0-9/._-]+")
"""Paths that come out of the hub as they went in: it makes host names lower-case (`urllib.parse`)."""

_PORT_ADDED = re.compile(rf"{re.escape(SCHEME)}://([^/:]+):80")


def socket_url(path: Path | str) -> str:
    """Return the address of the socket PATH, as the hub and its proxy write it."""
    return f"{SCHEME}://{quote(str(path), safe='')}"


def fits_an_address(path: Path) -> bool:
    """Tell whether PATH can be the place of a socket that is reached by its address."""
    return len(str(path)) <= LONGEST_PATH and _FITTING.fullmatch(str(path)) is not None


class SocketProxy(ConfigurableHTTPProxy):  # type: ignore[misc]  # JupyterHub has no types
    """The hub's usual proxy, to sessions that listen on sockets.

    The hub gives every server a port, 80 where its address has none (`User.spawn`), and the proxy would take it for a part
    of the path.  So it is left out of what the proxy is told, and the hub, which compares, is told what it asked for.

    When a session was last used, its server tells the hub, which knows work from a page that is merely open
    (`guix_session.extension`).  The proxy does not, so what it has to say of that is left out.
    """

    async def add_route(self, routespec: str, target: str, data: dict[str, object]) -> None:
        """Lead what begins with ROUTESPEC to TARGET."""
        found = _PORT_ADDED.fullmatch(target)
        if found:
            data, target = {**data, "asked": target}, f"{SCHEME}://{found[1]}"
        await super().add_route(routespec, target, data)

    async def get_all_routes(self) -> dict[str, dict[str, object]]:
        """Return where the proxy leads what, as it was asked to."""
        routes: dict[str, dict[str, object]] = await super().get_all_routes()
        for route in routes.values():
            data = route["data"]
            if not isinstance(data, dict):
                continue
            if "server_name" in data:
                data.pop("last_activity", None)
            if "asked" in data:
                route["target"] = data.pop("asked")
        return routes


def takes_sockets(proxy: Proxy) -> bool:
    """Tell whether the hub of this process and PROXY, its own, reach sessions on sockets by their addresses."""
    return isinstance(proxy, SocketProxy) and int(jupyterhub.version_info[0]) >= 6
