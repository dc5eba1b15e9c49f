"""The daemons of a folder: farm, publisher and hub, under one keeper process that takes them down with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .accounts import BUILD_GROUP, write_accounts
from .contents import Choice, decide, substitute_servers
from .errors import ExitCode, LabError
from .folder import Contents, Folder, MachineFolder, read_json, remove_tree, write_atomically
from .host import require_root
from .machine import daemon_answers, in_namespace, machine_plan, require_provisioned, run_inside, write_hosts
from .processes import ProcessIdentity, adopt_orphans, descendants, end_all, marked, start

MARKER = "GUIXLAB_KEPT_FOR"
START_SECONDS = 60.0
LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class KeeperRecord:
    """What the keeper wrote down: who it is and what it keeps up."""

    keeper: ProcessIdentity
    contents: Contents
    port: int  # of the publisher; 0 with official contents

    @classmethod
    def read(cls, folder: Folder) -> KeeperRecord | None:
        """The record of a keeper that is alive, or None."""
        value = read_json(folder.keeper_record)
        keeper = ProcessIdentity.from_json(value)
        if keeper is None or not keeper.is_alive():
            return None
        try:
            return cls(keeper, Contents(value["contents"]), int(value["port"]))
        except (KeyError, ValueError):
            return None


def publisher_answers(port: int) -> bool:
    """Whether `guix publish` serves on the port."""
    try:
        # The address is this machine's own; a proxy has no business with it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{LOCAL}:{port}/nix-cache-info", timeout=5) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOCAL, port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise LabError("There is no free port on 127.0.0.1.")


def render_access_list(key: str) -> str:
    """Guix's list of authorised keys (``/etc/guix/acl``) with one public KEY in it."""
    return f"(acl\n (entry\n  {key.strip()}\n  (tag\n   (guix import)\n   )\n  )\n )\n"


def _prepare_machines(folder: Folder, contents: Contents) -> None:
    numbers = write_accounts(folder)
    hub = folder.hub(contents)
    for machine in (folder.farm, hub):
        machine.create()
        os.chown(machine.store, 0, numbers[BUILD_GROUP])
        machine.store.chmod(0o1775)
    access_list = hub.configuration / "acl"
    if contents is Contents.OFFICIAL:
        if not access_list.exists():
            write_atomically(access_list, (folder.guix_root / "etc/guix/acl").read_text(), 0o600)
        return
    write_hosts(folder)
    public_key = folder.farm.configuration / "signing-key.pub"
    if not public_key.exists():
        run_inside(folder, machine_plan(folder, folder.farm), ["/usr/bin/guix", "archive", "--generate-key"])
    text = render_access_list(public_key.read_text())
    if not access_list.exists() or access_list.read_text() != text:
        write_atomically(access_list, text, 0o600)


# --- the keeper: runs in a process of its own, detached ---


def _wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not answer within {seconds:g} seconds.", ExitCode.DAEMON_SILENT)
        time.sleep(0.05)


def _start_in(folder: Folder, machine: MachineFolder, name: str, command: list[str], *, names: bool = True) -> int:
    prepare = in_namespace(machine_plan(folder, machine, names=names), folder)
    # The publisher is on this machine: a proxy for http would be asked for it in vain.
    environment = {name: value for name, value in os.environ.items() if name.lower() != "http_proxy"}
    environment[MARKER] = str(folder.path)
    return start(
        command,
        prepare,
        environment=environment,
        output=folder.logs / f"{name}.log",
        own_session=True,
        death_signal=signal.SIGTERM,
    )


def _start_daemon(folder: Folder, machine: MachineFolder, name: str, options: list[str], *, names: bool) -> int:
    machine.socket.unlink(missing_ok=True)
    command = ["/usr/bin/guix-daemon", f"--build-users-group={BUILD_GROUP}", *options]
    return _start_in(folder, machine, name, command, names=names)


def keep(folder: Folder, contents: Contents, port: int) -> int:
    """Run the folder's daemons until SIGTERM, or until one of them ends; then end all of them."""
    adopt_orphans()
    watched = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    hub = folder.hub(contents)
    names: dict[int, str] = {}
    servers = [f"http://{LOCAL}:{port}"] if contents is Contents.STAND_INS else list(substitute_servers(folder))
    try:
        if contents is Contents.STAND_INS:
            farm = _start_daemon(folder, folder.farm, "farm-daemon", ["--no-substitutes"], names=True)
            names[farm] = "the farm's daemon"
        # With stand-ins a build gets nothing but wheels from elsewhere, and does not even look where the rest would be.
        options = [f"--substitute-urls={' '.join(servers)}"]
        daemon = _start_daemon(folder, hub, "hub-daemon", options, names=contents is Contents.OFFICIAL)
        names[daemon] = "the hub's daemon"
        if contents is Contents.STAND_INS:
            _wait_until(lambda: daemon_answers(folder.farm), "The farm's daemon")
            publish = ["/usr/bin/guix", "publish", "--user=nobody", f"--port={port}", f"--listen={LOCAL}"]
            names[_start_in(folder, folder.farm, "publish", [*publish, "--compression=zstd:3"])] = "guix publish"
        identity = ProcessIdentity.of(os.getpid())
        record = {**identity.as_json(), "contents": contents.value, "port": port}
        write_atomically(folder.keeper_record, json.dumps(record))
        while True:
            information = signal.sigwaitinfo(watched)
            if information.si_signo != signal.SIGCHLD:
                return 0
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] in names:
                    status = os.waitstatus_to_exitcode(ended[1])
                    print(f"{names[ended[0]]} ended with status {status}; taking the others down", flush=True)
                    return 1
    finally:
        end_all(lambda: descendants(os.getpid()))
        folder.keeper_record.unlink(missing_ok=True)


def _launch_keeper(folder: Folder, contents: Contents, port: int) -> None:
    """Start the keeper as nobody's child, in a session of its own."""
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        log = os.open(folder.logs / "keeper.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        empty = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((empty, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 1024)
        os.chdir("/")
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        command = [sys.executable, "-m", "guixlab", "--folder", str(folder.path)]
        os.execve(sys.executable, [*command, "keep", contents.value, str(port)], environment)
    finally:
        os._exit(126)


# --- up, down, status ---


def is_up(folder: Folder) -> KeeperRecord | None:
    """The record of the running daemons when they answer, or None."""
    record = KeeperRecord.read(folder)
    if record is None or not daemon_answers(folder.hub(record.contents)):
        return None
    if record.contents is Contents.STAND_INS and not publisher_answers(record.port):
        return None
    return record


def up(folder: Folder, choice: Choice) -> tuple[KeeperRecord, bool]:
    """Make the daemons run and return their record, and whether they had to be started.

    What runs already stays, unless CHOICE asks for other contents.  Raises LabError when a daemon does not answer.
    """
    require_root()
    require_provisioned(folder)
    with folder.locked("daemons"):
        record = is_up(folder)
        if record is not None and choice in (Choice.AUTO, Choice(record.contents)):
            write_accounts(folder)
            return record, False
        _take_down(folder)
        contents = decide(folder, choice)
        _prepare_machines(folder, contents)
        previous = folder.path / "publish-port"
        port = 0
        if contents is Contents.STAND_INS:
            port = _free_port(int(previous.read_text()) if previous.exists() else 0)
            previous.write_text(str(port))
        _launch_keeper(folder, contents, port)
        deadline = time.monotonic() + START_SECONDS
        while (record := is_up(folder)) is None:
            if time.monotonic() > deadline:
                _take_down(folder)
                raise LabError(
                    f"Guix's daemon did not answer within {START_SECONDS:g} seconds; see {folder.logs}.",
                    ExitCode.DAEMON_SILENT,
                )
            time.sleep(0.05)
        return record, True


def down(folder: Folder) -> bool:
    """End every process of the folder's daemons; returns whether there were any."""
    with folder.locked("daemons"):
        return _take_down(folder)


def _take_down(folder: Folder) -> bool:
    record = ProcessIdentity.from_json(read_json(folder.keeper_record))
    marker = f"{MARKER}={folder.path}"
    found = False
    if record is not None and record.is_alive():
        found = True
        record.send(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while record.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        record.send(signal.SIGKILL)
    # Left over by a keeper that was killed: known by their environment.
    strays = marked(marker)
    if strays:
        found = True
        end_all(lambda: [identity.pid for identity in marked(marker) if identity.is_alive()])
    folder.keeper_record.unlink(missing_ok=True)
    return found


def reset(folder: Folder) -> None:
    """Remove both machines of the folder, with all profiles; Debian's files and the wheels stay."""
    require_root()
    with folder.locked("daemons"), folder.locked("stand-ins"):
        _take_down(folder)
        for machine in (folder.farm, folder.hub(Contents.STAND_INS), folder.hub(Contents.OFFICIAL)):
            remove_tree(machine.base)
        folder.stand_ins_stamp.unlink(missing_ok=True)


def status(folder: Folder) -> dict[str, object]:
    """What runs, as plain values."""
    record = KeeperRecord.read(folder)
    contents = record.contents if record else None
    port = record.port if record else 0
    return {
        "folder": str(folder.path),
        "provisioned": folder.provision_stamp.exists(),
        "up": record is not None and is_up(folder) is not None,
        "contents": contents.value if contents else None,
        "keeper": record.keeper.pid if record else None,
        "publisher": f"http://{LOCAL}:{port}" if port else None,
        "hub_daemon_answers": bool(contents and daemon_answers(folder.hub(contents))),
    }
