"""One of the two machines, farm or hub: Debian's Guix over a store and state of its own, seen from the host."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import ExitCode, LabError
from .folder import Folder, MachineFolder, write_atomically
from .mounts import enter_namespace
from .namespace import Step, list_directory, list_host, network_etc, plan_machine, plan_root

# nix/libstore/worker-protocol.hh
CLIENT_GREETING, DAEMON_GREETING = 0x6E697863, 0x6478696F
ANSWER_SECONDS = 5.0
SCHEME = Path(__file__).resolve().parent / "scheme"


def shared_etc(folder: Folder) -> dict[str, str]:
    """What of ``/etc`` Guix sees of the host and of the accounts."""
    accounts = {"passwd": str(folder.accounts / "passwd"), "group": str(folder.accounts / "group")}
    return {**network_etc(), **accounts}


def machine_plan(folder: Folder, machine: MachineFolder, *, names: bool = True) -> tuple[Step, ...]:
    """The Guix view of MACHINE, from the host.

    Without NAMES what runs there asks for other machines' names on this one alone, where nobody answers: that is what
    the C library does with an empty ``resolv.conf`` (resolv.conf(5)).  It knows those of `write_hosts` all the same.
    """
    etc = shared_etc(folder)
    if not names:
        etc["resolv.conf"] = os.devnull
        if folder.hosts.exists():
            etc["hosts"] = str(folder.hosts)
    return plan_machine(list_host(), folder.guix_root, list_directory(folder.guix_root), etc, machine)


def workshop_plan(folder: Folder) -> tuple[Step, ...]:
    """The host with Debian's files as ``/usr``: patchelf, localedef, pip and the like run there."""
    host = list_host()
    etc = {name: f"/etc/{name}" for name in ("pip.conf", "passwd", "group") if Path("/etc", name).exists()}
    return plan_root(host, folder.debian, list_directory(folder.debian), {**network_etc(), **etc})


def in_namespace(steps: Sequence[Step], folder: Folder) -> Callable[[], None]:
    """A function for a new process that moves it into the namespace."""

    def move() -> None:
        try:
            enter_namespace(steps, folder.mount_point)
        except (LabError, OSError) as error:
            # What is raised here is told to nobody: say it where the program's own complaints go.
            os.write(2, f"cannot make the namespace: {error}\n".encode())
            os._exit(126)

    return move


def run_inside(
    folder: Folder,
    steps: Sequence[Step],
    command: Sequence[str | Path],
    *,
    environment: dict[str, str] | None = None,
    standard_input: str | None = None,
) -> str:
    """Run COMMAND in the namespace and return its output; raises LabError with what it complained about."""
    words = [str(word) for word in command]
    process = subprocess.run(
        words,
        input=standard_input,
        stdin=subprocess.DEVNULL if standard_input is None else None,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
        # Safe here: one thread, and what runs in the child only makes system calls.
        preexec_fn=in_namespace(steps, folder),
    )
    if process.returncode:
        raise LabError(f"{words[0]} {' '.join(words[1:4])}… failed:\n{process.stderr.strip()[-3000:]}")
    return process.stdout


def run_guile(folder: Folder, machine: MachineFolder, script: str, *arguments: str) -> str:
    """Run one of the Scheme files with MACHINE's Guix and return what it printed."""
    command: list[str | Path] = ["/usr/bin/guix", "repl", "--", SCHEME / script, *arguments]
    return run_inside(folder, machine_plan(folder, machine), command)


def write_hosts(folder: Folder) -> None:
    """Write the host's own names down, and where the package index is: wheels are no stand-ins, and come from there."""
    name = run_guile(folder, folder.farm, "index.scm").strip()
    with contextlib.suppress(OSError):
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(name, 443, proto=socket.IPPROTO_TCP)}
        known = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
        lines = "".join(f"{address} {name}\n" for address in sorted(addresses))
        write_atomically(folder.hosts, f"{known.rstrip()}\n{lines}")


def daemon_answers(machine: MachineFolder, timeout: float = ANSWER_SECONDS) -> bool:
    """Whether a daemon greets back on the machine's socket within TIMEOUT seconds."""
    return socket_answers(machine.socket, timeout)


def socket_answers(path: Path, timeout: float = ANSWER_SECONDS) -> bool:
    """Whether a build daemon greets back on the socket PATH within TIMEOUT seconds."""
    # A socket's address has room for 107 bytes; a folder's path may be longer.
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY) if path.parent.is_dir() else -1
    if directory < 0:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
            connection.sendall(struct.pack("<Q", CLIENT_GREETING))
            answer = connection.recv(8, socket.MSG_WAITALL)
    except OSError:
        return False
    finally:
        os.close(directory)
    return len(answer) == 8 and struct.unpack("<Q", answer)[0] == DAEMON_GREETING


def require_provisioned(folder: Folder) -> None:
    """Raise LabError when there is no Guix in the folder yet."""
    if not folder.provision_stamp.exists():
        raise LabError(
            f"There is no Guix in {folder.path} yet; run `python3 -m guixlab --folder {folder.path} provision`.",
            ExitCode.NOT_PROVISIONED,
        )
