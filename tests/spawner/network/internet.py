"""A machine with a network, and an internet around it, in namespaces of the tests' own.

Nothing here reaches the real network.  The thread that tests run in becomes the machine's for as long as a test lasts; the
internet is a process that answers on every address that it is given.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000

OUTSIDE = "93.184.216.34"
MACHINE = "93.184.216.2"
ANOTHER_OF_THE_MACHINES = "172.17.0.1"
METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
PRIVATE = "10.9.9.9"
MACHINE_6 = "2a00:1450:4001:800::7"
OUTSIDE_6 = "2a00:1450:4001:800::34"
METADATA_6 = "fd00:ec2::254"

NAMES = {
    "metadata.example": "169.254.169.254",
    "alibaba.example": "100.100.100.200",
    "private.example": PRIVATE,
    "loopback.example": "127.0.0.1",
    "mapped.example": "::ffff:169.254.169.254",
    "aws.example": METADATA_6,
    "translated.example": "64:ff9b::a9fe:a9fe",
}
"""Where names lead; every other one leads to `OUTSIDE`."""

_ANSWERING = """
import json, socket, sys, threading

def answer_names(server):
    names = json.loads(sys.argv[3])
    while True:
        question, asker = server.recvfrom(1000)
        end = question.index(b"\\0", 12) + 5
        labels, rest = [], question[12:]
        while rest[0]:
            labels.append(rest[1 : rest[0] + 1].decode())
            rest = rest[rest[0] + 1 :]
        address = names.get(".".join(labels), sys.argv[1])
        family, kind = (socket.AF_INET6, 28) if ":" in address else (socket.AF_INET, 1)
        packed = socket.inet_pton(family, address)
        record = b"\\xc0\\x0c" + bytes([0, kind]) + b"\\0\\1\\0\\0\\0\\x3c" + bytes([0, len(packed)]) + packed
        asked = question[end - 3] == kind
        head = question[:2] + b"\\x81\\x80\\0\\1" + bytes([0, asked]) + b"\\0\\0\\0\\0"
        server.sendto(head + question[12:end] + (record if asked else b""), asker)

names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.setsockopt(socket.IPPROTO_IP, 8, 1)
names.bind((sys.argv[2], 53))
threading.Thread(target=answer_names, args=(names,), daemon=True).start()
listening = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    connection, _ = listening.accept()
    connection.sendall(("reached " + connection.getsockname()[0].removeprefix("::ffff:")).encode())
    connection.close()
"""


def resolver() -> str:
    """Return the machine's own resolver, which the internet here plays as well."""
    lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    return next((line[1] for line in lines if line[:1] == ["nameserver"] and ":" not in line[1]), "10.255.255.53")


def _ip(*words: str, inside: int | None = None) -> None:
    entering = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    subprocess.run([*entering, "ip", *words], check=True)


@contextmanager
def machine_in_a_network() -> Iterator[int]:
    """Make this thread the machine's, and yield the process that is the internet."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(_CLONE_NEWNET) == 0
    machine = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(_CLONE_NEWNET) == 0
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "inet0", "type", "veth", "peer", "name", "mach0")
    addresses = (f"{OUTSIDE}/24", *(f"{address}/32" for address in (*METADATA, PRIVATE, resolver())))
    for address in addresses:
        _ip("address", "add", address, "dev", "inet0")
    _ip("link", "set", "inet0", "up")
    for address in (f"{OUTSIDE_6}/64", f"{METADATA_6}/128"):
        _ip("address", "add", address, "dev", "inet0", "nodad")
    world = subprocess.Popen(
        [sys.executable, "-c", _ANSWERING, OUTSIDE, resolver(), json.dumps(NAMES)], stdout=subprocess.PIPE
    )
    try:
        assert world.stdout
        assert world.stdout.readline() == b"ready\n"
        with open(f"/proc/self/fd/{machine}") as target:
            subprocess.run(
                ["ip", "link", "set", "mach0", "netns", f"/proc/self/fd/{target.fileno()}"],
                check=True,
                pass_fds=[target.fileno()],
            )
        assert libc.setns(machine, _CLONE_NEWNET) == 0
        _ip("link", "set", "lo", "up")
        _ip("address", "add", f"{MACHINE}/24", "dev", "mach0")
        _ip("address", "add", f"{ANOTHER_OF_THE_MACHINES}/32", "dev", "mach0")
        _ip("link", "set", "mach0", "up")
        _ip("route", "add", "default", "via", OUTSIDE)
        _ip("address", "add", f"{MACHINE_6}/64", "dev", "mach0", "nodad")
        _ip("route", "add", "default", "via", OUTSIDE_6)
        yield world.pid
    finally:
        assert libc.setns(before, _CLONE_NEWNET) == 0
        world.kill()
        world.wait()
        os.close(before)
        os.close(machine)


@contextmanager
def listening(address: str) -> Iterator[int]:
    """Yield a port of the machine's at ADDRESS on which somebody listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        yield int(server.getsockname()[1])
