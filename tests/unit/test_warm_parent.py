"""The process for warm starts, without the modules that it loads."""

import os
import socket
from pathlib import Path

from guix_environment.launcher import parent, requests
from tests.open_files import high_numbers


def test_a_request_comes_also_over_a_socket_with_a_high_number(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as hub:
        listener.bind(str(path))
        listener.listen()
        hub.connect(str(path))
        ours, theirs = socket.socketpair()
        with ours, theirs, (tmp_path / "log").open("wb") as log, high_numbers(listener.detach()) as (number,):
            requests.send(hub, theirs.fileno(), log.fileno())
            process = os.fork()
            if not process:
                _serve(number, str(path))
            assert os.waitpid(process, 0)[1] == 0
            theirs.close()
            assert ours.recv(10) == b"forked"


def _serve(number: int, path: str) -> None:
    """Be the parent for one request, or the child that it forks for it."""
    try:
        found = parent._wait_for_request(number, parent._Place(path), idle=60.0, shared=1)
        if found is not None:
            os.write(found.channel, b"forked")
        os._exit(0)
    finally:
        # What was raised is no business of the test's own process, of which this is a copy.
        os._exit(1)
