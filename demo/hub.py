"""Run the hub of a demonstration: start it, say when a person can log in, and end all of it again."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from demo.ground import check_port
from demo.settings import CHECKOUT, Settings, UnsuitableGround

PATIENCE = 120
"""Seconds that the hub, its proxy and the service may take until a person can log in."""


class Hub:
    """A JupyterHub with its proxy and the build service, as one child process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = settings.state / "hub" / "hub.log"

    def start(self) -> None:
        """Start the hub in a session of its own: Ctrl-C is for us, and we end it in order."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        forget_taken_ports(self.log.parent / "ports.json")
        environment = os.environ | {
            "PORT": str(self.settings.port),
            "STATE": str(self.settings.state),
            "PRIVATE_HOSTS": " ".join(self.settings.private_hosts),
            "PATH": f"{CHECKOUT / '.venv/bin'}:{CHECKOUT / 'node_modules/.bin'}:{os.environ['PATH']}",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", CHECKOUT / "jupyterhub_config.py"],
                cwd=self.log.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Return once the hub and, through it, the service answer.  Raises `UnsuitableGround` when they do not."""
        deadline = time.monotonic() + PATIENCE
        for path in ("hub/health", "services/guix/health"):
            while not _answers(self.settings.address + path):
                if self.process.poll() is not None:
                    raise UnsuitableGround(f"The hub did not start; its log says why: {self.log}\n{_last_lines(self.log)}")
                if time.monotonic() > deadline:
                    raise UnsuitableGround(
                        f"The hub did not answer within {PATIENCE} seconds; its log may say why: {self.log}"
                    )
                time.sleep(0.25)

    def stop(self) -> None:
        """Have the hub stop its sessions, its service and its proxy, and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def forget_taken_ports(file: Path) -> None:
    """Remove FILE, the ports that hub, proxy and service had in an earlier run, where another program has one of them now.

    New ones are chosen then.  No session of an earlier run is left that would look for the hub at its old place.
    """
    try:
        for port in json.loads(file.read_text()).values():
            check_port(port)
    except FileNotFoundError:
        return
    except (UnsuitableGround, ValueError):
        file.unlink()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
