"""A Git server of our own that sends whatever a test makes up: objects, packs and answers that Git's own never would."""

import hashlib
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
CAPABILITIES = "ofs-delta thin-pack shallow allow-tip-sha1-in-want allow-reachable-sha1-in-want"
PERSON = "Ada <ada@example.org> 1700000000 +0000"

Entry = tuple[str, bytes, str]
"""Mode, name and object of a line of a tree."""


@dataclass
class Objects:
    """Objects and the pack that holds them."""

    packed: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, kind: str, body: bytes) -> str:
        """Add an object, however malformed BODY is, and return its name."""
        name = hashlib.sha1(f"{kind} {len(body)}\0".encode() + body).hexdigest()
        if name not in self.names:
            self.names.append(name)
            self.packed.append(entry(KINDS[kind], len(body), zlib.compress(body)))
        return name

    def blob(self, body: bytes) -> str:
        return self.add("blob", body)

    def tree(self, entries: Sequence[Entry], *, sort: bool = True) -> str:
        """Add a tree; Git compares folders' names as if they ended in a slash."""
        lines = list(entries)
        if sort:
            lines.sort(key=lambda line: line[1] + (b"/" if line[0] == "40000" else b""))
        return self.add(
            "tree", b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(of) for mode, name, of in lines)
        )

    def commit(self, tree: str, message: str = "A commit", head: str = "") -> str:
        text = head or f"tree {tree}\nauthor {PERSON}\ncommitter {PERSON}\n\n{message}\n"
        return self.add("commit", text.encode("utf-8", "surrogateescape"))

    def of_files(self, files: Mapping[bytes, tuple[str, bytes]]) -> str:
        """Add a commit of FILES, each with its mode; names have no folders."""
        return self.commit(self.tree([(mode, name, self.blob(body)) for name, (mode, body) in files.items()]))

    @property
    def pack(self) -> bytes:
        return packed(self.packed)


def entry(kind: int, size: int, content: bytes) -> bytes:
    """Return what stands in a pack for an object of KIND (gitformat-pack(5)) that says it has SIZE bytes."""
    head, size = [(kind << 4) | (size & 15)], size >> 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + content


def varint(number: int) -> bytes:
    """Return NUMBER as a difference in a pack has it."""
    found = []
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def packed(entries: Sequence[bytes], number: int | None = None, version: int = 2) -> bytes:
    """Return a pack of ENTRIES that says it has NUMBER of them."""
    head = b"PACK" + struct.pack(">II", version, len(entries) if number is None else number)
    body = head + b"".join(entries)
    return body + hashlib.sha1(body).digest()


def line(text: str | bytes) -> bytes:
    """Return TEXT as a line of Git's protocol."""
    content = text.encode() if isinstance(text, str) else text
    return f"{len(content) + 4:04x}".encode() + content


@dataclass
class Raw:
    """What the server says."""

    commit: str
    pack: bytes | Iterator[bytes]
    refs: Sequence[tuple[str, str]] | None = None
    """Names and objects to advertise; the commit as ``main`` unless given."""
    head: str = "refs/heads/main"
    capabilities: str = CAPABILITIES
    before: bytes = b""
    """What comes before the pack."""
    advertised: Callable[[BaseHTTPRequestHandler], bool] | None = None
    """Answers the first request instead, if it says so."""

    def listing(self) -> Iterator[bytes]:
        refs = self.refs if self.refs is not None else [("refs/heads/main", self.commit)]
        symbolic = f" symref=HEAD:{self.head}" if self.head else ""
        yield line("# service=git-upload-pack\n") + b"0000" + line(f"{self.commit} HEAD\0{self.capabilities}{symbolic}\n")
        for start in range(0, len(refs), 1000):
            yield b"".join(line(f"{of} {name}\n") for name, of in refs[start : start + 1000])
        yield b"0000"


@contextmanager
def serve_raw(raw: Raw) -> Iterator[int]:
    """Serve RAW at any path of a free port of loopback until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if raw.advertised and raw.advertised(self):
                return
            if "service=git-upload-pack" not in self.path:
                self.send_error(404)
                return
            self.begin("application/x-git-upload-pack-advertisement")
            self.give(raw.listing())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.begin("application/x-git-upload-pack-result")
            self.wfile.write(b"0000" if b"deepen" in body else b"")
            if b"0009done\n" in body:
                self.wfile.write(raw.before or line("NAK\n"))
                self.give(iter([raw.pack]) if isinstance(raw.pack, bytes) else raw.pack)

        def begin(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def give(self, blocks: Iterator[bytes]) -> None:
            with suppress(OSError):
                for block in blocks:
                    self.wfile.write(block)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def tripwire() -> Iterator[tuple[int, list[bytes]]]:
    """Give a port of loopback that no one should come to, and what those said who came all the same."""
    listening = socket.create_server(("127.0.0.1", 0))
    came: list[bytes] = []
    port = int(listening.getsockname()[1])

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.settimeout(5)
                said = connection.recv(4096)
                if said == b"end":
                    return
                came.append(said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port, came
    finally:
        with socket.create_connection(("127.0.0.1", port)) as last:
            last.sendall(b"end")
        thread.join()
        listening.close()
