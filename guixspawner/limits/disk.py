"""Space on the disk for each person: the file system's own quota of their account.

Only the file system can bound what is written: it is asked by quotactl_fd(2), which Linux has had since 5.14, on behalf of
the account that owns the home.  The facts about the call are the kernel's ``include/uapi/linux/quota.h`` and
``include/uapi/linux/dqblk_xfs.h``, whose question about the state every file system with quota answers.
"""

import ctypes
import errno
import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CALL = 443
"""quotactl_fd's number, on every architecture whose numbers are the kernel's common ones and on x86."""

_GET, _SET, _GET_STATE = 0x800007, 0x800008, 0x5808
_OF_USERS = 0
_BLOCK = 1024
_LIMITS_OF_SPACE = 1


class _Quota(ctypes.Structure):
    """``struct if_dqblk``."""

    _fields_ = (
        ("hard_blocks", ctypes.c_uint64),
        ("soft_blocks", ctypes.c_uint64),
        ("used_bytes", ctypes.c_uint64),
        ("hard_files", ctypes.c_uint64),
        ("soft_files", ctypes.c_uint64),
        ("used_files", ctypes.c_uint64),
        ("grace_blocks", ctypes.c_uint64),
        ("grace_files", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    )


class _State(ctypes.Structure):
    """The beginning of ``struct fs_quota_statv``, and room for what the kernel writes behind it."""

    _fields_ = (
        ("form", ctypes.c_int8),
        ("padding", ctypes.c_uint8),
        ("flags", ctypes.c_uint16),
        ("rest", ctypes.c_uint8 * 252),
    )


_ENFORCED_FOR_USERS = 2
"""``FS_QUOTA_UDQ_ENFD``; without it a file system may still count, and take limits that hold nobody."""


@dataclass(frozen=True, slots=True)
class DiskQuota:
    """What an account may keep on one file system, and what it keeps."""

    most: int | None
    """Bytes."""
    used: int
    """Bytes."""


def read_quota(folder: Path, uid: int) -> DiskQuota:
    """Return the quota of the account UID on the file system of FOLDER.

    Blocks for a system call.  Raises `OSError` when that file system counts nothing, or we may not ask.
    """
    found = _Quota()
    try:
        _call(folder, _GET, uid, found)
    except FileNotFoundError:
        # XFS keeps no record of an account that keeps nothing, and has no limit.
        if not folder.exists():
            raise
    return DiskQuota(found.hard_blocks * _BLOCK or None, found.used_bytes)


def set_quota(folder: Path, uid: int, most: int) -> DiskQuota:
    """Let the account UID keep at most MOST bytes on the file system of FOLDER, and return what is in force then.

    What it keeps already stays, however much: it can only write no more.  The quota stays until it is set anew.  Blocks for
    some system calls.  Raises `OSError` when that file system enforces nothing, or we may not have it do so.
    """
    state = _State(form=1)
    _call(folder, _GET_STATE, 0, state)
    if not state.flags & _ENFORCED_FOR_USERS:
        raise OSError(errno.EOPNOTSUPP, "the file system counts what accounts keep, and was not mounted to bound it")
    blocks = max(1, most // _BLOCK)
    _call(folder, _SET, uid, _Quota(hard_blocks=blocks, soft_blocks=blocks, valid=_LIMITS_OF_SPACE))
    return read_quota(folder, uid)


def _call(folder: Path, command: int, uid: int, answer: ctypes.Structure) -> None:
    if platform.machine() not in {"x86_64", "aarch64", "riscv64"}:
        raise OSError("the number of quotactl_fd is not known on this architecture")
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        what = command << 8 | _OF_USERS
        words = (ctypes.c_long(_CALL), ctypes.c_uint(descriptor), ctypes.c_uint(what), ctypes.c_uint(uid))
        if library.syscall(*words, ctypes.byref(answer)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
