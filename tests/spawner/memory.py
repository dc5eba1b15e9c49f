"""What a session's server has in its memory, as root reads it from outside."""

import re
from pathlib import Path

from guix_environment.process_identity import ProcessIdentity, children


def token_of(first: ProcessIdentity) -> str:
    """Return the token of the server below FIRST, the first process of a session, which is in its memory alone."""
    for process in _descendants(first):
        for start, end in _readable(process.pid):
            with Path(f"/proc/{process.pid}/mem").open("rb") as memory:
                memory.seek(start)
                try:
                    found = re.search(rb"JUPYTERHUB_API_TOKEN=([0-9a-f]{32})", memory.read(end - start))
                except OSError:
                    continue
            if found:
                return found[1].decode()
    raise AssertionError("the server has no token")


def _descendants(process: ProcessIdentity) -> list[ProcessIdentity]:
    below = [one for child in children(process) for one in _descendants(child)]
    return [process, *below]


def _readable(pid: int) -> list[tuple[int, int]]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [
        (int(a, 16), int(b, 16))
        for a, b in (line.split()[0].split("-") for line in lines if line.split()[1].startswith("rw"))
    ]
