"""The hostile session of these tests, and what it does."""

import os

import pytest

from tests.spawner.real_hub import RealHub

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs sessions under other numbers, and sees into them")

EVERYTHING = """
import os
def everything():
    for folder, folders, files in os.walk('/'):
        if folder.startswith(('/proc', '/sys', '/gnu')):
            folders.clear()
        else:
            yield from (os.path.join(folder, name) for name in files + folders)
"""
"""What the attacker's kernel needs to look at all files that its session sees."""


async def attack(hub: RealHub, code: str) -> str:
    """Return what the attacker's kernel printed for CODE."""
    return await hub.run_code("mallory", code)
