"""System calls that Python's standard library does not offer, each raising `OSError` that says what it was about.

Constants are those of the kernel's own headers (``linux/mount.h``, ``linux/sched.h``, ``linux/prctl.h``,
``linux/capability.h``, ``linux/sockios.h``).
"""

import ctypes
import os

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_MOUNT_ATTR_RDONLY = 0x1
_MOUNT_ATTR_NOSUID = 0x2
_MOUNT_ATTR_NODEV = 0x4
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 0x1
_OPEN_TREE_CLOEXEC = 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_IGNORED_BY_PYTHON = (13, 25)
"""SIGPIPE and SIGXFSZ; the module `signal` costs the launcher more time than its own modules."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.syscall.restype = ctypes.c_long
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_libc.signal.restype = ctypes.c_void_p
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)


def _check(result: int, about: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{about}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by FLAGS for new ones (unshare(2))."""
    _check(_libc.unshare(flags), "new namespaces")


def enter(namespace: int, kind: int) -> None:
    """Enter the NAMESPACE of which this is an open file, and which is of the KIND of these flags (setns(2))."""
    _check(_libc.setns(namespace, kind), "entering a namespace")


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes = b"") -> None:
    """Mount (mount(2))."""
    if _libc.mount(source, target, kind, flags, options) < 0:
        _check(-1, f"mounting {source.decode(errors='replace')} on {target.decode(errors='replace')}")


def restrict(target: bytes, *, read_only: bool) -> None:
    """Take devices and set-user-ID from the mount at TARGET and all below, and with READ_ONLY writing (mount_setattr(2))."""
    flags = _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV | (_MOUNT_ATTR_RDONLY if read_only else 0)
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, target, _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes)
    )
    _check(result, f"restricting {target.decode(errors='replace')}")


def open_tree(source: bytes) -> int:
    """Return a descriptor of a copy of what is mounted at and below SOURCE, to `attach` elsewhere (open_tree(2))."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    descriptor = _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, source, flags)
    _check(descriptor, f"opening {source.decode(errors='replace')}")
    return int(descriptor)


def attach(tree: int, target: bytes) -> None:
    """Mount the TREE that `open_tree` opened on TARGET, and close it (move_mount(2))."""
    result = _libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)
    _check(result, f"mounting on {target.decode(errors='replace')}")
    os.close(tree)


def pivot_root(root: bytes, old: bytes) -> None:
    """Make ROOT the root of this mount namespace, and OLD the place of the one before (pivot_root(2))."""
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], root, old), "changing the root")


def unmount(target: bytes) -> None:
    """Unmount TARGET and all below, as soon as nobody uses them (umount2(2))."""
    _check(_libc.umount2(target, MNT_DETACH), f"unmounting {target.decode(errors='replace')}")


def set_host_name(name: bytes) -> None:
    """Set the host name of this namespace (sethostname(2))."""
    _check(_libc.sethostname(name, len(name)), "setting the host name")


def bring_loopback_up() -> None:
    """Bring the interface ``lo`` of this network namespace up (netdevice(7))."""
    descriptor = _libc.socket(2, 1 | 0o2000000, 0)
    _check(descriptor, "opening a socket")
    request = ctypes.create_string_buffer(b"lo", 40)
    flags = ctypes.c_short.from_buffer(request, 16)
    _check(_libc.ioctl(descriptor, _SIOCGIFFLAGS, request), "reading the loopback interface")
    flags.value |= _IFF_UP
    _check(_libc.ioctl(descriptor, _SIOCSIFFLAGS, request), "bringing the loopback interface up")
    os.close(descriptor)


def allow_own_files() -> None:
    """Let this process open its own files in ``/proc``, which a change of account has closed to it (prctl(2))."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, None, 0, 0), "opening /proc/self")


def drop_capabilities() -> None:
    """Give up every capability for good, also those that a program could bring (capabilities(7))."""
    for capability in range(int(read("/proc/sys/kernel/cap_last_cap")) + 1):
        try:
            _check(_libc.prctl(_PR_CAPBSET_DROP, capability, None, 0, 0), "bounding capabilities")
        except PermissionError:
            # AppArmor on Ubuntu takes this right from new user namespaces, and with it what there is to bound.
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(nothing)), "dropping capabilities")


def forbid_new_privileges() -> None:
    """Let no program that this process ever runs gain rights (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0), "forbidding new privileges")


def filter_system_calls(program: bytes) -> None:
    """Put the seccomp filter PROGRAM, an array of ``struct sock_filter``, over this process (seccomp(2))."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    whole = Program(len(program) // 8, program)
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(whole), 0, 0), "filtering system calls")


def reset_signals() -> None:
    """Let the signals that Python ignores, SIGPIPE and SIGXFSZ, do again what they do by default (signal(2))."""
    for number in _IGNORED_BY_PYTHON:
        _libc.signal(number, None)


def read(path: str) -> bytes:
    """Return the beginning of the file PATH, of those that the kernel makes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
