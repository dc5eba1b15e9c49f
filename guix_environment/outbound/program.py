"""Connect the network of a session to the outside, in this order.

1. Make sure that the network namespace is another one than the machine's.
2. In its network namespace, make unreachable what sessions never reach, the machine's own addresses among it.  The session
   has no right to change that, not even over itself.
3. Leave the process that started this one, and become the session's account in its user namespace, with the two rights
   there that a way out needs, and with nothing of the machine's files but programs and what resolves names.
4. Become slirp4netns, which opens a network device in the namespace and stays outside of it.
"""

from __future__ import annotations

import ctypes
import os
import stat

from guix_environment.launcher import file_system
from guix_environment.launcher import system_calls as system
from guix_environment.outbound import netlink

TYPE_CHECKING = False  # `typing` costs the program more time than its own modules
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_INSIDE = 1000

_TUN = "/dev/net/tun"
_OPEN = stat.S_IROTH | stat.S_IWOTH
_PROGRAMS = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/gnu/store", "/nix/store")
_RESOLVING = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
"""Where the links lead that ``/etc/resolv.conf`` is on many machines: folders, as the file in them is replaced."""

_RESOLV_CONF = "/etc/resolv.conf"

_NETWORK = "/network"
"""Where the program finds the session's network namespace."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def main(user: int, network: int, errors: int, refused: list[str], command: list[str]) -> NoReturn:
    """Connect the network namespace that is the open file NETWORK, of the user namespace USER, by COMMAND.

    Networks in REFUSED are not reached.  This process ends with 0 once they are not; another one then becomes COMMAND, its
    output going to the open file ERRORS.  A word ``{network}`` of it stands for the namespace.  Raises `OSError`.
    """
    if os.path.samestat(os.fstat(network), os.stat("/proc/self/ns/net")):
        raise PermissionError("that is no network of its own")
    for file in (user, network):
        os.set_inheritable(file, False)
    networks = sorted({*refused, *map(_alone, netlink.own_addresses())})
    if not os.path.exists("/proc/net/if_inet6"):
        networks = [one for one in networks if ":" not in one]
    _refuse(user, network, networks)
    _leave(errors)
    if os.geteuid() == 0:
        _open_device()
    system.enter(user, system.CLONE_NEWUSER)
    _become_account()
    system.unshare(system.CLONE_NEWNS)
    made_of = [[word.encode() for word in operation] for operation in operations(network, command[0])]
    file_system.change_root(made_of, file_system.open_sealed(made_of))
    words = [_NETWORK if word == "{network}" else word for word in command]
    os.execve(words[0], words, {})  # noqa: S606 - no shell is what is wanted


def _alone(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _refuse(user: int, network: int, networks: list[str]) -> None:
    """Make NETWORKS unreachable in the namespace NETWORK of the user namespace USER, from which there is no way back."""
    child = os.fork()
    if not child:
        try:
            system.enter(user, system.CLONE_NEWUSER)
            system.enter(network, system.CLONE_NEWNET)
            netlink.refuse(networks)
        except OSError as error:
            os.write(2, f"{error}\n".encode())
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise OSError("what is refused could not be made unreachable")


def _leave(errors: int) -> None:
    """Go on in a process that is nobody's child, in a session of its own; this one ends."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.setsid()
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    os.close(reading)
    os.close(writing)


def _open_device() -> None:
    """Where the machine's device for networks is closed to other accounts, see another one in its place."""
    if os.stat(_TUN).st_mode & _OPEN == _OPEN:
        return
    number = os.stat(_TUN).st_rdev
    system.unshare(system.CLONE_NEWNS)
    system.mount(b"none", b"/", None, system.MS_REC | system.MS_PRIVATE)
    system.mount(b"tmpfs", os.path.dirname(_TUN).encode(), b"tmpfs", system.MS_NOSUID | system.MS_NOEXEC, b"mode=755")
    os.mknod(_TUN, stat.S_IFCHR, number)
    os.chmod(_TUN, 0o666)  # noqa: S103 - as distributions have it  # nosec B103


def _become_account() -> None:
    """Be the session's one account, with the rights to open a network device and to configure it."""
    _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    if system.read("/proc/self/setgroups").strip() == b"allow":
        os.setgroups([])
    os.setresgid(_INSIDE, _INSIDE, _INSIDE)
    os.setresuid(_INSIDE, _INSIDE, _INSIDE)
    system.allow_own_files()
    kept = 1 << _CAP_NET_ADMIN | 1 << _CAP_SYS_ADMIN
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0))))
    for capability in (_CAP_NET_ADMIN, _CAP_SYS_ADMIN):
        _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))
    system.forbid_new_privileges()


def operations(network: int, program: str, resolv_conf: str = _RESOLV_CONF) -> Iterator[tuple[str, ...]]:
    """Yield what makes the files that PROGRAM sees, in the words of `guix_environment.launcher.file_system`.

    NETWORK is the open network namespace, and RESOLV_CONF where the machine says how names are resolved.
    """
    for folder in dict.fromkeys((*_PROGRAMS, os.path.dirname(os.path.realpath(program)))):
        if os.path.islink(folder):
            yield "link", folder, os.readlink(folder)
        else:
            yield "bind", folder, folder, "ro", "optional"
    yield "bind", "/etc", "/etc", "ro", ""
    for folder in _RESOLVING:
        yield "bind", folder, folder, "ro", "optional"
    if os.path.islink(resolv_conf):
        elsewhere = os.path.normpath(os.path.join("/etc", os.readlink(resolv_conf)))
        if not elsewhere.startswith(("/etc/", *(f"{folder}/" for folder in _RESOLVING))):
            yield "bind", elsewhere, elsewhere, "ro", "optional"
    yield "tmpfs", os.path.dirname(_TUN), "mode=755"
    yield "device", _TUN
    yield "sealed", f"/proc/self/fd/{network}", _NETWORK, "rw", ""
    yield "close", "/"


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
