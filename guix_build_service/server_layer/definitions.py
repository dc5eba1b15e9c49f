"""What the server profile is made from: the files of ``share/guix``, and the command that builds them."""

import hashlib
import importlib.metadata
import json
import sys
from pathlib import Path

from guix_environment.errors import Conflict

HUB_SERIES = {"5": (5, 5), "6": (6, 0)}
"""The releases of JupyterHub that there is a server layer for, by the name of its lock; the least minor release of each."""


def definitions_folder() -> Path:
    """Return the folder with this project's Guix package definitions: of the checkout, or as installed."""
    checkout = Path(__file__).resolve().parents[2] / "share" / "guix"
    installed = Path(sys.prefix) / "share" / "guixspawner" / "guix"
    for folder in (checkout, installed):
        if (folder / "guixspawner" / "server-profile.scm").is_file():
            return folder
    raise FileNotFoundError("The installation lacks share/guixspawner/guix.")


def hub_series(version: str | None = None) -> str:
    """Return the name of the server layer for JupyterHub VERSION, by default the installed one.

    Raises `Conflict` for a release that there is none for: a single-user server of another series might not log anybody in.
    """
    version = version or importlib.metadata.version("jupyterhub")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    for series, least in HUB_SERIES.items():
        if numbers[:1] == least[:1] and numbers >= least:
            return series
    supported = " and ".join(f"{major}.{minor} or later" for major, minor in HUB_SERIES.values())
    raise Conflict(
        f"There is no server layer for JupyterHub {version}.",
        hint=f"Install JupyterHub {supported} of the same first number.",
    )


def definition_files(definitions: Path, series: str) -> list[Path]:
    """Return every file that the server profile of SERIES is made from, in order."""
    layer = definitions / "server-layer"
    found = [manifest(definitions, series), layer / "install.py", layer / f"lock-{series}.json"]
    for folder, pattern in ((definitions / "guixspawner", "*.scm"), (layer / "configuration", "*")):
        found += [path for path in folder.rglob(pattern) if path.is_file()]
    return sorted(found)


def manifest(definitions: Path, series: str) -> Path:
    """Return the manifest of the server profile of SERIES."""
    return definitions / f"server-profile-hub-{series}.scm"


def profile_key(definitions: Path, series: str, guix: str) -> str:
    """Return what tells one server profile from another: 32 digits from all that it is made from and by which GUIX."""
    digest = hashlib.sha256(guix.encode())
    for path in definition_files(definitions, series):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\n{path.relative_to(definitions)} {content}".encode())
    return digest.hexdigest()[:32]


def build_command(guix: str, definitions: Path, series: str, root: Path) -> tuple[str, ...]:
    """Return the command by which GUIX makes the server profile and holds it under the link ROOT.

    Guix holds all that it builds for as long as the command runs, and links the profile before it ends, so nothing of it can
    be collected in between.
    """
    return (
        guix,
        "package",
        f"--profile={root}",
        f"--load-path={definitions}",
        f"--manifest={manifest(definitions, series)}",
    )


def locked_versions(definitions: Path, series: str) -> dict[str, str]:
    """Return the versions of what people ask about, from the lock of SERIES."""
    lock = json.loads((definitions / "server-layer" / f"lock-{series}.json").read_text())
    named = {wheel["name"]: wheel["version"] for wheel in lock["wheels"]}
    return {name: named[name] for name in ("jupyterhub", "jupyterlab", "jupyter-server")}
