"""What the service's memory holds stays there: the real service crashes, and others of its own account try to read it."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.credentials.test_canaries import Service, write_keys
from tests.service.web.fake_hub import FakeHub

SETPRIV = shutil.which("setpriv") or ""
WITHOUT_RIGHTS = (SETPRIV, "--bounding-set=-all", "--inh-caps=-all")
"""What makes a process of root's one of any account: the number alone is left."""

CRASHES = (signal.SIGSEGV, signal.SIGABRT)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Give the service, which does not run yet, as ada's programs ask it."""
    hub = FakeHub()
    hub.add("ada")
    hub.serve()
    (tmp_path / "left").mkdir()
    write_keys(tmp_path / "keys", os.urandom(32).hex())
    yield Service(tmp_path, hub, "127.0.0.1:1", "token-ada", "the-service's-own")
    await hub.stop()


def unlimited_cores() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def leaves_core(folder: Path) -> bool:
    """Tell whether a program that crashes in FOLDER leaves a core there on this machine."""
    folder.mkdir()
    subprocess.run([sys.executable, "-c", "import os; os.abort()"], cwd=folder, preexec_fn=unlimited_cores, check=False)
    return any(folder.iterdir())


@pytest.mark.parametrize("crash", CRASHES, ids=[crash.name for crash in CRASHES])
async def test_a_crash_writes_no_memory_down(service: Service, tmp_path: Path, crash: signal.Signals) -> None:
    if not leaves_core(tmp_path / "control"):
        pytest.skip("a crash leaves no file here, whatever crashes")
    directory = tmp_path / "directory"
    directory.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        with service.running(traced=False, directory=directory) as process:
            resource.setrlimit(resource.RLIMIT_CORE, limits)
            await service.is_up(process)
            process.send_signal(crash)
            assert process.wait() == -crash
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    assert list(directory.iterdir()) == []


def read_as_the_same_account(pid: int, file: str) -> str:
    """Return what becomes of reading FILE of the process PID by another process of its account."""
    program = f"open('/proc/{pid}/{file}', 'rb').read(0 if '{file}' == 'mem' else -1); print('read')"
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(os.geteuid() != 0 or not SETPRIV, reason="only root can be itself without its rights")
async def test_its_own_account_reads_neither_its_memory_nor_its_variables(service: Service) -> None:
    with service.running(traced=False, under=WITHOUT_RIGHTS) as process:
        await service.is_up(process)
        other = subprocess.Popen([*WITHOUT_RIGHTS, "sleep", "600"])
        try:
            for file in ("mem", "environ", "maps"):
                assert read_as_the_same_account(other.pid, file) == "read"
                assert "Permission" in read_as_the_same_account(process.pid, file), file
        finally:
            other.kill()
            other.wait()
