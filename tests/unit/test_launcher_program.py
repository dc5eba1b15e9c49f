"""The program that forks for each container: one for all, and another one when it is gone or stuck."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from guix_environment import launcher_program as module
from guix_environment import process_identity
from guix_environment.container import Network, division
from guix_environment.errors import SessionFailure
from guix_environment.launcher_program import LauncherProgram
from guix_environment.launching import first_process
from guix_environment.process_identity import ProcessIdentity
from tests.containers import processes_writing_to


@pytest.fixture
def errors() -> Iterator[IO[bytes]]:
    """Where the programs of a test have their errors, by which they are found."""
    with tempfile.TemporaryFile() as file:
        yield file


def numbers(errors: IO[bytes]) -> set[int]:
    """Return the processes that run the program."""
    return {int(folder.name) for folder in processes_writing_to(errors.fileno())}


async def until_none(errors: IO[bytes]) -> None:
    while numbers(errors):
        await asyncio.sleep(0.01)


async def first(program: LauncherProgram) -> ProcessIdentity:
    """Return the first process of a container that is never made."""
    with tempfile.TemporaryFile() as log:
        async with program.request(log.fileno()) as channel:
            found = await first_process(channel, division(Network.OWN))
            assert process_identity.is_running(found)
            channel.close()
    return found


async def test_one_program_forks_for_all(errors: IO[bytes]) -> None:
    program = LauncherProgram(errors.fileno())
    await first(program)
    found = numbers(errors)
    assert len(found) == 1
    await asyncio.gather(*(first(program) for _ in range(10)))
    assert numbers(errors) == found


async def test_it_ends_with_whoever_asks(errors: IO[bytes]) -> None:
    program = LauncherProgram(errors.fileno())
    await first(program)
    assert numbers(errors)
    del program
    await until_none(errors)


async def test_those_that_ask_first_at_once_all_get_theirs(errors: IO[bytes]) -> None:
    program = LauncherProgram(errors.fileno())
    found = await asyncio.gather(*(first(program) for _ in range(5)))
    assert len(set(found)) == 5
    while len(numbers(errors)) != 1:
        await asyncio.sleep(0.01)


async def test_one_that_was_killed_is_started_again(errors: IO[bytes]) -> None:
    program = LauncherProgram(errors.fileno())
    await first(program)
    [killed] = numbers(errors)
    os.kill(killed, signal.SIGKILL)
    await until_none(errors)
    await first(program)
    assert len(numbers(errors)) == 1


async def test_one_that_is_stuck_is_told_and_replaced(errors: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    program = LauncherProgram(errors.fileno())
    await first(program)
    [stuck] = numbers(errors)
    os.kill(stuck, signal.SIGSTOP)
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with pytest.raises(SessionFailure, match="cannot be started"):
        await first(program)
    monkeypatch.undo()
    await first(program)
    os.kill(stuck, signal.SIGCONT)
    # It finds that nobody waits for what it was asked, and that nobody will ask it again.
    while stuck in numbers(errors):
        await asyncio.sleep(0.01)
    assert len(numbers(errors)) == 1


async def test_a_request_that_is_given_up_leaves_nothing(errors: IO[bytes]) -> None:
    program = LauncherProgram(errors.fileno())
    with tempfile.TemporaryFile() as log:
        with pytest.raises(asyncio.CancelledError):
            async with program.request(log.fileno()):
                raise asyncio.CancelledError
        while processes_writing_to(log.fileno()):
            await asyncio.sleep(0.01)
    await first(program)


async def test_no_program_is_told(errors: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRAM", Path("/nowhere"))
    with pytest.raises(SessionFailure, match="Containers cannot be started on this machine"):
        await first(LauncherProgram(errors.fileno()))
