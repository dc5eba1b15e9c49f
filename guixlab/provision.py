"""Fetches Debian's Guix and the Debian files of the stand-ins into a folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .daemons import down
from .errors import ExitCode, LabError
from .folder import Folder, read_json, remove_tree, write_atomically
from .host import free_gigabytes, require_root, require_space
from .packages import DEBIAN_PACKAGES, DEBIAN_SUITE, GUIX_PACKAGES, GUIX_SUITE
from .processes import end_all, marked

# Raise it when the way of provisioning changes.
RECIPE = 1
# In the environment of what fetches, so that a later run finds what one that was killed left behind.
MARKER = "GUIXLAB_PROVISIONS"
UNREACHABLE = re.compile(
    r"Failed to fetch|Could not (?:resolve|connect)|Temporary failure|Unable to connect|Release file", re.I
)
SOURCE = re.compile(r"^(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(\S+/debian)/?(?:\s|$)", re.M)


def find_mirror(sources: Sequence[str]) -> str | None:
    """The Debian archive in apt's source files, given as texts, or None where there is none (on Ubuntu)."""
    for text in sources:
        if found := SOURCE.search(text):
            return found[1]
    return None


def read_sources() -> list[str]:
    """The texts of apt's source files."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [file.read_text(errors="replace") for file in files if file.is_file()]


def read_proxies() -> dict[str, str]:
    """The proxies that the host's apt is told to use, by the name of the setting."""
    names = ("Acquire::http::Proxy", "Acquire::https::Proxy")
    command = ["apt-config", "dump", "--no-empty", "--format", "%f\t%v%n", *names]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    pairs = (line.split("\t", 1) for line in process.stdout.splitlines() if "\t" in line)
    return {name: value for name, value in pairs if name in names}


def wanted_stamps() -> dict[str, list[object]]:
    """What each of the two trees is made from, as the stamp records it."""
    return {
        "guix": [RECIPE, GUIX_SUITE, *sorted(GUIX_PACKAGES)],
        "debian": [RECIPE, DEBIAN_SUITE, *sorted(DEBIAN_PACKAGES)],
    }


def bootstrap_command(
    suite: str,
    packages: Sequence[str],
    target: Path,
    mirror: str | None,
    proxies: Mapping[str, str],
    *,
    only_files: bool,
) -> list[str]:
    """The command that fetches a tree of Debian packages to TARGET; without MIRROR, from mmdebstrap's default."""
    # In a mount namespace of its own: whatever happens to it, what it mounts in TARGET is gone when it is.
    command = ["unshare", "--mount", "--propagation", "slave"]
    command += ["mmdebstrap", "--quiet", "--mode=root", f"--include={','.join(packages)}"]
    command += ['--aptopt=APT::Install-Recommends "false"']
    # A mirror may be behind: its signatures are checked all the same.
    command += ['--aptopt=Acquire::Check-Valid-Until "false"']
    command += [f'--aptopt={name} "{value}"' for name, value in proxies.items()]
    if only_files:
        # Unpacked, not configured; the packages themselves are kept to make stand-ins from.
        command += ["--variant=extract", "--skip=cleanup/apt/cache"]
    else:
        command += ["--variant=apt"]
    return [*command, suite, str(target), *([mirror] if mirror else [])]


def _bootstrap(name: str, command: Sequence[str], log: Path) -> None:
    with log.open("w") as output:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            cwd="/",
            env={**os.environ, MARKER: str(log.parent)},
        )
    if process.returncode == 0:
        return
    complaints = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("E:")]
    text = " ".join(complaints[:2]) or f"status {process.returncode}"
    if UNREACHABLE.search(log.read_text(errors="replace")):
        raise LabError(f"No Debian archive can be reached to fetch {name} from ({text}); see {log}.", ExitCode.NO_ARCHIVE)
    raise LabError(f"Fetching {name} failed: {text}; see {log}.")


def _replace_tree(new: Path, target: Path) -> None:
    old = target.with_name(f"{target.name}.old")
    remove_tree(old)
    if target.exists():
        target.rename(old)
    new.rename(target)
    remove_tree(old)


def _finish_guix(tree: Path) -> None:
    """Mount points that a namespace needs and that nobody could make later."""
    for name in ("resolv.conf", "hosts", "passwd", "group"):
        file = tree / "etc" / name
        if file.is_symlink():
            file.unlink()
        file.touch()
    (tree / "etc/guix").mkdir(exist_ok=True)


def _finish_debian(tree: Path) -> None:
    for name in ("resolv.conf", "hosts", "passwd", "group", "pip.conf"):
        (tree / "etc" / name).touch()
    (tree / "etc/ssl").mkdir(exist_ok=True)
    interpreter = tree / "bin/sh"
    if not interpreter.exists():
        interpreter.symlink_to("bash")


def _make_tree(folder: Folder, name: str, mirror: str | None) -> None:
    target = {"guix": folder.guix_root, "debian": folder.debian}[name]
    new = folder.path / f"{name}.new"
    suite, packages = {"guix": (GUIX_SUITE, GUIX_PACKAGES), "debian": (DEBIAN_SUITE, DEBIAN_PACKAGES)}[name]
    for source in dict.fromkeys((mirror, None)):
        remove_tree(new)
        command = bootstrap_command(suite, packages, new, source, read_proxies(), only_files=name == "debian")
        try:
            _bootstrap("Guix" if name == "guix" else "the stand-ins' files", command, folder.logs / f"provision-{name}.log")
            break
        except LabError:
            # A mirror near by may lack a suite that the archive itself has.
            if source is None:
                raise
    (_finish_guix if name == "guix" else _finish_debian)(new)
    _replace_tree(new, target)


def write_command(folder: Folder) -> None:
    """Write the ``guix`` command that `enter` puts on PATH."""
    system = Path("/usr/bin/python3")
    # Everybody must be able to run it: an interpreter in somebody's home will not do when the system has one.
    interpreter = system if system.exists() and _is_recent(system) else Path(sys.executable)
    folder.commands.mkdir(mode=0o755, parents=True, exist_ok=True)
    text = (
        f"#!{interpreter} -ISB\nimport sys\nsys.path.insert(0, '/.guix/python')\nfrom guixlab.client import main\nmain()\n"
    )
    command = folder.commands / "guix"
    if not command.exists() or command.read_text() != text:
        write_atomically(command, text, 0o755)


def _is_recent(interpreter: Path) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([str(interpreter), "-ISc", check], check=False, capture_output=True).returncode == 0


def provision(folder: Folder) -> bool:
    """Make FOLDER hold Guix and the stand-ins' files; returns whether anything had to be fetched.

    Both trees are fetched at once, each below a temporary name: what was interrupted is begun again.
    """
    require_root()
    with folder.locked("provision"):
        wanted = wanted_stamps()
        present = read_json(folder.provision_stamp)
        names = [name for name, stamp in wanted.items() if present.get(name) != stamp]
        for directory in (folder.path, folder.logs, folder.mount_point):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if names:
            end_all(lambda: [left.pid for left in marked(f"{MARKER}={folder.logs}") if left.is_alive()], grace=0)
            require_space(folder.path, free_gigabytes())
            if shutil.which("mmdebstrap") is None:
                raise LabError(
                    "mmdebstrap is not installed; run `python3 -m guixlab install-host`.", ExitCode.MISSING_PROGRAM
                )
            mirror = find_mirror(read_sources())
            # What runs uses the files that are about to be replaced.
            down(folder)
            folder.provision_stamp.unlink(missing_ok=True)
            with ThreadPoolExecutor(len(names)) as pool:
                for _ in pool.map(lambda name: _make_tree(folder, name, mirror), names):
                    pass
            write_atomically(folder.provision_stamp, json.dumps(wanted, indent=1))
        write_command(folder)
        return bool(names)


def guix_version(folder: Folder) -> str:
    """The version of Debian's guix package in the folder, such as ``1.5.0-1``; empty when it cannot be told."""
    status = folder.guix_root / "var/lib/dpkg/status"
    found = re.search(r"^Package: guix\n(?:.+\n)*?Version: (\S+)$", status.read_text(errors="replace"), re.M)
    return found[1] if found else ""
