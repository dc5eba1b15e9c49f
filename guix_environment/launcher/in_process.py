"""Become a container's command without loading anew what is loaded already.

The first process of the container becomes a shell that does what an init must: it collects what others leave, passes signals
on, and ends with the server.  Its child becomes the server, in the state that a program started by itself would be in.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import time

from guix_environment.launcher import program
from guix_environment.launcher import system_calls as system

_FIRST = """
trap 'kill -TERM $1' TERM; trap 'kill -INT $1' INT; trap 'kill -HUP $1' HUP
ready=$3; exec {ready}>&-
while read -r -u $2 || [ $? -gt 128 ]; do :; done
"""
"""What the first process does: it reads from a pipe that the server alone holds open, to learn of its end.
Another one it closes once no signal can pass it by any more: a first process gets none that it has no answer to.

Bash collects every process that ends and that nobody else waits for.
"""

_READ_WHEN_LOADED = (
    b"AIOHTTP_",
    b"GATEWAY_",
    b"JPBLD_",
    b"JUPYTERHUB_SINGLEUSER_",
    b"PYTHON",
    b"PYZMQ_",
    b"TORNADO_",
    b"TRAITLETS_",
)
"""Beginnings of the variables that modules of the server look at once, when they are loaded."""


_GIVEN = (b"LANG", b"PATH")
"""The variables that the parent is started with."""


def become(order: program.Order, channel: int) -> None:
    """Make the container of ORDER, and return in the process that is to be its server, with that one's code already run.

    A command of another form than the session's own is started as the launcher's program starts it.
    """
    words = _server_words(order)
    if not words:
        program.become(order, channel)
    shell = os.path.join(os.path.dirname(order.command[0]), b"bash")
    try:
        program.arrange(order)
    except OSError as error:
        program.fail(channel, b"container", error)
    reading, _ = os.pipe()
    watched, ready = os.pipe()
    server = os.fork()
    if server:
        os.set_inheritable(reading, True)
        os.set_inheritable(ready, True)
        numbers = [b"%d" % number for number in (server, reading, ready)]
        try:
            os.execve(shell, [shell, b"-c", _FIRST.encode(), b"first", *numbers], {})  # noqa: S606 - as its words stand
        except OSError as error:
            program.fail(channel, b"command", error)
    # The server never closes the pipe's other end, and what it starts does not get it: Python hands no file down by itself.
    for descriptor in (reading, ready, channel):
        os.close(descriptor)
    _start_afresh(order, words)
    os.read(watched, 1)
    os.close(watched)
    runpy.run_path(sys.argv[0], run_name="__main__")


def _server_words(order: program.Order) -> list[bytes]:
    """Return script and arguments of a command that is ``INIT -- PYTHON -I SCRIPT …`` with this Python, else nothing."""
    if any(name.startswith(_READ_WHEN_LOADED) for name in order.variables | order.secrets) or len(order.command) < 5:
        return []
    _, dashes, interpreter, isolated, *words = order.command
    ours, theirs = (os.path.realpath(os.path.dirname(path)) for path in (os.fsencode(sys.executable), interpreter))
    return words if (dashes, isolated, theirs) == (b"--", b"-I", ours) else []


def _start_afresh(order: program.Order, words: list[bytes]) -> None:
    """Be as a program that was started with ORDER's variables to run WORDS."""
    os.setpgid(0, 0)
    # As every Python starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    # What is there beside what the parent was given, this Python sets at every start.
    own = {name: value for name, value in os.environb.items() if name not in _GIVEN}
    os.environb.clear()
    os.environb.update(own | order.variables | order.secrets)
    time.tzset()
    sys.argv[:] = [os.fsdecode(word) for word in words]
    _set_title(order.command[2:])


def _set_title(words: list[bytes]) -> None:
    """Have this process's command line, as other programs see it, be WORDS, as far as there is room for them."""
    # Fields 48 and 49 of proc(5)'s `stat`: where the words are in memory.
    fields = system.read("/proc/self/stat").rpartition(b")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    ctypes.memmove(begin, b"\0".join(words)[: end - begin - 1].ljust(end - begin, b"\0"), end - begin)
