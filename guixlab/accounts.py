"""The accounts that Guix needs, for the namespaces alone: the host's own files are never touched."""

from __future__ import annotations

import grp
import hashlib
import json
import pwd
from pathlib import Path

from .folder import Folder, read_json, write_atomically
from .namespace import ACCOUNT_FILES

BUILD_GROUP = "guixbuild"
BUILD_USERS = tuple(f"guixbuilder{number:02}" for number in range(1, 9))
SERVICE_ACCOUNT = "guix-build-service"
# Above what useradd comes to (1000 to 60000, from below) and below Debian's reserved 60000.
FIRST_NUMBER, LAST_NUMBER = 50000, 59999
EACH = 10


def first_number(folder: Path) -> int:
    """Where FOLDER's numbers begin: another place for each folder.

    A build daemon ends every process of a build user before and after a build, so two daemons that share build users end
    each other's builds (``nix/libstore/build.cc``, ``killUser``).
    """
    places = (LAST_NUMBER + 1 - FIRST_NUMBER) // EACH
    return FIRST_NUMBER + int(hashlib.sha256(str(folder).encode()).hexdigest(), 16) % places * EACH


def choose_numbers(recorded: dict[str, int], taken: set[int], first: int) -> dict[str, int]:
    """A number for each account, the recorded ones where there are any: the store's files belong to them."""
    numbers = (*range(first, LAST_NUMBER + 1), *range(FIRST_NUMBER, first))
    free = (number for number in numbers if number not in taken | set(recorded.values()))
    return {name: recorded.get(name) or next(free) for name in (BUILD_GROUP, *BUILD_USERS, SERVICE_ACCOUNT)}


def render_passwd(host: str, numbers: dict[str, int]) -> str:
    """The host's ``/etc/passwd`` and the extra accounts."""
    build = numbers[BUILD_GROUP]
    service = numbers[SERVICE_ACCOUNT]
    lines = _without(host, (*BUILD_USERS, SERVICE_ACCOUNT))
    lines += [f"{name}:x:{numbers[name]}:{build}:Guix build user:/var/empty:/usr/sbin/nologin" for name in BUILD_USERS]
    lines.append(f"{SERVICE_ACCOUNT}:x:{service}:{service}:Guix build service:/nonexistent:/usr/sbin/nologin")
    return "\n".join(lines) + "\n"


def render_group(host: str, numbers: dict[str, int]) -> str:
    """The host's ``/etc/group`` and the extra groups."""
    lines = _without(host, (BUILD_GROUP, SERVICE_ACCOUNT))
    lines.append(f"{BUILD_GROUP}:x:{numbers[BUILD_GROUP]}:{','.join(BUILD_USERS)}")
    lines.append(f"{SERVICE_ACCOUNT}:x:{numbers[SERVICE_ACCOUNT]}:")
    return "\n".join(lines) + "\n"


def _without(text: str, names: tuple[str, ...]) -> list[str]:
    return [line for line in text.splitlines() if line and line.split(":")[0] not in names]


def write_accounts(folder: Folder) -> dict[str, int]:
    """Write the namespaces' passwd and group files anew from the host's, and return the numbers by name."""
    folder.accounts.mkdir(mode=0o755, parents=True, exist_ok=True)
    record = folder.accounts / "numbers.json"
    taken = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_name not in (*BUILD_USERS, SERVICE_ACCOUNT)}
    taken |= {entry.gr_gid for entry in grp.getgrall() if entry.gr_name not in (BUILD_GROUP, SERVICE_ACCOUNT)}
    numbers = choose_numbers(
        {str(name): int(number) for name, number in read_json(record).items()}, taken, first_number(folder.path)
    )
    write_atomically(record, json.dumps(numbers, indent=1))
    for name, render in zip(ACCOUNT_FILES, (render_passwd, render_group), strict=True):
        text = render(Path("/etc", name).read_text(), numbers)
        target = folder.accounts / name
        if not target.exists() or target.read_text() != text:
            write_atomically(target, text)
    return numbers
