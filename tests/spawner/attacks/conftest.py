"""What a hostile session tries from within, on the real hub, proxy and Guix, and gets nothing of.

Two people's sessions run beside each other. One of them is the attacker, in a kernel; the other has what is worth having,
and so has the machine.
"""

import secrets
from collections.abc import Iterator

import pytest

from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import RealHub, running_hub


@pytest.fixture(scope="package")
def hub() -> Iterator[RealHub]:
    """A hub with two people's sessions, each of a gigabyte, for all of these tests."""
    with built_records() as records, running_hub(records) as hub:
        for user in ("mallory", "victim"):
            status, text = hub.spawn(user, {"environment": ENVIRONMENT, "memory": "1G"})
            assert status == 201, text + hub.session_log(user)
        (hub.state / "homes/victim/secret.txt").write_text(f"canary-{secrets.token_hex(8)}")
        yield hub
