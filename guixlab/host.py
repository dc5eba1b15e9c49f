"""What the host has to offer, probed before anything is begun, and the few packages that it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ExitCode, LabError

# Program -> Debian and Ubuntu package.
PROGRAMS = {"mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_FREE_GIGABYTES = 6.0


def require_root() -> None:
    """Raise LabError unless this process may mount."""
    if os.geteuid() != 0:
        raise LabError(
            "This needs root: the build daemon runs its builds under accounts of their own. Start it with sudo.",
            ExitCode.NOT_ROOT,
        )


def require_user_namespaces() -> None:
    """Raise LabError unless an ordinary user can really make a container here."""
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        raise LabError("bubblewrap is not installed; run `python3 -m guixlab install-host`.", ExitCode.MISSING_PROGRAM)
    probe = [bubblewrap, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    nobody: Mapping[str, int] = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    try:
        process = subprocess.run(
            probe,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            cwd="/",
            extra_groups=[] if nobody else None,
            user=nobody.get("user"),
            group=nobody.get("group"),
        )
    except subprocess.TimeoutExpired:
        raise LabError("A test container did not start within 20 seconds.", ExitCode.NO_USER_NAMESPACES) from None
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise LabError(
            "This machine does not let ordinary users make containers, which sessions need "
            f"({reason[0]}). Allow user namespaces: kernel.unprivileged_userns_clone=1, "
            "user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns=0; "
            "in Docker, run with --privileged.",
            ExitCode.NO_USER_NAMESPACES,
        )


def free_gigabytes() -> float:
    """How much room is asked for, in GB: the environment's GUIXLAB_FREE_GB, else 6."""
    text = os.environ.get("GUIXLAB_FREE_GB", "")
    try:
        return float(text) if text else DEFAULT_FREE_GIGABYTES
    except ValueError:
        raise LabError(f"GUIXLAB_FREE_GB is not a number: {text}", ExitCode.USAGE) from None


def require_space(folder: Path, gigabytes: float) -> None:
    """Raise LabError when the file system of FOLDER has less than so many gigabytes (1e9 bytes) left."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    available = shutil.disk_usage(existing).free / 1e9
    if available < gigabytes:
        raise LabError(
            f"{folder} has {available:.1f} GB left and a Guix needs {gigabytes:g} GB; make room, name another folder, "
            "or set GUIXLAB_FREE_GB to a lower number.",
            ExitCode.DISK_FULL,
        )


def missing_packages() -> tuple[str, ...]:
    """The packages that `install_host` would install."""
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    return tuple(missing)


def install_host() -> tuple[str, ...]:
    """Install what is missing with apt-get and return it; nothing is done when nothing is missing."""
    require_root()
    missing = missing_packages()
    if not missing:
        return ()
    if shutil.which("apt-get") is None:
        raise LabError(
            f"{' and '.join(missing)} must be installed, and this machine has no apt-get to do it with.",
            ExitCode.MISSING_PROGRAM,
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "-q", *missing]
    if _apt(install, environment):
        _apt(["apt-get", "update", "-q"], environment)
        if complaint := _apt(install, environment):
            raise LabError(f"apt-get could not install {' '.join(missing)}: {complaint}", ExitCode.NO_ARCHIVE)
    return missing


def _apt(command: Sequence[str], environment: Mapping[str, str]) -> str:
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if process.returncode == 0:
        return ""
    complaints = [line for line in process.stderr.splitlines() if line.startswith("E:")]
    return " ".join(complaints[-2:]) or f"status {process.returncode}"
