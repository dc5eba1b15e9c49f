"""Carries a namespace plan out: unshare, mount, change the root.  Needs root, or a user namespace of its own."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from .errors import ExitCode, LabError
from .namespace import Directory, Link, Step

# From <linux/sched.h> and <sys/mount.h>.
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns 0, or raise OSError naming it."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _call("mount", encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])


def become_own_root() -> None:
    """As somebody who is not root: a user namespace in which mounting is allowed, ids unchanged."""
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", ctypes.c_int(CLONE_NEWUSER | CLONE_NEWNS))
    except OSError as error:
        raise LabError(
            "This machine does not let ordinary users make user namespaces; allow them "
            "(kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0, "
            "kernel.apparmor_restrict_unprivileged_userns=0), or run the command as root.",
            ExitCode.NO_USER_NAMESPACES,
        ) from error
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _place(root: str, step: Step) -> None:
    target = Path(root + step.target)
    if isinstance(step, Directory):
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(step, Link):
        target.symlink_to(step.destination)
        return
    source = Path(step.source).resolve()
    if source.is_dir():
        target.mkdir(exist_ok=True)
    elif not target.exists():
        target.touch()
    try:
        _mount(str(source), str(target), None, MS_BIND | MS_REC)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (showing {source} at {step.target})") from error


def enter_namespace(steps: Sequence[Step], mount_point: Path) -> None:
    """Move this process into a mount namespace that looks as STEPS say; it must have one thread.

    MOUNT_POINT is any existing directory; nothing is written to it.  The working directory stays what it was, or
    becomes ``/`` where the new view has no such directory.
    """
    directory = Path.cwd()
    previous = os.umask(0o022)
    if os.geteuid() == 0:
        _call("unshare", ctypes.c_int(CLONE_NEWNS))
    else:
        become_own_root()
    _mount("none", "/", None, MS_REC | MS_SLAVE)
    root = str(mount_point)
    _mount("guixlab", root, "tmpfs", 0, "mode=755")
    # Unbindable until it is complete: a directory above it that is bound would bring it in once more.
    _mount("none", root, None, MS_UNBINDABLE)
    for step in steps:
        _place(root, step)
    _mount("none", root, None, MS_PRIVATE)
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", ctypes.c_int(MNT_DETACH))
    os.umask(previous)
    try:
        os.chdir(directory)
    except OSError:
        os.chdir("/")
