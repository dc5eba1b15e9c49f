"""A real Git over HTTP on loopback: ``git http-backend`` behind the standard library's server."""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": os.environ["PATH"],
}


@dataclass(frozen=True)
class GitServer:
    """Serves the bare repositories below ``folder``; whoever can reach it may read and push."""

    folder: Path
    port: int

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

    def url(self, name: str) -> str:
        return f"http://{self.host}/{name}.git"


def _git(folder: Path, *words: str) -> str:
    command = ["git", *words]
    return subprocess.run(
        command, cwd=folder, env={**IDENTITY, "HOME": str(folder)}, check=True, capture_output=True, text=True
    ).stdout


@contextmanager
def serve_git(folder: Path) -> Iterator[GitServer]:
    """Serve the bare repositories below FOLDER on a free port of loopback until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _answer(self, body: bytes) -> None:
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
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield GitServer(folder, server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
