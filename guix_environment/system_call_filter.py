"""Which system calls a container may not make, as a program for the kernel (seccomp(2)).

The rules are data; libseccomp, which every Debian and Ubuntu has, makes the program of them and knows the numbers of each
architecture.  They follow Flatpak's (``flatpak-run.c``, ``setup_seccomp``), and go beyond: what leads into the kernel's less
tried parts or to other processes' memory, and no notebook needs.
"""

import ctypes
import errno
import functools
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from guix_environment.errors import SessionFailure

_ALLOW = 0x7FFF0000
"""``SCMP_ACT_ALLOW``."""
_ERRNO = 0x00050000
"""``SCMP_ACT_ERRNO``, with the error's number added."""
_BAD_ARCHITECTURE = 2
"""``SCMP_FLTATR_ACT_BADARCH``: what happens to system calls of another architecture than the machine's own."""
_EQUAL, _AT_LEAST, _MASKED = 4, 5, 7
"""``SCMP_CMP_EQ``, ``SCMP_CMP_GE``, ``SCMP_CMP_MASKED_EQ``."""

_NEW_USER_NAMESPACE = 0x10000000
"""``CLONE_NEWUSER`` (``linux/sched.h``)."""

_FAMILIES = frozenset({0, 1, 2, 10, 16})
"""Families of sockets that there are: none, Unix, IPv4, IPv6, netlink (``sys/socket.h``)."""

REFUSED = frozenset(
    {
        *("acct", "add_key", "bpf", "delete_module", "fanotify_init", "finit_module", "init_module", "kcmp"),
        *("kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "name_to_handle_at", "open_by_handle_at"),
        *("perf_event_open", "pidfd_getfd", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace", "quotactl"),
        *(
            "quotactl_fd",
            "reboot",
            "request_key",
            "setns",
            "swapoff",
            "swapon",
            "syslog",
            "umount2",
            "unshare",
            "userfaultfd",
        ),
        *("chroot", "vhangup", "iopl", "ioperm", "modify_ldt", "settimeofday", "clock_settime", "adjtimex"),
    }
)
"""System calls that are not permitted."""

ABSENT = frozenset(
    {
        # Programs that find these missing fall back to older ones, whose arguments a filter can see.
        *("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup"),
        *("fsconfig", "fsmount", "fsopen", "fspick", "mount_setattr", "move_mount", "open_tree"),
    }
)
"""System calls that are said not to exist."""

ALONE = frozenset(
    {
        *("fork", "vfork", "socket", "socketpair", "memfd_create", "memfd_secret"),
        *("mq_open", "msgget", "semget", "shmget"),
    }
)
"""What a program that computes alone needs none of: other processes, sockets, and memory that no limit of its own counts."""

_THREAD = 0x10000
"""``CLONE_THREAD`` (``linux/sched.h``), without which ``clone`` makes a process."""

_TERMINAL_INPUT = (0x5412, 0x541C)
"""``TIOCSTI`` and ``TIOCLINUX``, by which a program types into somebody else's terminal."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of one argument of a system call."""

    argument: int
    comparison: int
    value: int
    second: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A system call that fails with ERROR when CONDITIONS hold."""

    call: str
    error: int
    conditions: tuple[Condition, ...] = ()


def rules(allowed: Collection[str] = (), *, alone: bool = False) -> Sequence[Rule]:
    """Return every rule, in a fixed order, but those for the system calls in ALLOWED.

    ALONE adds what keeps a program to itself: it makes threads, and no process and no socket.
    """
    masked = 0xFFFFFFFF  # the kernel itself looks at 32 bits of these arguments alone
    gaps = [family for family in range(max(_FAMILIES)) if family not in _FAMILIES]
    every = [
        *(Rule(call, errno.EPERM) for call in sorted(REFUSED)),
        *(Rule(call, errno.ENOSYS) for call in sorted(ABSENT)),
        Rule("clone", errno.EPERM, (Condition(0, _MASKED, _NEW_USER_NAMESPACE, _NEW_USER_NAMESPACE),)),
        *(Rule("ioctl", errno.EPERM, (Condition(1, _MASKED, masked, request),)) for request in _TERMINAL_INPUT),
        *(Rule("socket", errno.EAFNOSUPPORT, (Condition(0, _EQUAL, family),)) for family in gaps),
        Rule("socket", errno.EAFNOSUPPORT, (Condition(0, _AT_LEAST, max(_FAMILIES) + 1),)),
    ]
    if alone:
        every = [rule for rule in every if rule.call not in ALONE]
        every += [Rule(call, errno.EPERM) for call in sorted(ALONE)]
        every.append(Rule("clone", errno.EPERM, (Condition(0, _MASKED, _THREAD, 0),)))
    return [rule for rule in every if rule.call not in allowed]


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp`` (``seccomp.h``)."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("comparison", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


@functools.cache
def compiled(allowed: frozenset[str] = frozenset(), *, alone: bool = False) -> bytes:
    """Return the program for this machine of the `rules` for ALLOWED and ALONE, once for each process of ours.

    Raises `SessionFailure` when the machine lacks libseccomp.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SessionFailure(
            "The library by which sessions are kept from the kernel's inner parts is not on this machine.",
            hint="Whoever runs it can install it: apt-get install libseccomp2",
        ) from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    try:
        _done(library.seccomp_attr_set(context, _BAD_ARCHITECTURE, ctypes.c_uint32(_ERRNO | errno.ENOSYS)))
        for rule in rules(allowed, alone=alone):
            number = library.seccomp_syscall_resolve_name(rule.call.encode())
            comparisons = (_Comparison * len(rule.conditions))(
                *(_Comparison(part.argument, part.comparison, part.value, part.second) for part in rule.conditions)
            )
            action = ctypes.c_uint32(_ERRNO | rule.error)
            _done(library.seccomp_rule_add_array(context, action, number, len(rule.conditions), comparisons))
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w+b") as file:
        _done(library.seccomp_export_bpf(context, descriptor))
        file.seek(0)
        return file.read()


def _done(result: int) -> None:
    """Raise what libseccomp says with RESULT, unless all is well; a system call that an architecture lacks is well."""
    if result < 0 and -result not in {errno.EFAULT, errno.EDOM, errno.EEXIST}:
        raise SessionFailure("The filter for system calls could not be made.", details={"reason": os.strerror(-result)})
