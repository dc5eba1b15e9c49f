"""`make audit` against indexes that know, that know nothing, and that do not answer: it never passes without being told."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.git_server import make_certificate, with_tls

CHECKOUT = Path(__file__).parents[2]
INDEX = "pypi.org"

Vulnerabilities = list[Mapping[str, object]] | None
"""What an index says of a release; None where it does not know it."""

KNOWN: Vulnerabilities = [
    {
        "id": "PYSEC-2019-217",
        "aliases": ["CVE-2019-10906"],
        "summary": "",
        "details": "",
        "fixed_in": ["2.10.1"],
        "withdrawn": None,
    }
]


@contextmanager
def index(folder: Path, knows: Callable[[str], Vulnerabilities]) -> Iterator[dict[str, str]]:
    """Serve what stands for the Python Package Index and KNOWS of releases; yield the variables by which it is reached."""
    certificate = make_certificate(folder / "index.pem", INDEX)

    class Index(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.connection = (
                with_tls(self.connection, certificate) if self.path.startswith(f"{INDEX}:") else self.connection
            )
            self.connection.do_handshake()
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def do_GET(self) -> None:
            found = knows(self.path.removeprefix("/pypi/").removesuffix("/json"))
            body = json.dumps({"vulnerabilities": found} if found is not None else {"message": "Not Found"}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield {"HTTPS_PROXY": address, "https_proxy": address, "REQUESTS_CA_BUNDLE": str(certificate)}
    finally:
        server.shutdown()
        server.server_close()


def audit(variables: Mapping[str, str], *locks: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name.lower() not in {"no_proxy", "http_proxy", "all_proxy"}}
    command = [sys.executable, str(CHECKOUT / "tools/audit.py"), *(str(CHECKOUT / "requirements" / lock) for lock in locks)]
    return subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("knows", "said"),
    [(lambda _: None, "cannot be read"), (lambda _: [], "has nothing on jinja2==2.10")],
    ids=["it answers 404", "it knows of no vulnerability at all"],
)
def test_where_nothing_is_known_it_fails_and_says_so(
    tmp_path: Path, knows: Callable[[str], Vulnerabilities], said: str
) -> None:
    with index(tmp_path, knows) as variables:
        done = audit(variables)
    assert done.returncode == 2
    assert said in done.stderr
    assert "neither good nor bad" in done.stderr
    assert "No known vulnerabilities" not in done.stdout + done.stderr


def test_where_nothing_answers_it_fails_and_says_so() -> None:
    done = audit({"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert "No known vulnerabilities" not in done.stdout + done.stderr


def test_of_an_index_that_knows_the_answer_counts(tmp_path: Path) -> None:
    asked: set[str] = set()

    def knows(release: str) -> Vulnerabilities:
        asked.add(release.partition("/")[0])
        return KNOWN if release == "jinja2/2.10" else []

    with index(tmp_path, knows) as variables:
        done = audit(variables, "hub-5.lock")
    assert done.returncode == 0, done.stderr
    assert asked == {"jinja2", "jupyterhub"}

    with index(tmp_path, lambda _: KNOWN) as variables:
        done = audit(variables, "hub-5.lock")
    assert done.returncode == 1
    assert "PYSEC-2019-217" in done.stdout


def test_a_package_that_the_index_does_not_know_is_not_passed_over(tmp_path: Path) -> None:
    with index(tmp_path, lambda release: KNOWN if release == "jinja2/2.10" else None) as variables:
        done = audit(variables, "hub-5.lock")
    assert done.returncode == 1
    assert "could not be audited: jupyterhub" in done.stderr
