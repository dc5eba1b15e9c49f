"""The rules for nftables in docs/howto/downloads.md, loaded as they stand there: what builders reach then, and others."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spawner.network import internet

PAGE = Path(__file__).parents[2] / "docs/howto/downloads.md"
BUILDER, ANOTHER = 29998, 29999
OWN = ("127.0.0.1", "127.9.9.9", internet.ANOTHER_OF_THE_MACHINES, "::1")
CLOSED = (internet.PRIVATE, "169.254.169.254", "168.63.129.16", "100.100.100.200", internet.METADATA_6, *OWN)
OPEN = (internet.OUTSIDE, internet.OUTSIDE_6)

CONNECTING = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for address in sys.argv[2:]:
    try:
        socket.create_connection((address, 80), timeout=60).close()
        print(address)
    except ConnectionRefusedError:
        pass
"""


def rules(builder: int) -> str:
    """Return the rules of the page, for the account BUILDER in place of Guix's own."""
    [found] = re.findall(r"```text\n(table inet guix .*?)```", PAGE.read_text(), flags=re.DOTALL)
    named, count = re.subn(r"elements = \{[^}]*\}", f"elements = {{ {builder} }}", found)
    assert count == 1
    return named


def reached(account: int, addresses: tuple[str, ...]) -> set[str]:
    """Return those of ADDRESSES that a process of ACCOUNT connects to; of the others, each refused it."""
    command = [sys.executable, "-I", "-S", "-c", CONNECTING, str(account), *addresses]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="rules for a network are root's to make")
def test_builders_reach_the_internet_and_no_network_around_the_machine() -> None:
    with internet.machine_in_a_network():
        serving = [sys.executable, "-I", "-m", "http.server", "80", "--bind", "::"]
        listening = subprocess.Popen(serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not reached(ANOTHER, OWN[:1]):
                assert listening.poll() is None
            assert reached(BUILDER, CLOSED + OPEN) == {*CLOSED, *OPEN}, "before there are rules, all is reached"
            subprocess.run(["nft", "--file", "-"], input=rules(BUILDER), text=True, check=True)
            assert reached(BUILDER, CLOSED + OPEN) == set(OPEN)
            assert reached(ANOTHER, CLOSED + OPEN) == {*CLOSED, *OPEN}
        finally:
            listening.kill()
            listening.wait()
