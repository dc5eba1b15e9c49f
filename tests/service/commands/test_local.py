"""Commands on the service's own machine: with the service that runs, and where none does."""

import asyncio
import fcntl
import http.client
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tornado.netutil import bind_unix_socket

from guix_build_service.commands.local import LocalService
from guix_build_service.commands.outcomes import ExitStatus, ServiceUnreachable
from guix_build_service.local.door import connected, socket_in
from guix_build_service.local.started import KEYS, Started, Work
from guix_build_service.local.turn import held, service_turn
from guix_build_service.program.application import account_name
from guix_build_service.web.application import make_local_application, make_server
from guix_environment.errors import FolderInUse, RecordInvalid
from tests.git_server import GitServer
from tests.postgresql import PostgreSQL
from tests.service.commands.conftest import Said
from tests.service.program.test_application import answer, running
from tests.service.web.conftest import Site
from tests.service.web.real_hub import CHECKOUT

SOMEBODY = 54321
"""The number of an account that nothing belongs to."""

MANIFEST = {"manifest.scm": '(specifications->manifest (list "python"))\n'}


class Place:
    """The folder of a service, and people of its machine in front of it."""

    def __init__(self, folder: Path, git: GitServer) -> None:
        self.outer, self.folder = folder, folder / "service"
        self.release = folder / "release"
        guix = folder / "guix"
        # No Guix does so: it waits for as long as a test wants, and then fails.
        guix.write_text(f"#!/bin/sh\nwhile ! test -e {self.release}; do sleep 0.05; done\nexit 1\n")
        guix.chmod(0o755)
        git.commit("plots", MANIFEST)
        self.address = git.url("plots")
        self.options: tuple[str, ...] = (f"--BuildService.guix={guix}", f"--BuildService.private_hosts={git.host}")

    def settle(self, *options: str, keys: bool = False, roots: Path | None = None) -> None:
        """Have it be as if a service had been started here with OPTIONS, and had ended."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        folders = {
            "service_folder": self.folder,
            "records_folder": self.outer / "records",
            "roots_folder": roots or self.outer / "roots",
        }
        words = (*(f"--BuildService.{name}={path}" for name, path in folders.items()), *self.options, *options)
        variables = {"PATH": os.environ["PATH"]}
        Started(words=words, directory=self.outer, variables=variables, given_keys=keys).write(self.folder)

    def begun(self, *words: str, user: int | None = None) -> "subprocess.Popen[str]":
        """Begin with a command."""
        variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-m", "guix_build_service", *words, "--folder", str(self.outer)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=variables, cwd="/", stdout=pipe, stderr=pipe, text=True, user=user, group=user)

    def done(self, *words: str, user: int | None = None) -> Said:
        """Do a command."""
        return said(self.begun(*words, user=user))

    def ask(self, path: str) -> object:
        """Ask the API at the socket itself."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = connected(self.folder, 60)
        connection.request("GET", f"/api/v1/{path}")
        return json.load(connection.getresponse())

    def state(self) -> str:
        """Return how the one environment stands, as whoever serves now knows it; empty while nobody does."""
        try:
            found = self.ask("environments")
        except OSError:
            return ""
        assert isinstance(found, dict)
        return str(found["environments"][0]["state"]) if found["environments"] else ""


def said(process: "subprocess.Popen[str]") -> Said:
    out, err = process.communicate()
    assert "Traceback" not in err, err
    return Said(process.returncode, out, err)


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.05)


def is_free(folder: Path) -> bool:
    try:
        with held(folder):
            return True
    except FolderInUse:
        return False


@pytest.fixture
def place(tmp_path: Path, git_server: GitServer) -> Place:
    """Give the folder of a service that could fetch from a Git server, and waits when it needs Guix."""
    return Place(tmp_path, git_server)


@pytest.fixture
def open_place(git_server: GitServer) -> Iterator[Place]:
    """Give one whose outer folder others can pass through."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Place(Path(name), git_server)


def test_a_running_service_is_asked_without_a_token(place: Place) -> None:
    with running(place.outer, *place.options) as (process, address):
        answer(f"{address}health")
        assert stat.S_IMODE((place.folder / "local.sock").stat().st_mode) == 0o600
        added = place.done("add", place.address, "--json")
        assert (added.status, added.err) == (ExitStatus.DONE, ""), added.err
        wait_until(lambda: place.state() == "reading")
        listed = place.done("list", "--json").json
        assert isinstance(listed, list)
        account = f"local/{account_name()}"
        assert [each["owner"] for each in listed] == [account]
        deeds = place.ask("audit")
        assert isinstance(deeds, dict)
        assert [(deed["who"], deed["action"]) for deed in deeds["entries"]] == [(account, "added")]
        assert place.done("delete", place.address, "--yes").status == ExitStatus.DONE
        for words, why in ((["tokens"], "Tokens are the hub's"), (["sessions"], "Only users of the hub have sessions")):
            refused = place.done(*words, "list")
            assert (refused.status != ExitStatus.DONE, why in refused.err) == (True, True), refused.err
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert KEYS not in (place.folder / "started.json").read_text()


def test_where_no_service_runs_a_command_is_served_by_itself_and_leaves_nothing_behind(place: Place) -> None:
    place.settle()
    place.release.touch()
    built = place.done("build", place.address)
    assert built.status == ExitStatus.BUILD_FAILED, built.err
    assert "The build is failed" in built.err
    shown = place.done("show", place.address, "--json")
    assert shown.field("state") == "failed"
    assert is_free(place.folder)
    with pytest.raises(ConnectionRefusedError):
        connected(place.folder, 1)


def test_a_build_goes_on_with_the_service_that_is_started_meanwhile(place: Place) -> None:
    place.settle()
    command = place.begun("build", place.address, "--json")
    wait_until(lambda: place.state() == "reading")
    with running(place.outer, *place.options) as (_, address):
        answer(f"{address}health")
        wait_until(lambda: place.state() == "reading")
        assert not is_free(place.folder)
        place.release.touch()
        ended = said(command)
    assert ended.status == ExitStatus.BUILD_FAILED, ended.err
    assert "Trying again" in ended.err
    build = ended.field("build")
    assert isinstance(build, dict)
    assert build["error"]["code"] != "build-interrupted"


def test_who_comes_second_is_served_too_and_goes_on_when_the_first_one_is_stopped(place: Place) -> None:
    place.settle()
    first = place.begun("build", place.address)
    wait_until(lambda: place.state() == "reading")
    assert place.done("list").out.split("\n")[1].split()[1] == "reading"
    second = place.begun("log", "-f", place.address)
    assert second.stdout is not None
    line = second.stdout.readline()
    first.send_signal(signal.SIGINT)
    stopped = said(first)
    assert (stopped.status, stopped.out) == (ExitStatus.INTERRUPTED, "")
    assert "goes on when the service runs again" in stopped.err
    wait_until(lambda: place.state() == "reading")
    place.release.touch()
    followed = said(second)
    assert followed.status == ExitStatus.BUILD_FAILED, followed.err
    assert (line + followed.out).count(line) >= 1


def test_what_serves_a_command_ends_with_it_in_whatever_way(place: Place) -> None:
    place.settle()
    command = place.begun("build", place.address)
    wait_until(lambda: place.state() == "reading")
    command.kill()
    command.communicate()
    wait_until(lambda: is_free(place.folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in the place of another account")
def test_root_leaves_nothing_of_its_own_in_the_services_folder(open_place: Place) -> None:
    open_place.settle()
    for path in (open_place.outer, *open_place.outer.rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)
    open_place.release.touch()
    assert open_place.done("build", open_place.address).status == ExitStatus.BUILD_FAILED
    found = [path for path in open_place.outer.rglob("*") if path.lstat().st_uid != SOMEBODY]
    assert found == [open_place.release]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_another_account_is_not_let_in(open_place: Place) -> None:
    open_place.settle()
    closed = open_place.done("list", "--json", user=SOMEBODY)
    open_place.folder.chmod(0o711)
    (open_place.folder / "started.json").chmod(0o644)
    open_to_pass = open_place.done("list", "--json", user=SOMEBODY)
    for refused in (closed, open_to_pass):
        assert (refused.status, refused.field("error")["code"]) == (ExitStatus.NOT_ALLOWED, "not-ours")  # type: ignore[index]
        assert "Be root, or the account that the service runs as" in refused.err
    assert not (open_place.folder / "service.sqlite").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
async def test_another_account_is_refused_even_at_an_open_socket(site: Site) -> None:
    program = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("GET", "/api/v1/environments", headers={"Authorization": "token token-root"})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""
    server = make_server(make_local_application(site.manager, site.settings))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        with socket_in(folder) as path:
            server.add_socket(bind_unix_socket(path, mode=0o666))

        async def ask(user: int) -> str:
            command = [sys.executable, "-c", program, f"{folder}/local.sock"]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, user=user, check=True)
            return str(done.stdout)

        assert (await ask(0)).startswith("200 ")
        refused = await ask(SOMEBODY)
        assert refused.startswith("403 ")
        assert "no-access" in refused
        server.stop()
        await server.close_all_connections()


def test_what_keeps_a_command_from_its_folder_is_said(place: Place) -> None:
    assert place.done("list").status == ExitStatus.MISUSED, "there is none"
    place.folder.mkdir(mode=0o700)
    never = place.done("list")
    assert (never.status, "No service was ever started" in never.err) == (ExitStatus.MISUSED, True)
    place.settle(keys=True)
    with sqlite3.connect(place.folder / "service.sqlite") as database:
        database.execute("create table alembic_version (version_num varchar(32) not null)")
        database.execute("insert into alembic_version values ('9999')")
    newer = place.done("list", "--json")
    # The service had its keys in a variable: no other key takes their place.
    assert not (place.folder / "credential-keys").exists()
    assert newer.status == ExitStatus.UNREACHABLE
    assert "a newer release has used it" in newer.err
    assert newer.field("error")["code"] == "service-unreachable"  # type: ignore[index]


def test_settings_that_others_could_have_written_are_not_used(place: Place) -> None:
    place.settle()
    Started.read(place.folder)
    for path in (place.folder / "started.json", place.folder):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IWOTH)
        with pytest.raises(RecordInvalid, match="by others"):
            Started.read(place.folder)
        path.chmod(mode)
    (place.folder / "started.json").write_text("{}")
    with pytest.raises(RecordInvalid, match="damaged"):
        Started.read(place.folder)


async def test_one_process_works_with_a_folder_and_a_service_comes_first(tmp_path: Path) -> None:
    async with service_turn(tmp_path):
        with pytest.raises(FolderInUse, match="Another process"), held(tmp_path):
            pass
        with pytest.raises(FolderInUse, match="Another service"):
            async with service_turn(tmp_path, 0.01):
                pass
    with held(tmp_path):
        waiting = asyncio.create_task(enter(tmp_path))
        with (tmp_path / "wanted").open() as wanted:
            while True:
                try:
                    fcntl.flock(wanted, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    fcntl.flock(wanted, fcntl.LOCK_UN)
                except BlockingIOError:
                    break
                await asyncio.sleep(0.01)
        assert not waiting.done()
    await waiting


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in the place of another account")
def test_what_root_locks_can_be_locked_by_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, SOMEBODY)
    with held(tmp_path):
        assert {path.name: path.stat().st_uid for path in tmp_path.iterdir()} == {"lock": SOMEBODY, "wanted": SOMEBODY}


async def enter(folder: Path) -> None:
    async with service_turn(folder):
        pass


def test_a_folder_that_another_process_does_not_let_go_of_ends_the_command(place: Place) -> None:
    place.settle()
    with (
        held(place.folder),
        LocalService(place.folder, Work.LOOK, seconds=0) as service,
        pytest.raises(ServiceUnreachable, match="Another process works with"),
    ):
        service.connect(1)


def test_with_a_database_that_several_share_nobody_waits_for_a_folder(place: Place, postgresql: PostgreSQL) -> None:
    place.settle(f"--BuildService.database_url={postgresql.current()}")
    with held(place.folder):
        assert place.done("list").status == ExitStatus.DONE


@pytest.mark.guix
@pytest.mark.timeout(300)
def test_a_folder_is_built_by_the_real_guix_with_nobody_but_the_command(
    tmp_path: Path, git_server: GitServer, guix_profiles: Path
) -> None:
    place = Place(tmp_path, git_server)
    place.options = (f"--BuildService.file_repositories={git_server.folder}",)
    place.settle(roots=guix_profiles)
    built = place.done("build", f"{git_server.folder}/plots.git", "--json")
    assert built.status == ExitStatus.DONE, built.err
    assert built.field("state") == "ready"
    assert "building" in built.err, "how far it is"
    listed = place.done("list", "--json", "--state", "ready").json
    assert isinstance(listed, list)
    assert listed[0]["version"]["packages"][0] == "python"
    assert is_free(place.folder)
