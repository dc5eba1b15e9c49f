"""The order of events in which a container comes to be.

1. `divide`: new namespaces, and in them the first process, which waits.  It has no account in them yet and has opened
   nothing; the hub now knows its number, gives it its account, limits and network, and writes it down.
2. `await_order`: the hub says what the container is made of.  If the hub ends before, so does the first process, so that
   there is never a container that nobody knows.
3. `arrange`: account, file system, no way back to any rights, filtered system calls.
4. The container's command takes this process's place.  Nothing of the launcher stays.

What goes wrong is said to the hub in a last message; without one, the closed channel means that the command runs.
"""

from __future__ import annotations

import os

from guix_environment.launcher import file_system, messages
from guix_environment.launcher import system_calls as system

TYPE_CHECKING = False  # `typing` costs the launcher more time than its own modules
if TYPE_CHECKING:
    from typing import NoReturn

NAMESPACES = {
    b"ipc": system.CLONE_NEWIPC,
    b"mount": system.CLONE_NEWNS,
    b"network": system.CLONE_NEWNET,
    b"pid": system.CLONE_NEWPID,
    b"user": system.CLONE_NEWUSER,
    b"uts": system.CLONE_NEWUTS,
}
"""Namespaces by the words that the hub uses for them.  That of cgroups comes later, with a cgroup to be its root."""


class Order:
    """What a container is made of, as the hub says it in one message."""

    def __init__(self, words: list[bytes]) -> None:
        """Take the WORDS that `guix_environment.container.order` wrote."""
        uid, gid, host_name, directory, network, seccomp = messages.split(words[0])
        self.uid, self.gid = int(uid), int(gid)
        self.host_name, self.directory = host_name, directory
        self.has_network = network == b"own"
        self.is_outside = network == b"outside"
        self.filter = seccomp
        self.command = messages.split(words[1])
        self.variables, self.secrets = _pairs(words[2]), _pairs(words[3])
        self.operations = [messages.split(word) for word in words[4:]]


def main(channel: int) -> NoReturn:
    """Make the container that the hub asks for over CHANNEL, and become its command."""
    os.set_inheritable(channel, False)
    divide(channel)
    become(await_order(channel), channel)


def become(order: Order, channel: int) -> NoReturn:
    """Make the container of ORDER around this process, and become its command; tell CHANNEL what keeps it from that."""
    try:
        arrange(order)
        handed_over = hand_over(order.secrets)
    except OSError as error:
        fail(channel, b"container", error)
    try:
        os.execve(order.command[0], order.command, order.variables | handed_over)  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        fail(channel, b"command", error)


def divide(channel: int) -> None:
    """Return in the first process of new namespaces, of which the hub was told; every other process has ended."""
    request = messages.receive(lambda length: os.read(channel, length))
    if request is None:
        os._exit(0)
    try:
        groups, *namespaces = request
        if os.geteuid() == 0:
            os.setgroups([int(group) for group in messages.split(groups)])
        system.unshare(sum(NAMESPACES[name] for name in namespaces))
        first = os.fork()
        if first:
            os.write(channel, messages.message(b"waiting", b"%d" % first))
            os._exit(0)
    except (OSError, KeyError) as error:
        fail(channel, b"namespaces", error)
    os.setsid()


def await_order(channel: int) -> Order:
    """Return what the hub wants in this container, or end with the hub."""
    words = messages.receive(lambda length: os.read(channel, length))
    if words is None:
        os._exit(0)
    return Order(words)


def arrange(order: Order) -> None:
    """Make of this process one that has what ORDER says and nothing else.  Raises `OSError`."""
    if order.is_outside:
        os.setresgid(order.gid, order.gid, order.gid)
        os.setresuid(order.uid, order.uid, order.uid)
        system.reset_signals()
        return
    opened = file_system.open_sealed(order.operations)
    take_account(order)
    # Only now is it in the cgroup that is to be the highest it sees.
    system.unshare(system.CLONE_NEWCGROUP)
    system.set_host_name(order.host_name)
    if order.has_network:
        system.bring_loopback_up()
    os.umask(0)
    file_system.change_root(order.operations, opened)
    os.umask(0o022)
    give_up_rights(order)
    os.chdir(order.directory)
    # What is ignored stays so in every program that is started.
    system.reset_signals()


def take_account(order: Order) -> None:
    """Become the container's one account, keeping the rights in its namespaces."""
    if system.read("/proc/self/setgroups").strip() == b"allow":
        os.setgroups([])
    os.setresgid(order.gid, order.gid, order.gid)
    os.setresuid(order.uid, order.uid, order.uid)
    system.allow_own_files()


def give_up_rights(order: Order) -> None:
    """Lock the mounts behind a second user namespace, allow no third one, and drop every right for good."""
    _write("/proc/sys/user/max_user_namespaces", "1")
    system.unshare(system.CLONE_NEWUSER)
    # Where the numbers are not the hub's own to give, groups could still be changed until here, and no group is mapped then.
    if system.read("/proc/self/setgroups").strip() == b"allow":
        _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{order.uid} {order.uid} 1")
    _write("/proc/self/gid_map", f"{order.gid} {order.gid} 1")
    system.drop_capabilities()
    system.forbid_new_privileges()
    if order.filter:
        system.filter_system_calls(order.filter)


def hand_over(secrets: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Put SECRETS into a pipe that the command inherits, and return the variable that says where.

    Once they are read they are nowhere but in the memory of who read them.  Raises `OSError`, as for more than a pipe takes.
    """
    if not secrets:
        return {}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    content = b"".join(name + b"=" + value + b"\0" for name, value in secrets.items())
    if os.write(writing, content) != len(content):
        raise OSError("handing over secrets: they are too long")
    os.close(writing)
    os.set_inheritable(reading, True)
    return {b"GUIX_SESSION_SECRETS": b"%d" % reading}


def fail(channel: int, step: bytes, error: Exception) -> NoReturn:
    """Tell the hub of ERROR at STEP and end."""
    os.write(channel, messages.message(b"failed", step, str(error).encode(errors="replace")))
    os._exit(1)


def _pairs(joined: bytes) -> dict[bytes, bytes]:
    words = messages.split(joined)
    return dict(zip(words[::2], words[1::2], strict=True))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
