"""A container with a way out, and a program in it that does what the tests tell it."""

import asyncio
import os
from pathlib import Path

from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Mount, Network, PlacedFile, TemporaryFolder
from guix_environment.process_identity import ProcessIdentity
from guix_environment.system_call_filter import compiled
from guixspawner.network.outbound import WayOut
from tests.containers import ACCOUNT


class ObedientSession:
    """A container with a way out, and a program in it that does what it is told."""

    def __init__(self, first: ProcessIdentity, folder: Path) -> None:
        self.first = first
        self._folder = folder

    async def does(self, code: str) -> str:
        """Return what CODE prints in the session."""
        asked, answered = self._folder / "asked", self._folder / "answered"
        answered.unlink(missing_ok=True)
        asked.with_suffix(".new").write_text(code)
        asked.with_suffix(".new").rename(asked)
        while not answered.exists():
            assert process_identity.is_running(self.first)
            await asyncio.sleep(0.01)
        return answered.read_text().strip()

    async def reaches(self, address: str, port: int = 80) -> str:
        """Return what is read at ADDRESS and PORT, or how connecting there failed, as error and number."""
        return await self.does(_REACHING.format(address=address, port=port))


_REACHING = """
import socket
try:
    connection = socket.create_connection(({address!r}, {port}), 5)
    connection.settimeout(1)
    try:
        print(connection.recv(100).decode())
    except TimeoutError:
        print("connected")
except OSError as error:
    print(type(error).__name__, error.errno)
"""
_OBEYING = """
import contextlib, io, os, time, traceback
while True:
    if not os.path.exists("/talk/asked"):
        time.sleep(0.01)
        continue
    code = open("/talk/asked").read()
    os.unlink("/talk/asked")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(code, {})
        except BaseException:
            traceback.print_exc(file=printed)
    open("/talk/answering", "w").write(printed.getvalue())
    os.rename("/talk/answering", "/talk/answered")
"""


def obedient(folder: Path, way: WayOut) -> ContainerPlan:
    """Return the container of an `ObedientSession` that has the machine's programs, and its folder in FOLDER."""
    talk = folder / "talk"
    folder.chmod(0o755)
    talk.mkdir()
    os.chown(talk, ACCOUNT.uid, ACCOUNT.gid)
    machine = [Mount(path, path, optional=True) for path in ("/usr", "/lib", "/lib64", "/bin")]
    return ContainerPlan(
        store_items=(),
        command=("/usr/bin/python3", "-I", "-c", _OBEYING),
        directory="/",
        variables={},
        host_name="test",
        mounts=(*machine, Mount(str(talk), "/talk", writable=True)),
        temporary_folders=(TemporaryFolder("/tmp", 0o1777),),
        files=(PlacedFile("/etc/resolv.conf", way.resolv_conf), PlacedFile("/etc/hosts", b"127.0.0.1 localhost\n")),
        network=Network.OWN,
        filter=compiled(),
    )
