"""Keep what is in this process's memory out of the reach of others, and out of what a crash leaves."""

import ctypes
import resource

_PR_SET_DUMPABLE = 4  # linux/prctl.h

_NO_CORE = 1
"""Bytes of a core file.  Of none at all the kernel still hands the whole memory to a program that core(5)'s pattern names;
one byte it takes as a refusal of both (``fs/coredump.c``)."""


def close() -> None:
    """Let nobody but root read this process's memory and variables, and no crash write them down, from now on.

    Processes that it starts leave no cores either; what runs in them can be read by their own account again, since every
    program begins anew in that (prctl(2), PR_SET_DUMPABLE). Raises `OSError`.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    size = _NO_CORE if most == resource.RLIM_INFINITY else min(most, _NO_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (size, size))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "The process's memory cannot be closed to others.")
