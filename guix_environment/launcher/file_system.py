"""Build a container's file system out of operations, each a list of words, and make it the root.

The words are those that `guix_environment.container.operations` writes.  Sources are the machine's paths and targets the
container's.  Runs in a mount namespace of its own, with the rights of its user namespace and as the container's account.
"""

from __future__ import annotations

import os
import stat

from guix_environment.launcher import system_calls as system

TYPE_CHECKING = False  # `typing` costs the launcher more time than its own modules
if TYPE_CHECKING:
    from collections.abc import Sequence

_STAGE = b"/tmp"
"""Any folder that every machine has."""

_MACHINE = b"/machine"
_ROOT = b"/root"
_MEMORY = b"/memory"
"""Below the stage: where the machine's files are while the container's are made, and the memory that folders share."""

_KINDS = {b"tmpfs": 0, b"proc": system.MS_NOEXEC, b"mqueue": system.MS_NOEXEC, b"sysfs": system.MS_NOEXEC | system.MS_RDONLY}
"""Kinds of file systems that the kernel makes, each with what is not allowed in it."""


def open_sealed(operations: Sequence[Sequence[bytes]]) -> dict[bytes, int]:
    """Return an open tree for each source among OPERATIONS that the container's account could not come to itself.

    Called with the hub's rights, before the account is taken.  Raises `OSError`.
    """
    return {operation[1]: system.open_tree(operation[1]) for operation in operations if operation[0] == b"sealed"}


def change_root(operations: Sequence[Sequence[bytes]], opened: dict[bytes, int]) -> None:
    """Make a new root, perform OPERATIONS in it, and let go of the machine's files.

    OPENED are the trees that `open_sealed` returned.  Raises `OSError`.
    """
    # Symbolic links in sources lead where they do on the machine, which below another root they no longer would.
    resolved = [_resolve(operation) for operation in operations]
    system.mount(b"none", b"/", None, system.MS_REC | system.MS_PRIVATE)
    system.mount(b"tmpfs", _STAGE, b"tmpfs", system.MS_NOSUID | system.MS_NODEV, b"mode=755")
    os.mkdir(_STAGE + _MACHINE)
    os.mkdir(_STAGE + _ROOT)
    system.mount(b"tmpfs", _STAGE + _ROOT, b"tmpfs", system.MS_NOSUID | system.MS_NODEV, b"mode=755")
    system.pivot_root(_STAGE, _STAGE + _MACHINE)
    os.chdir(b"/")
    for operation in resolved:
        if operation[0] == b"sealed":
            _attach(opened[operation[1]], *operation[2:])
        else:
            _perform(operation)
    os.chdir(_ROOT)
    # The new root and the old one at the same place, and the old one taken off it (pivot_root(2), notes).
    system.pivot_root(b".", b".")
    system.unmount(b".")
    os.chdir(b"/")


def _resolve(operation: Sequence[bytes]) -> Sequence[bytes]:
    if operation[0] == b"bind":
        return (operation[0], os.path.realpath(operation[1]), *operation[2:])
    return operation


def _perform(operation: Sequence[bytes]) -> None:
    kind, *words = operation
    if kind == b"items":
        _bind_items(*words)
    elif kind == b"bind":
        _bind(*words)
    elif kind == b"device":
        _bind_device(*words)
    elif kind == b"file":
        _write_file(*words)
    elif kind == b"link":
        _make_link(*words)
    elif kind == b"memory":
        os.mkdir(_MEMORY)
        system.mount(b"tmpfs", _MEMORY, b"tmpfs", system.MS_NOSUID | system.MS_NODEV, *words)
    elif kind == b"part":
        _show_part(*words)
    elif kind == b"devpts":
        target = _ROOT + words[0]
        _make_folder(target)
        flags = system.MS_NOSUID | system.MS_NOEXEC
        system.mount(b"devpts", target, b"devpts", flags, b"newinstance,ptmxmode=0666,mode=620")
    elif kind == b"close":
        flags = system.MS_REMOUNT | system.MS_BIND | system.MS_RDONLY | system.MS_NOSUID | system.MS_NODEV
        system.mount(b"none", _ROOT + words[0], None, flags)
    else:
        _make_file_system(kind, *words)


def _make_file_system(kind: bytes, target: bytes, options: bytes) -> None:
    target = _ROOT + target
    _make_folder(target)
    try:
        system.mount(kind, target, kind, system.MS_NOSUID | system.MS_NODEV | _KINDS[kind], options)
    except PermissionError:
        # Where the machine hides parts of its own, as in a container, a whole one may not be made.
        if kind != b"sysfs":
            raise


def _show_part(target: bytes, mode: bytes) -> None:
    """Show an empty folder of the memory that folders share at TARGET."""
    part = _MEMORY + b"/" + target.strip(b"/").replace(b"/", b"-")
    os.mkdir(part)
    os.chmod(part, int(mode, 8))
    _make_folder(_ROOT + target)
    # What is not allowed in the memory is not allowed in a part of it either.
    system.mount(part, _ROOT + target, None, system.MS_BIND)


def _bind_items(folder: bytes, *items: bytes) -> None:
    """Show ITEMS, read-only, where they are on the machine: all below FOLDER, of which nothing else is shown."""
    system.mount(b"tmpfs", _made(_ROOT + folder), b"tmpfs", system.MS_NOSUID | system.MS_NODEV, b"mode=755")
    for item in items:
        source, target = _MACHINE + item, _ROOT + item
        mode = os.lstat(source).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), target)
            continue
        if stat.S_ISDIR(mode):
            os.mkdir(target)
        else:
            _make_file(target)
        system.mount(source, target, None, system.MS_BIND)
    # One call for all of them, where remounting each would be another one for each.
    system.restrict(_ROOT + folder, read_only=True)


def _bind(source: bytes, target: bytes, mode: bytes, optional: bytes) -> None:
    source, target = _MACHINE + source, _ROOT + target
    try:
        is_folder = stat.S_ISDIR(os.stat(source).st_mode)
    except FileNotFoundError:
        if optional:
            return
        raise
    if is_folder:
        _make_folder(target)
    else:
        _make_folder(os.path.dirname(target))
        _make_file(target)
    system.mount(source, target, None, system.MS_BIND | system.MS_REC)
    system.restrict(target, read_only=mode == b"ro")


def _attach(tree: int, target: bytes, mode: bytes, _optional: bytes) -> None:
    """Mount the file or folder that TREE was opened from."""
    target = _ROOT + target
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        _make_folder(target)
    else:
        _make_file(target)
    system.attach(tree, target)
    system.restrict(target, read_only=mode == b"ro")


def _bind_device(path: bytes) -> None:
    if os.path.exists(_MACHINE + path):
        _make_file(_ROOT + path)
        system.mount(_MACHINE + path, _ROOT + path, None, system.MS_BIND)


def _write_file(target: bytes, mode: bytes, content: bytes) -> None:
    target = _ROOT + target
    _make_folder(os.path.dirname(target))
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, int(mode, 8))
    try:
        os.fchmod(descriptor, int(mode, 8))
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


def _make_link(target: bytes, points_to: bytes) -> None:
    target = _ROOT + target
    _make_folder(os.path.dirname(target))
    os.symlink(points_to, target)


def _made(folder: bytes) -> bytes:
    _make_folder(folder)
    return folder


def _make_folder(path: bytes) -> None:
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(os.path.dirname(path))
        os.mkdir(path, 0o755)


def _make_file(path: bytes) -> None:
    """Make an empty file to mount on, unless one is there."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
