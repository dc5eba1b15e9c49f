"""The command line: ``python3 -m guixlab [--folder FOLDER] ACTION …``; see guixlab/README.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from . import daemons
from .contents import Choice, read_choice
from .enter import enter
from .errors import ExitCode, LabError
from .folder import Contents, Folder, find_folder
from .holes import known_holes
from .host import install_host, require_user_namespaces
from .processes import end_as
from .provision import guix_version, provision
from .stand_ins.farm import farm, lock_wheels


def _say(text: str) -> None:
    print(f"guixlab: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m guixlab", description="A Guix in a folder.")
    parser.add_argument("--folder", help="where everything lies (default: $GUIXLAB, else /var/lib/guixlab)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("install-host", help="install what the host lacks, with apt-get")
    actions.add_parser("provision", help="fetch Debian's Guix and the stand-ins' files")
    farm = actions.add_parser("farm", help="make stand-ins for packages and all they propagate")
    farm.add_argument("specifications", nargs="*", metavar="SPEC", help="as `guix package -i` takes them")
    lock = actions.add_parser("lock-wheels", help="write wheels.lock anew for the default list")
    lock.add_argument("specifications", nargs="*", metavar="SPEC")
    for name, text in (("up", "start the daemons"), ("enter", "run a command with this Guix")):
        action = actions.add_parser(name, help=text)
        action.add_argument(
            "--substitutes", choices=list(Choice), help="what is downloaded (default: $GUIX_CONTENTS, else auto)"
        )
        if name == "enter":
            action.add_argument("--reachable", metavar="PATH", help="what every account can reach, whatever lies above it")
            action.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    actions.add_parser("down", help="end the daemons")
    actions.add_parser("reset", help="end the daemons and remove the folder's stores, so that all is made anew")
    actions.add_parser("status", help="say what runs, as JSON")
    keep = actions.add_parser("keep")
    keep.add_argument("contents", type=Contents)
    keep.add_argument("port", type=int)
    return parser


def describe(record: daemons.KeeperRecord) -> str:
    """One line saying where contents come from."""
    if record.contents is Contents.OFFICIAL:
        return "packages come from Guix's own substitute servers."
    return f"Guix's substitute servers are not used; packages are stand-ins (port {record.port}), see guixlab/README.md."


def _install_host(folder: Folder, options: argparse.Namespace) -> int:
    del folder, options
    installed = install_host()
    _say("installed " + " ".join(installed) if installed else "nothing is missing.")
    return 0


def _provision(folder: Folder, options: argparse.Namespace) -> int:
    del options
    _say(("fetched Guix to " if provision(folder) else "Guix is already in ") + str(folder.path))
    return 0


def _up(folder: Folder, options: argparse.Namespace) -> int:
    require_user_namespaces()
    record, started = _bring_up(folder, read_choice(options.substitutes))
    if not started:
        _say("already up: " + describe(record))
    return 0


def _bring_up(folder: Folder, choice: Choice) -> tuple[daemons.KeeperRecord, bool]:
    """Start what does not run yet, saying so, with the default list of stand-ins."""
    record, started = daemons.up(folder, choice)
    if started:
        _say("started: " + describe(record))
        if warning := known_holes(guix_version(folder)):
            _say(warning)
    if record.contents is Contents.STAND_INS:
        _make_stand_ins(folder, [])
    return record, started


def _farm(folder: Folder, options: argparse.Namespace) -> int:
    daemons.up(folder, Choice.STAND_INS)
    _make_stand_ins(folder, options.specifications)
    return 0


def _make_stand_ins(folder: Folder, specifications: list[str]) -> None:
    report = farm(folder, specifications)
    if report.made:
        _say(f"made {len(report.made)} stand-ins in {report.seconds:.0f} seconds.")
    if report.missing:
        _say("no stand-in for: " + " ".join(report.missing))


def _lock_wheels(folder: Folder, options: argparse.Namespace) -> int:
    daemons.up(folder, Choice.STAND_INS)
    _say(lock_wheels(folder, options.specifications))
    return 0


def _enter(folder: Folder, options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LabError("Say which command to run: `python3 -m guixlab enter -- COMMAND …`.", ExitCode.USAGE)
    record, _ = _bring_up(folder, read_choice(options.substitutes))
    reachable = Path(options.reachable) if options.reachable else folder.path
    return end_as(enter(folder, command, folder.hub(record.contents), reachable))


def _down(folder: Folder, options: argparse.Namespace) -> int:
    del options
    _say("ended the daemons." if daemons.down(folder) else "nothing was running.")
    return 0


def _reset(folder: Folder, options: argparse.Namespace) -> int:
    del options
    daemons.reset(folder)
    _say(f"removed the stores in {folder.path}; what was fetched is still there.")
    return 0


def _status(folder: Folder, options: argparse.Namespace) -> int:
    del options
    print(json.dumps(daemons.status(folder), indent=1))
    return 0


def _keep(folder: Folder, options: argparse.Namespace) -> int:
    return daemons.keep(folder, options.contents, options.port)


ACTIONS: dict[str, Callable[[Folder, argparse.Namespace], int]] = {
    "install-host": _install_host,
    "provision": _provision,
    "up": _up,
    "farm": _farm,
    "lock-wheels": _lock_wheels,
    "enter": _enter,
    "down": _down,
    "reset": _reset,
    "status": _status,
    "keep": _keep,
}


def main() -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args()
    try:
        return ACTIONS[options.action](find_folder(options.folder), options)
    except LabError as error:
        _say(error.message)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
