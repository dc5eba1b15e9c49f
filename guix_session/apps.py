"""Apps: what the repository brings to be looked at without notebooks, served by a program of the environment's profile.

A repository's app is what its file `DECLARATION` says, or is found by its other files, and is offered where the profile has
the program that serves it.  The program runs as kernels do, with the profile's variables and none of the server's, once
somebody opens the app; it is reached through the server alone (jupyter-server-proxy): over a Unix socket where it can listen
on one, else over a port of the session's own loopback.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = "/run/guix-environment/session/kernel.sh"
"""Goes before the app's own command, as before a kernel's."""

IN_FOLDER = ("/bin/sh", "-c", 'cd "$1" && shift && exec "$@"', "app")
"""Goes before a command and its folder: apps read files that lie beside them."""

DECLARATION = "guix-app.json"
"""The file by which a repository says what its app is: an object with ``command``, a list of words, and ``title``."""

MARKS = {"{port}": "{port}", "{socket}": "{unix_socket}", "{address}": "{base_url}app/"}
"""What stands in a declared command for what is known only when it runs, and what jupyter-server-proxy calls that."""

LARGEST_SOURCE = 256 * 1024
LONGEST_TITLE = 60
SECONDS = 60
"""How long an app may take until it listens."""


@dataclass(frozen=True, slots=True)
class App:
    """An app that can be opened."""

    name: str
    """Its address, below the server's own."""
    title: str
    command: tuple[str, ...]
    """With the marks of jupyter-server-proxy for what it fills in: ``{port}``, ``{unix_socket}``, ``{base_url}``."""
    unix_socket: bool = False
    keeps_prefix: bool = False
    """Whether it wants to see whole addresses, not only what lies below its own."""


def find_apps(profile: Path, project: Path, opened: str) -> list[App]:
    """Return the apps of PROJECT, a working copy, that PROFILE can serve; the one to open first is the first.

    OPENED is what the session opens, below PROJECT: an app beside it goes before one at the top.  Blocks for a few small
    files.
    """
    folders = dict.fromkeys([_folder_of(project, opened), project])
    found: dict[str, App] = {}
    for folder in folders:
        for kind in _KINDS:
            app = kind(profile, folder, project / opened)
            if app:
                found.setdefault(app.name, app)
    return list(found.values())


def proxied(app: App) -> Mapping[str, object]:
    """Return APP as jupyter-server-proxy's configuration wants it (``ServerProxy.servers``)."""
    return {
        "command": list(app.command),
        "unix_socket": app.unix_socket,
        "absolute_url": app.keeps_prefix,
        "timeout": SECONDS,
        "new_browser_tab": True,
        "launcher_entry": {"enabled": True, "title": app.title},
    }


def _folder_of(project: Path, opened: str) -> Path:
    place = project / opened
    return place if place.is_dir() else place.parent


def _command(folder: Path, *words: str) -> tuple[str, ...]:
    return (LAUNCHER, *IN_FOLDER, _literally(str(folder)), *words)


def _literally(text: str) -> str:
    """Return TEXT as jupyter-server-proxy leaves it alone: it fills in what stands in braces."""
    return text.replace("{", "{{").replace("}", "}}")


def _program(profile: Path, name: str) -> str:
    """Return the program NAME of PROFILE, or nothing."""
    program = profile / "bin" / name
    return str(program) if program.exists() else ""


def _text(source: Path) -> str:
    """Return the beginning of the file SOURCE, or nothing where there is none."""
    try:
        with source.open("rb") as file:
            return file.read(LARGEST_SOURCE).decode(errors="replace")
    except OSError:
        return ""


def _imports(source: Path, package: str) -> bool:
    """Tell whether the Python program at SOURCE names PACKAGE among what it imports; it is read, never run."""
    return re.search(rf"^\s*(?:import|from)\s+{package}\b", _text(source), re.MULTILINE) is not None


def _declared(profile: Path, folder: Path, _: Path) -> App | None:
    try:
        value = json.loads(_text(folder / DECLARATION) or "null")
    except (ValueError, RecursionError):
        return None
    command, title = (value.get("command"), value.get("title")) if isinstance(value, dict) else (None, None)
    if (
        not isinstance(command, list)
        or not command
        or not all(isinstance(word, str) and "\0" not in word for word in command)
    ):
        return None
    given, *words = command
    program = folder / given if "/" in given else Path(_program(profile, given))
    if not program.is_file():
        return None
    shown = "".join(filter(str.isprintable, title if isinstance(title, str) else ""))[:LONGEST_TITLE]
    filled = [_filled(word) for word in words]
    return App(
        "app",
        shown or "App",
        _command(folder, _literally(str(program)), *filled),
        unix_socket=any("{socket}" in word for word in words),
        keeps_prefix=any("{address}" in word for word in words),
    )


def _filled(word: str) -> str:
    literally = _literally(word)
    for mark, known in MARKS.items():
        literally = literally.replace(_literally(mark), known)
    return literally


def _shiny(profile: Path, folder: Path, _: Path) -> App | None:
    program = _program(profile, "Rscript")
    files = {entry.name.lower() for entry in folder.iterdir()} if folder.is_dir() else set()
    if (
        not program
        or not (profile / "site-library/shiny").is_dir()
        or not ("app.r" in files or {"ui.r", "server.r"} <= files)
    ):
        return None
    # A text for a port is a socket's path, which says besides what its mode is to be without (shiny's startApp).
    port = "structure(commandArgs(TRUE)[1], mask = strtoi('077', base = 8))"
    run = f"shiny::runApp('.', port = {port}, launch.browser = FALSE)"
    return App("shiny", "Shiny", _command(folder, program, "-e", _literally(run), "{unix_socket}"), unix_socket=True)


def _bokeh(profile: Path, folder: Path, _: Path) -> App | None:
    program = _program(profile, "bokeh")
    for file in ("app.py", "main.py") if program else ():
        if _imports(folder / file, "bokeh"):
            # Whoever asks has come through the server, which has asked who they are.
            options = (
                "--unix-socket={unix_socket}",
                "--prefix={base_url}bokeh",
                "--allow-websocket-origin=*",
                "--use-xheaders",
            )
            command = _command(folder, program, "serve", *options, file)
            return App("bokeh", "Bokeh", command, unix_socket=True, keeps_prefix=True)
    return None


def _voila(profile: Path, _: Path, opened: Path) -> App | None:
    program = _program(profile, "voila")
    if not program or opened.suffix != ".ipynb" or not opened.is_file():
        return None
    words = (program, "--no-browser", "--port={port}", "--base_url={base_url}voila/", _literally(opened.name))
    return App("voila", "Voilà", _command(opened.parent, *words), keeps_prefix=True)


def _rstudio(profile: Path, folder: Path, _: Path) -> App | None:
    program = _program(profile, "rserver")
    if not program:
        return None
    # What it keeps here is of this session alone; its own login would ask for a password that nobody has.
    run = (
        'state="${TMPDIR:-/tmp}/rstudio"; mkdir -p "$state"; '
        'printf "provider=sqlite\\ndirectory=%s\\n" "$state" >"$state/database.conf"; '
        'exec "$@" --server-user="$USER" --server-data-dir="$state" --database-config-file="$state/database.conf" '
        '--secure-cookie-key-file="$state/cookie-key"'
    )
    options = ("--auth-none=1", "--www-frame-origin=same", "--www-verify-user-agent=0", "--www-root-path={base_url}rstudio/")
    words = ("/bin/sh", "-c", _literally(run), "rstudio", program, *options, "--www-port={port}")
    return App("rstudio", "RStudio", _command(folder, *words))


_KINDS: tuple[Callable[[Path, Path, Path], App | None], ...] = (_declared, _shiny, _bokeh, _voila, _rstudio)
