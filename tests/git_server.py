"""A real Git over HTTP on loopback: ``git http-backend`` behind the standard library's server."""

import os
import socket
import ssl
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": os.environ["PATH"],
}

SECONDS_TO_END = 0.05
"""How often a server looks whether it is to end: every test waits so long for it."""

ANYBODY = "anybody"
OVERLOADED = "overloaded"
"""Users whose being among a server's passwords has it ask nobody for one, or answer 503."""


@dataclass(frozen=True)
class GitServer:
    """Serves the bare repositories below ``folder``; whoever can reach it may read and push."""

    folder: Path
    port: int
    scheme: str = "http"
    asked: list[str] = field(default_factory=list)
    """The address of each request, in the order in which they came."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def commit(self, name: str, files: Mapping[str, str | bytes], *, branch: str = "main") -> str:
        """Add a commit with exactly FILES to the repository NAME, which is made when it is not there; return the commit."""
        bare, work = self.folder / f"{name}.git", self.folder / f".{name}.work"
        if not bare.exists():
            _git(self.folder, "init", "--quiet", "--bare", f"--initial-branch={branch}", str(bare))
            _git(bare, "config", "http.receivepack", "true")
            _git(bare, "config", "uploadpack.allowReachableSHA1InWant", "true")
            _git(self.folder, "clone", "--quiet", str(bare), str(work))
        _git(work, "checkout", "--quiet", "-B", branch)
        _git(work, "rm", "-r", "--quiet", "--ignore-unmatch", ".")
        for path, content in files.items():
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        _git(work, "add", "--all")
        _git(work, "commit", "--quiet", "--allow-empty", "--message=A commit")
        _git(work, "push", "--quiet", "origin", branch)
        return _git(work, "rev-parse", "HEAD").strip()

    def rename(self, name: str, branch: str, to: str) -> None:
        """Give BRANCH of the repository NAME another name; what is the default branch stays it."""
        _git(self.folder / f"{name}.git", "branch", "--move", branch, to)

    def url(self, name: str) -> str:
        return f"{self.scheme}://{self.host}/{name}.git"


def _git(folder: Path, *words: str) -> str:
    command = ["git", *words]
    return subprocess.run(
        command, cwd=folder, env={**IDENTITY, "HOME": str(folder)}, check=True, capture_output=True, text=True
    ).stdout


def with_tls(listening: socket.socket, certificate: Path) -> socket.socket:
    """Return LISTENING, to which now TLS is spoken; a client that breaks off harms only itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context.wrap_socket(listening, server_side=True, do_handshake_on_connect=False)


def make_certificate(file: Path, *names: str) -> Path:
    """Write into FILE a key and a certificate of its own for NAMES, which need no authority, and return FILE."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + secret)
    return file


def end_tls(connection: object) -> None:
    """Say goodbye on CONNECTION as TLS wants it, where it is spoken there."""
    if isinstance(connection, ssl.SSLSocket):
        with suppress(OSError, ValueError):
            connection.unwrap()


class _Server(ThreadingHTTPServer):
    def shutdown_request(self, request: Any) -> None:
        end_tls(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that break off, as some tests have them do."""


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """Return what was sent with REQUEST; Guix's own client of Git sends it in chunks, and does not say the length before."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    found = b""
    while length := int(request.rfile.readline().strip() or b"0", 16):
        found += request.rfile.read(length)
        request.rfile.readline()
    return found


@contextmanager
def serve_git(
    folder: Path, certificate: Path | None = None, passwords: Mapping[str, str] | None = None
) -> Iterator[GitServer]:
    """Serve the bare repositories below FOLDER on a free port of loopback until the context ends.

    With CERTIFICATE, a file that holds a key too, over TLS. With PASSWORDS, by user name, whoever has none of them is
    answered 401; they may change meanwhile, and there are users with a meaning of their own, `ANYBODY` and `OVERLOADED`.
    """

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(_body(self))

        def _answer(self, body: bytes) -> None:
            asked.append(self.path)
            if passwords is not None and OVERLOADED in passwords:
                self.send_error(503)
                return
            if passwords is not None and ANYBODY not in passwords and not self._is_known(passwords):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="private"')
                self.end_headers()
                return
            address = urlsplit(self.path)
            environment = IDENTITY | {
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": unquote(address.path),
                "QUERY_STRING": address.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HOME": str(folder),
            }
            done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _is_known(self, passwords: Mapping[str, str]) -> bool:
            scheme, _, said = self.headers.get("Authorization", "").partition(" ")
            user, _, password = b64decode(said).decode().partition(":") if scheme == "Basic" else ("", "", "")
            return bool(user) and passwords.get(user) == password

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if certificate:
        server.socket = with_tls(server.socket, certificate)
    thread = threading.Thread(target=server.serve_forever, args=(SECONDS_TO_END,), daemon=True)
    thread.start()
    try:
        yield GitServer(folder, server.server_address[1], "https" if certificate else "http", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
