"""The parent of warm starts: it has loaded the server's modules once, and forks for each container.

``python3 -I guix_environment/launcher/parent.py LISTENER PATH IDLE SHARED [PIPE | GROUPS]``, on the server layer's Python:
LISTENER is the number of an open Unix socket, and PATH where that is; IDLE the seconds after which it ends when nobody needs
it, and SHARED how many containers are forked before it starts itself anew.  With PIPE, the number of an open pipe, it waits
for that one's end and goes on as nobody's child.  From there come GROUPS, one a line: the folders of the control groups that
it was given alone, which it removes when it ends.

It is the hub's account's, holds no secret, runs one thread, and does nothing but fork.  Each request brings two open files,
the channel to the hub and the container's log; the child forked for it goes on as the launcher's program does
(`guix_environment.launcher.program`).  Children of one run share the layout of their memory and the seed of their hashes;
with SHARED at 1 no two do, as if each had been started by itself.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from guix_environment.launcher.requests import Request

LOOK = 30.0
"""Seconds between one look and the next whether it can still be reached, and one sign of life and the next."""

_ROOT = __file__.rpartition("/guix_environment/")[0]


def main(listener: int, path: str, idle: float, shared: int, groups: Sequence[str]) -> None:
    """Serve requests on LISTENER until nobody needs this process; return, after the server ended, in its process alone."""
    place = _Place(path, groups)
    sys.path.insert(0, _ROOT)
    from guix_environment.launcher import in_process, placed, program

    sys.path.remove(_ROOT)
    # What an earlier run ignored would be ignored in what the imports start.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    placed.preload(_ROOT)
    gc.collect()
    # Pages that no collection writes to stay shared with the children.
    gc.freeze()
    found = _wait_for_request(listener, place, idle, shared)
    if found is None:
        os.set_inheritable(listener, True)
        # Another layout of memory, and another seed. Who connects meanwhile waits, or goes another way.
        words = [sys.executable, "-I", __file__, str(listener), path, str(idle), str(shared), *groups]
        os.execv(sys.executable, words)  # noqa: S606 - no shell is what is wanted
    os.set_inheritable(found.channel, False)
    program.divide(found.channel)
    order = program.await_order(found.channel)
    in_process.become(order, found.channel)


class _Place:
    """Where the socket is, by whose age the hub learns whether this process lives, and in which control groups it lives."""

    def __init__(self, path: str, groups: Sequence[str] = ()) -> None:
        """Take the PATH, at which the socket is now, and the folders of GROUPS that hold this process alone."""
        self._path = path
        self._groups = groups
        self._mark = self._found()

    def tell(self) -> bool:
        """Give a sign of life, and return True; or False where this process cannot be reached by the path any more."""
        if self._mark is None or self._found() != self._mark:
            return False
        os.utime(self._path)
        return True

    def leave(self) -> None:
        """Remove the socket, unless another one has taken its place."""
        if self.tell():
            os.unlink(self._path)

    def end(self) -> NoReturn:
        """End this process, and its groups with it; what cannot be removed is left to the hub that starts the next one.

        A process cannot remove the group that it is in, and so moves to what is around the hub's sessions first.
        """
        for group in self._groups:
            sessions = os.path.dirname(group)
            try:
                with open(f"{os.path.dirname(sessions)}/cgroup.procs", "w") as members:
                    members.write("0")
                os.rmdir(group)
                os.rmdir(sessions)
            except OSError:
                continue
        os._exit(0)

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _wait_for_request(listener: int, place: _Place, idle: float, shared: int) -> Request | None:
    """Return in a child that was forked for a request, with that and the standard files open and nothing else.

    Returns None in the parent itself once it has forked SHARED times.  Ends after IDLE seconds without a request, and when
    there is no way to it any more, as its PLACE has gone or is another's.
    """
    # Nobody waits for the children: each hands over to another process within milliseconds.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _collect_ended()
    # Not select(2), which fails for the numbers from 1024 on that a hub of many sessions hands down.
    asked = select.poll()
    asked.register(listener, select.POLLIN)
    started = 0
    while started < shared:
        waited = 0.0
        place.tell()
        while not asked.poll(min(idle, LOOK) * 1000):
            waited += min(idle, LOOK)
            if waited >= idle:
                place.leave()
                place.end()
            if not place.tell():
                place.end()
        request = _accept(listener, place)
        if request is None:
            continue
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            request.keep_only_this()
            return request
        request.close()
        started += 1
    return None


def _collect_ended() -> None:
    """Collect the children that ended while modules were loaded, of which the kernel still holds the numbers."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


def _accept(listener: int, place: _Place) -> Request | None:
    """Return the next request on LISTENER, or None for what is none; end, at PLACE, when asked to."""
    from guix_environment.launcher import requests

    connections = socket.socket(fileno=listener)
    connection, _ = connections.accept()
    connections.detach()
    with connection:
        connection.settimeout(1)
        try:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            _, uid, _ = struct.unpack("3i", credentials)
            if uid != os.geteuid():
                return None
            word, request = requests.receive(connection)
        except OSError:
            return None
    if word == requests.END:
        place.end()
    return request


def _go_on_alone(pipe: int) -> list[str]:
    """Return in a child, once the other end of PIPE is closed: by then the hub has put this process where it belongs.

    Returns what came from there, the folders of the groups that it is in.
    """
    with open(pipe) as told:
        groups = told.read().splitlines()
    if os.fork():
        os._exit(0)
    return groups


if __name__ == "__main__":
    further = sys.argv[5:]
    # A folder's path begins with a slash.
    groups = _go_on_alone(int(further[0])) if further and further[0].isdecimal() else further
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), groups)
