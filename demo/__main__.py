"""``make run``: check the ground, find or provide Guix, build the server layer, start the hub, and end it all again.

On a machine without Guix this program runs twice, the second time inside the first, where ``/gnu/store`` is the folder's.
"""

import os
import signal
import subprocess
import sys
from types import FrameType
from typing import NoReturn

from demo import account, guix
from demo.descendants import adopt_orphans, end_descendants
from demo.examples import make_examples
from demo.ground import check_ground
from demo.hub import Hub
from demo.settings import CHECKOUT, Settings, UnsuitableGround
from guixlab.errors import LabError
from guixspawner.configure import service_folders

INSIDE = "GUIXSPAWNER_DEMO_INSIDE"
"""Set for the second run, which finds the ground checked and Guix provided."""


def main() -> int:
    """Run until Ctrl-C; return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        settings = Settings.from_environment(os.environ)
        if INSIDE in os.environ:
            return run_hub(settings)
        check_ground(settings)
        adopt_orphans()
        try:
            if not guix.has_guix():
                return run_inside(settings)
            guix.warn_of_holes()
            return run_hub(settings)
        finally:
            _ignore_interrupts()
            end_descendants()
    except (UnsuitableGround, LabError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def run_inside(settings: Settings) -> int:
    """Provide a Guix below STATE and run the hub where it is the machine's own."""
    provided = guix.FolderGuix(settings.state / "guix", settings.contents)
    try:
        provided.provide()
        process = subprocess.Popen(
            provided.inside([sys.executable, "-m", "demo"]),
            cwd=CHECKOUT,
            env=os.environ | {INSIDE: "1"},
            start_new_session=True,
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            return process.wait() and 0
    finally:
        _ignore_interrupts()
        provided.end()


def run_hub(settings: Settings) -> int:
    """Build what sessions need, start the hub, say where it is, and wait for Ctrl-C."""
    build_server_layer(settings)
    make_examples(settings.state / "examples", account.owner_of_examples())
    hub = Hub(settings)
    try:
        hub.start()
        hub.wait_until_ready()
        print(f"Ready: {settings.address}", flush=True)
        print(f"Log in as {account.NAME} with password {account.password(settings.state)}", flush=True)
        status = hub.process.wait()
        raise UnsuitableGround(f"The hub ended by itself (status {status}); its log says why: {hub.log}")
    finally:
        _ignore_interrupts()
        print("Ending the hub and everything it started…", file=sys.stderr, flush=True)
        hub.stop()


def build_server_layer(settings: Settings) -> None:
    """Have Guix build JupyterLab and the tools of every session, where that was not done yet."""
    print("Looking after the server layer (JupyterLab and its tools)…", file=sys.stderr, flush=True)
    command = [
        sys.executable,
        "-m",
        "guix_build_service",
        "server-layer",
        *service_folders(settings.state, account.service_account()),
    ]
    if subprocess.run(command, check=False, cwd=CHECKOUT, stdin=subprocess.DEVNULL).returncode:
        raise UnsuitableGround("The server layer could not be built; the lines above say why.")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    """From now on we are ending; a second Ctrl-C must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
