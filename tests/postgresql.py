"""A real PostgreSQL on a Unix socket, as an account without rights, with a database for each test."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from guix_build_service.store.engine import open_database

ACCOUNT = "postgres"
"""Debian's package adds it; the server refuses to run as root."""

OWNER = "guix"


@dataclass(frozen=True)
class PostgreSQL:
    """A server that listens in FOLDER."""

    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, name: str) -> str:
        """Return the address of the database NAME, as the service's configuration has it."""
        return f"postgresql://{OWNER}@/{name}?host={self.folder}"

    def empty(self) -> str:
        """Make a database with nothing in it, and return its address."""
        return self._made_from("template0")

    def current(self) -> str:
        """Make a database of the newest schema, and return its address."""
        return self._made_from("newest")

    def prepare(self) -> None:
        """Make what `current` copies."""
        self._execute("CREATE DATABASE {}", "newest")
        open_database(self.url("newest")).dispose()

    def _made_from(self, template: str) -> str:
        name = f"test{next(self.numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return self.url(name)

    def _execute(self, statement: str, *names: str) -> None:
        with self.connected() as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def connected(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection to the server itself.  Raises `psycopg.OperationalError` where it does not answer."""
        return psycopg.connect(host=str(self.folder), user=OWNER, dbname="postgres", autocommit=True)


@contextmanager
def serve_postgresql() -> Iterator[PostgreSQL]:
    """Run a server until the context ends; it ends with us, however we end."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp"))  # a socket's address is short
    server = PostgreSQL(folder)
    programs = _programs()
    as_account = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        number = pwd.getpwnam(ACCOUNT)
        os.chown(folder, number.pw_uid, number.pw_gid)
        as_account += [f"--reuid={number.pw_uid}", f"--regid={number.pw_gid}", "--clear-groups"]
    made = [programs / "initdb", "--pgdata", folder / "data", "--username", OWNER, "--auth", "trust", "--no-sync"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": "/"}
    # An order of letters that is not that of their characters, as most servers have.
    made += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "de"]
    subprocess.run([*as_account, *made], check=True, **quiet)  # type: ignore[call-overload]
    # What a test leaves need not outlive a power cut.
    settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "full_page_writes": "off"}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*as_account, programs / "postgres", "-D", folder / "data", *words], cwd="/", stdout=log, stderr=log
        )
    try:
        _wait_until_it_answers(server, process)
        server.prepare()
        yield server
    finally:
        process.kill() if process.poll() is None else None
        process.wait()
        shutil.rmtree(folder)


def _programs() -> Path:
    """Return the folder of the newest server's programs on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise FileNotFoundError("There is no PostgreSQL: tools/prepare-machine development installs it.")
    return found[-1].parent


def _wait_until_it_answers(server: PostgreSQL, process: "subprocess.Popen[bytes]") -> None:
    while True:
        try:
            server.connected().close()
        except psycopg.OperationalError:
            assert process.poll() is None, (server.folder / "log").read_text()
            time.sleep(0.02)
        else:
            return
