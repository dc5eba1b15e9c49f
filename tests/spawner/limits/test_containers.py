"""A container of the launcher's that is held while it waits, by every back-end that this machine has."""

import asyncio
import os
import tempfile

from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Mount
from guixspawner.launch import ColdLauncher
from guixspawner.limits import Backend, Limits
from tests.containers import ACCOUNT

KEY = "ada.default"
MIB = 1024**2
LIMITS = Limits(memory=128 * MIB, cpu=0.5, processes=30)

INSIDE = """
import os, time
greedy = os.fork()
if greedy == 0:
    open("/proc/self/oom_score_adj", "w").write("800")
    kept = bytearray(1) * (400 * 2**20)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(greedy, 0)[1]))
try:
    with open("/tmp/fill", "wb", buffering=0) as file:
        while True:
            file.write(bytes(2**20))
except OSError as error:
    print(error.strerror, os.stat("/tmp/fill").st_size >> 20)
started = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        started += 1
except OSError as error:
    print(error.strerror, started, flush=True)
time.sleep(600)
"""


async def test_a_container_is_held_from_its_first_process_on(backend: Backend) -> None:
    folders = ("/usr", "/bin", "/lib", "/lib64")
    plan = ContainerPlan(
        store_items=(),
        command=("/usr/bin/python3", "-I", "-c", INSIDE),
        directory="/",
        variables={},
        host_name="held",
        mounts=tuple(Mount(folder, folder, optional=True) for folder in folders),
        shared_memory=64 * MIB,
        sharing=("/tmp",),
    )
    with tempfile.TemporaryFile() as log:
        waiting = await ColdLauncher().prepare(ACCOUNT, plan.network, log.fileno())
        enforced = await backend.hold(KEY, waiting.first, LIMITS)
        assert (enforced.memory, enforced.cpu, enforced.processes) == (128 * MIB, 0.5, 30)
        first = await waiting.run(plan)
        while (printed := _content(log.fileno())).count("\n") < 3:
            assert process_identity.is_running(first), printed
            await asyncio.sleep(0.1)
        await backend.end(KEY)
        assert not process_identity.is_running(first)
        assert not await backend.leftovers()
    killed, full, stopped = printed.splitlines()
    assert killed == "-9"
    assert full == "No space left on device 64"
    assert stopped == "Resource temporarily unavailable 29"


def _content(descriptor: int) -> str:
    return os.pread(descriptor, 10000, 0).decode()
