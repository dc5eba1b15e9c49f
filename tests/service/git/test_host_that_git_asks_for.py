"""Whatever address is accepted: the host and port that we see in it are those that Git asks a proxy for.

Git hands an address to libcurl as it stands, with ``/info/refs`` after it (``remote-curl.c``).  So very many addresses are
put to the libcurl that Git's own helper is linked with, and some to Git as the service runs it; what each asks for is read
from its ``CONNECT``.  The service's numbers are small here; ``GENERATED_ADDRESSES=100000`` has them all tried.
"""

import ctypes
import os
import random
import re
import socket
import string
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from guix_environment.errors import InvalidAddress
from guix_environment.repository_url import RepositoryUrl

NUMBER = int(os.environ.get("GENERATED_ADDRESSES", "2000"))
ASKED_BY_GIT = NUMBER // 50

URL, PROXY, NO_SIGNAL, SECONDS, SOCKET_CREATED = 10002, 10004, 99, 13, 20148
"""Numbers of libcurl's options (``curl/curl.h``)."""

HOSTS = [
    *("forge.example", "git.forge.example", "GitHub.com", "1.forge.example", "0x7f.forge.example", "xn--bcher-kva.example"),
    *("127.0.0.1", "93.184.216.34", "127.1", "0x7f.1", "2130706433", "017700000001", "1.2.3.04", "1.2.3.4.5", "8.8.8.8"),
    *(
        "[::1]",
        "[2606:2800:220:1:248:1893:25c8:1946]",
        "[::ffff:1.2.3.4]",
        "[2001:0DB8:0:0:1:0:0:1]",
        "[::1.2.3.4]",
        "[1::]",
    ),
    *("localhost", "a--b.example", "xn--a.example", "forge.example.", "3.basecamp.com", "a", "[2001:db8:0:1:1:1:1:1]"),
]
PATHS = [
    "a",
    "a.git",
    "~ada",
    "_git",
    "My%20Project",
    "@ada",
    "a+b",
    "..",
    ".",
    "v1..2",
    "-a",
    "a:b",
    "%2e%2e",
    "",
    ".github",
]
INSERTED = "@:/\\?#%[]\t\n\r \x00\x7f.-_~+0x1a;,&=!$'\"`|<>^{}()*\u00e9\u3002\uff0e\u2460\u200b\ufeff"


def generated(seed: int, number: int) -> Iterator[RepositoryUrl]:
    """Give NUMBER different addresses that are accepted, of very many more that are made up from SEED."""
    chance = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < number:
        text = made_up(chance)
        try:
            url = RepositoryUrl.parse(text)
        except InvalidAddress:
            continue
        if url.scheme == "https" and str(url) not in seen:
            seen.add(str(url))
            yield url


def made_up(chance: random.Random) -> str:
    letters = string.ascii_letters + string.digits + "-"
    word: Callable[[], str] = lambda: "".join(chance.choices(letters, k=chance.randint(1, 12)))  # noqa: E731
    six = "[" + ":".join(f"{chance.choice([0, 0, 1, chance.getrandbits(16)]):x}" for _ in range(8)) + "]"
    four = ".".join(str(chance.getrandbits(8)) for _ in range(4))
    host = chance.choice([chance.choice(HOSTS), ".".join(word() for _ in range(chance.randint(1, 4))), six, four])
    port = chance.choice(["", "", f":{chance.randint(0, 70000)}", ":443", ":0443", ":"])
    path = "/".join(chance.choice([word(), word(), chance.choice(PATHS)]) for _ in range(chance.randint(1, 4)))
    text = f"{chance.choice(['https', 'https', 'HTTPS', 'http', 'hTTps'])}://{host}{port}/{path}"
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2])):
        at = chance.randint(0, len(text))
        text = text[:at] + chance.choice(INSERTED) + text[at + chance.randint(0, 1) :]
    return text


def expected(url: RepositoryUrl) -> str:
    return f"CONNECT {url.host}:{url.port or 443} HTTP/1.1"


@contextmanager
def recording_proxy() -> Iterator[tuple[str, list[str]]]:
    """Give the address of a proxy that refuses everything, and the first line of each request to it."""
    asked: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (block := connection.recv(65536)):
                    head += block
                if not head:
                    return
                asked.append(head.decode("latin-1").split("\r\n")[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                with suppress(ConnectionResetError):
                    connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    host, port = listening.getsockname()
    try:
        yield f"http://{host}:{port}", asked
    finally:
        socket.create_connection((host, port)).close()
        thread.join()
        listening.close()


def helper() -> Path:
    """Return the program by which Git speaks HTTPS."""
    folder = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    return Path(folder) / "git-remote-https"


def library() -> ctypes.CDLL:
    """Return the libcurl that Git uses."""
    linked = subprocess.run(["ldd", helper()], check=True, capture_output=True, text=True).stdout
    found = re.search(r"libcurl\S* => (\S+)", linked)
    assert found, linked
    return ctypes.CDLL(found[1])


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)  # type: ignore[untyped-decorator]
def forgotten_at_once(_pointer: object, descriptor: int, _purpose: int) -> int:
    """Have a socket leave nothing behind when it is closed: the machine has fewer ports than there are addresses."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return 0


def test_libcurl_asks_for_the_host_that_we_see() -> None:
    curl = library()
    curl.curl_easy_init.restype = ctypes.c_void_p
    with recording_proxy() as (proxy, asked):
        handle = ctypes.c_void_p(curl.curl_easy_init())
        for option, value in ((NO_SIGNAL, ctypes.c_long(1)), (SECONDS, ctypes.c_long(60)), (PROXY, proxy.encode())):
            assert curl.curl_easy_setopt(handle, option, value) == 0
        assert curl.curl_easy_setopt(handle, SOCKET_CREATED, forgotten_at_once) == 0
        compared = 0
        for url in generated(1, NUMBER):
            asked.clear()
            assert curl.curl_easy_setopt(handle, URL, f"{url}/info/refs?service=git-upload-pack".encode()) == 0
            curl.curl_easy_perform(handle)
            assert asked == [expected(url)], str(url)
            compared += 1
        curl.curl_easy_cleanup(handle)
    assert compared == NUMBER


def test_git_asks_for_the_host_that_we_see(tmp_path: Path) -> None:
    with recording_proxy() as (proxy, asked):
        settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.proxy", "GIT_CONFIG_VALUE_0": proxy}
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", **settings}
        compared = 0
        for url in generated(2, ASKED_BY_GIT):
            asked.clear()
            subprocess.run(
                ["git", "ls-remote", "--", str(url)], env=environment, cwd=tmp_path, capture_output=True, check=False
            )
            assert asked == [expected(url)], str(url)
            compared += 1
    assert compared == ASKED_BY_GIT
