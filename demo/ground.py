"""Whether this machine can carry a hub: each thing that cannot be is one sentence, before anything is changed."""

import socket
import stat
from pathlib import Path

from demo.settings import Settings, UnsuitableGround
from guixlab.host import install_host, require_root, require_space, require_user_namespaces

LEAST_LATER = 1.0
"""Gigabytes that must be free when everything is there already."""


def check_ground(settings: Settings) -> None:
    """Raise `UnsuitableGround` or `LabError` for the first thing that this machine lacks; change
    nothing but make STATE and install the few programs that sessions are started with."""
    require_root()
    check_port(settings.port)
    make_state(settings.state)
    require_space(settings.state, settings.least_free if is_new(settings.state) else min(settings.least_free, LEAST_LATER))
    install_host()
    require_user_namespaces()


def is_new(state: Path) -> bool:
    """Tell whether no hub ever ran with this STATE, so that everything has still to be fetched."""
    return not (state / "records" / "server.json").exists()


def check_port(port: int) -> None:
    """Raise when something listens on PORT of 127.0.0.1 already."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except PermissionError:
            raise UnsuitableGround(
                f"Port {port} may not be used on this machine; choose another, as in PORT=8010."
            ) from None
        except OSError:
            raise UnsuitableGround(
                f"Port {port} is taken by another program; choose another, as in PORT={port % 65000 + 10}."
            ) from None


def make_state(state: Path) -> None:
    """Make the folder STATE, which must be a folder on a disk that keeps owners and modes."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        probe = state / ".probe"
        probe.touch()
        probe.chmod(0o600)
        kept = stat.S_IMODE(probe.stat().st_mode) == 0o600
        probe.unlink()
    except OSError as error:
        raise UnsuitableGround(
            f"The folder {state} cannot be written ({error.strerror}); choose another by STATE=."
        ) from None
    if not kept:
        raise UnsuitableGround(f"The disk of {state} keeps no file modes; choose a folder on another by STATE=.")
