"""The hostile session of these tests, and what it does."""

import os

import pytest

from tests.spawner.real_hub import RealHub

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs sessions under other numbers, and sees into them")


async def attack(hub: RealHub, code: str) -> str:
    """Return what the attacker's kernel printed for CODE."""
    return await hub.run_code("mallory", code)
