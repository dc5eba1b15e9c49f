"""A session that uses up what it may have, on the real hub and beside another: that one, the hub and its server go on."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection

from guix_environment import process_identity
from guixspawner.limits import cgroups
from tests.spawner.built_records import built_records
from tests.spawner.real_hub import PATIENCE, RealHub, connected, first_process, running_hub

from .conftest import EXPECTED, throttled
from .held_hub import GIVEN, HELD, answers, groups_of, kills, members_of

pytestmark = [
    pytest.mark.guix,
    pytest.mark.hub,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0 and not EXPECTED, reason="only root finds control groups everywhere"),
]

BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

SPIN = """
import os, time
def compute():
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        pass
    os._exit(0)
for pid in [os.fork() or compute() for _ in range(2)]:
    os.waitpid(pid, 0)
"""

FILL = """
for folder in /tmp /var/tmp /dev/shm /run/user/1000; do dd if=/dev/zero of=$folder/fill bs=1M; done; echo "filled:all"
"""


SIZES = """
import os
print(sum(os.stat(f"{folder}/fill").st_size for folder in ("/tmp", "/var/tmp", "/dev/shm")) >> 20)
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[RealHub]:
    """A hub with the sessions of two people."""
    with built_records() as records, running_hub(records, HELD) as hub:
        for user in ("ada", "bob"):
            assert hub.spawn(user, GIVEN)[0] == 201, hub.session_log(user)
        yield hub


class Kernel:
    """A kernel that stays."""

    def __init__(self, hub: RealHub, user: str, identifier: str, connection: WebSocketClientConnection) -> None:
        self._hub = hub
        self._place = f"/user/{user}/api/kernels/{identifier}"
        self._connection = connection
        self._sent = 0

    async def send(self, code: str) -> None:
        """Have it run CODE."""
        self._sent += 1
        header = {
            "msg_id": f"{self._sent}",
            "username": "",
            "session": "x",
            "msg_type": "execute_request",
            "version": "5.3",
            "date": "",
        }
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await self._connection.write_message(json.dumps({**message, "buffers": []}))

    async def run(self, code: str) -> str:
        """Have it run CODE, and return what that prints."""
        await self.send(code)
        printed, awaited = "", {"execute_reply", "idle"}
        while awaited:
            message = await self._message()
            if message["parent_header"].get("msg_id") != f"{self._sent}":
                continue
            # The answer and what was printed come by ways of their own, in any order.
            awaited -= {message["msg_type"], message["content"].get("execution_state")}
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
        return printed.strip()

    async def ended(self) -> None:
        """Return once the server says that it was ended and starts anew."""
        while (await self._message())["content"].get("execution_state") not in {"restarting", "autorestarting", "dead"}:
            pass

    async def answers_again(self) -> None:
        """Return once it answers, which was started anew: until all its sockets are connected, answers may be lost."""
        asked = set()
        while True:
            await self.send("pass")
            asked.add(f"{self._sent}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5 * PATIENCE):
                    await self._idle_after(asked)
                    return

    async def _idle_after(self, asked: set[str]) -> None:
        while (message := await self._message())["parent_header"].get("msg_id") not in asked or (
            message["content"].get("execution_state") != "idle"
        ):
            pass

    async def remove(self) -> None:
        """Have the server end it."""
        await asyncio.to_thread(self._hub.request, "DELETE", self._place)

    async def _message(self) -> Any:
        async with asyncio.timeout(120 * PATIENCE):
            message = await self._connection.read_message()
        assert message, "the server went away"
        return json.loads(message)


@asynccontextmanager
async def kernel(hub: RealHub, user: str) -> AsyncIterator[Kernel]:
    status, text = await asyncio.to_thread(hub.request, "POST", f"/user/{user}/api/kernels", {"name": "python3"})
    assert status == 201, text
    identifier = json.loads(text)["id"]
    address = f"{hub.address.replace('http', 'ws')}/user/{user}/api/kernels/{identifier}/channels?session_id=x"
    connection = await connected(address)
    one = Kernel(hub, user, identifier, connection)
    try:
        yield one
    finally:
        connection.close()
        await one.remove()


def notices(hub: RealHub, user: str) -> list[dict[str, object]]:
    """Return what the person is told at the moment."""
    status, text = hub.request("GET", f"/user/{user}/guix-session/state")
    assert status == 200, text
    found: list[dict[str, object]] = json.loads(text)["notices"]
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60 * PATIENCE):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


async def unaffected(hub: RealHub, other: Kernel) -> None:
    """Fail unless BOB's session and the hub go on as if nothing was."""
    assert await other.run("print(kept, 6 * 7)") == "bobs 42"
    assert await asyncio.to_thread(answers, hub, "bob")
    assert (await asyncio.to_thread(hub.request, "GET", "/hub/api/users/bob"))[0] == 200
    assert kills(hub, "bob") == 0


async def test_memory_filled_in_a_kernel_ends_that_kernel_and_the_person_is_told(hub: RealHub) -> None:
    server, before = first_process(hub, "ada"), kills(hub, "ada")
    assert await asyncio.to_thread(notices, hub, "ada") == []
    async with kernel(hub, "bob") as other, kernel(hub, "ada") as greedy:
        await other.run("kept = 'bobs'")
        await greedy.send("kept = bytearray(b'x' * (3 * 2**30))")
        await greedy.ended()
        assert kills(hub, "ada") == before + 1
        await until(lambda: bool(notices(hub, "ada")))
        (notice,) = await asyncio.to_thread(notices, hub, "ada")
        assert notice["kind"] == "memory"
        assert "ran out of memory" in str(notice["message"])
        assert "its limit of 1 GiB of memory" in str(notice["details"])
        await unaffected(hub, other)
        assert await asyncio.to_thread(notices, hub, "bob") == []
        # It started anew by itself, and works.
        await greedy.answers_again()
        assert await greedy.run("print('kept' in globals())") == "False"
    assert process_identity.is_running(server)


async def test_folders_in_memory_that_are_all_filled_leave_room_for_the_server(hub: RealHub) -> None:
    server = first_process(hub, "ada")
    async with kernel(hub, "bob") as other:
        await other.run("kept = 'bobs'")
        shown = await hub.run_in_terminal("ada", FILL.strip())
        assert "filled:all" in shown, shown
        assert await asyncio.to_thread(answers, hub, "ada")
        await unaffected(hub, other)
        # What the person does next: look around, and delete it, by the page, a terminal or a kernel.
        assert (await asyncio.to_thread(hub.request, "GET", "/user/ada/api/contents"))[0] == 200
        assert "removed" in await hub.run_in_terminal("ada", "rm -v /run/user/1000/fill")
        assert int(await hub.run_code("ada", SIZES)) == 512
        shown = await hub.run_in_terminal("ada", "rm -v /tmp/fill /var/tmp/fill /dev/shm/fill")
        assert shown.count("removed") == 3, shown
    assert await hub.run_code("ada", "print(len(bytearray(1) * (600 * 2**20)) >> 20)") == "600"
    assert process_identity.is_running(server)


async def test_a_fork_bomb_stays_within_its_session_which_can_be_ended(hub: RealHub) -> None:
    groups, server = groups_of(hub, "ada"), first_process(hub, "ada")
    async with kernel(hub, "bob") as other, kernel(hub, "ada") as bomb:
        await other.run("kept = 'bobs'")
        await bomb.send(BOMB)
        await until(lambda: len(members_of(hub, "ada")) > 50)
        await unaffected(hub, other)
        assert await hub.run_code("bob", "print('another kernel')") == "another kernel"
        assert await asyncio.to_thread(answers, hub, "ada")
        held = members_of(hub, "ada")
        await asyncio.to_thread(hub.stop, "ada")
        assert not process_identity.is_running(server)
        assert not [pid for pid in held if process_identity.identify(pid)]
        assert not [group for group in groups if group.exists()]
        await unaffected(hub, other)
    assert (await asyncio.to_thread(hub.spawn, "ada", GIVEN))[0] == 201
    assert await hub.run_code("ada", "print('anew')") == "anew"


async def test_computing_is_bounded_for_all_kernels_together(hub: RealHub) -> None:
    async with kernel(hub, "ada") as one, kernel(hub, "ada") as another:
        for _ in range(10):
            begun, before, waited = time.monotonic(), used(hub, "ada"), throttled(first_process(hub, "ada").pid)
            await asyncio.gather(one.run(SPIN), another.run(SPIN))
            assert (used(hub, "ada") - before) / (time.monotonic() - begun) < 1.15
            if throttled(first_process(hub, "ada").pid) > waited:
                return
    pytest.skip("this machine is too busy to give a session as much as it may have")


def used(hub: RealHub, user: str) -> float:
    """Return how many seconds the session computed until now."""
    found = cgroups.usage_of(cgroups.folders_of(first_process(hub, user).pid)).cpu
    assert found is not None
    return found
