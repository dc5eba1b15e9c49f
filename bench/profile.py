"""A profile of the real Guix whose closure is as large as that of a big environment."""

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from shutil import rmtree

import jupyterhub

from bench.frame import say
from guix_build_service.server_layer.definitions import definitions_folder
from guix_build_service.server_layer.profile import ServerProfileSettings, ensure_server_profile
from guix_environment.identifiers import StorePath
from guix_environment.records import ServerRecord

PARTS = 300
"""Items beside those of the programs. Stand-ins for packages refer to few others, so these are made for the number."""

_MANIFEST = f"""
(use-modules (gnu packages) (guix gexp) (guix profiles) (srfi srfi-1))

(define parts
  (map (lambda (number)
         (plain-file (string-append "part-" (number->string number)) (number->string number)))
       (iota {PARTS})))

(define all
  (computed-file "parts"
    #~(begin
        (mkdir #$output)
        (call-with-output-file (string-append #$output "/parts")
          (lambda (port)
            (for-each (lambda (part) (display part port) (newline port)) (list #$@parts)))))))

(manifest
  (cons (manifest-entry (name "parts") (version "1") (item all))
        (manifest-entries (specifications->manifest (list "bash" "coreutils" "tini")))))
"""


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile and everything that it needs."""

    path: StorePath
    closure: tuple[StorePath, ...]

    def program(self, name: str) -> str:
        """Return the path of its program NAME."""
        return f"{self.path}/bin/{name}"


@contextmanager
def large_profile() -> Iterator[Profile]:
    """Yield a profile with `bash`, `coreutils` and `tini`, and `PARTS` items more; built where it is not there yet."""
    folder = Path(tempfile.mkdtemp(prefix="guixspawner-bench-"))
    roots = Path("/var/guix/profiles/per-user") / getuser() / folder.name
    try:
        roots.mkdir(parents=True)
        manifest = folder / "manifest.scm"
        manifest.write_text(_MANIFEST)
        output("guix", "package", f"--profile={roots / 'profile'}", f"--manifest={manifest}")
        path = StorePath(str((roots / "profile").resolve()))
        yield Profile(path, tuple(map(StorePath, output("guix", "gc", "--requisites", path).split())))
    finally:
        rmtree(folder, ignore_errors=True)
        rmtree(roots, ignore_errors=True)


@contextmanager
def server_profile() -> Iterator[ServerRecord]:
    """Yield the server profile of this hub's series; built where it is not there yet."""
    folder = Path(tempfile.mkdtemp(prefix="guixspawner-bench-"))
    roots = Path("/var/guix/profiles/per-user") / getuser() / folder.name
    series = jupyterhub.__version__.partition(".")[0]
    wanted = ServerProfileSettings(definitions_folder(), series, folder / "records", roots, folder / "logs")
    try:
        yield asyncio.run(ensure_server_profile(wanted))
    finally:
        rmtree(folder, ignore_errors=True)
        rmtree(roots, ignore_errors=True)


def output(*command: str | Path) -> str:
    """Return what COMMAND prints; raise when it fails, after showing what it said."""
    ended = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL, text=True)
    if ended.returncode:
        say(ended.stderr)
        ended.check_returncode()
    return ended.stdout
