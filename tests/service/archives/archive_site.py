"""An archive on loopback: what is asked for it has or has not, as the test says."""

import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from pathlib import Path

from guix_environment.archived import ArchiveSites
from tests.git_server import SECONDS_TO_END, with_tls

CREATED = "2019-06-10T09:27:51.123456+00:00"


@dataclass(frozen=True)
class Reply:
    """One answer."""

    content: bytes = b""
    status: int = 200
    location: str = ""
    length: int | None = None
    """What it says its length is, where that is not so."""
    after: threading.Event | None = None
    """What it waits for."""


@dataclass
class ArchiveSite:
    """Answers by method and path; a list of answers is used up but for its last."""

    port: int
    scheme: str = "http"
    replies: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def sites(self) -> ArchiveSites:
        return ArchiveSites(frozenset({self.host}), frozenset({self.host}))

    def reply(self, path: str, *replies: Reply, method: str = "GET") -> None:
        self.replies[method, path] = list(replies)

    def publish(self, number: int, contents: Mapping[str, bytes], *, concept: int = 1, **changes: object) -> None:
        """Have the record NUMBER with CONTENTS, each with its checksum, as Zenodo tells of one; CHANGES say otherwise."""
        listed = [
            {"key": name, "size": len(content), "checksum": f"md5:{md5(content, usedforsecurity=False).hexdigest()}"}
            for name, content in contents.items()
        ]
        record = {"id": number, "conceptrecid": str(concept), "created": CREATED, "files": listed}
        self.reply(f"/api/records/{number}", Reply(dumps(record | changes).encode()))
        for name, content in contents.items():
            self.reply(f"/api/records/{number}/files/{name}/content", Reply(content))

    def cook(self, bundle: str, name: str, content: bytes, *states: str) -> None:
        """Have the vault go through STATES until it has CONTENT for NAME."""
        path = f"/api/1/vault/{bundle}/{name}/"
        told = [Reply(dumps({"status": state}).encode()) for state in states]
        self.reply(path, told[0], method="POST")
        self.reply(path, *(told[1:] or told))
        self.reply(f"{path}raw/", Reply(content))


@contextmanager
def serve_archive(certificate: Path | None = None) -> Iterator[ArchiveSite]:
    """Serve an archive that has nothing yet, over TLS with CERTIFICATE, until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            site.asked.append((self.command, self.path))
            left = site.replies.get((self.command, self.path), [Reply(status=404)])
            reply = left.pop(0) if len(left) > 1 else left[0]
            if reply.after is not None:
                reply.after.wait()
            self.send_response(reply.status)
            if reply.location:
                self.send_header("Location", reply.location)
            self.send_header("Content-Length", str(len(reply.content) if reply.length is None else reply.length))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        server.socket = with_tls(server.socket, certificate)
    site = ArchiveSite(server.server_address[1], "https" if certificate else "http")
    threading.Thread(target=server.serve_forever, args=(SECONDS_TO_END,), daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def zipped(files: Mapping[str, bytes], year: int = 2020) -> bytes:
    """Return a zip archive of FILES, each last changed in YEAR."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), text)
    return content.getvalue()


def tarred(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    """Return a tar archive of MEMBERS, some with their content."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload] # any mode will do
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                archive.addfile(each)
            else:
                archive.addfile(each[0], io.BytesIO(each[1]))
    return content.getvalue()


def member(name: str, content: bytes | None = None, **fields: object) -> tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]:
    """Return what `tarred` takes for NAME: a file with CONTENT, or whatever FIELDS make of it."""
    info = tarfile.TarInfo(name)
    for field_name, value in fields.items():
        setattr(info, field_name, value)
    if content is None:
        return info
    info.size = len(content)
    return info, content
