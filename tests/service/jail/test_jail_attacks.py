"""What manifests cannot do while they are run: each tries, in the jail, with the real Guix."""

import asyncio
import json
import os
import pwd
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from guix_build_service.command_line import main
from guix_build_service.jail.evaluate import evaluate, printed_by
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.jail.parts import evaluating_guix
from guix_build_service.jail.plan import Bounds, Jail
from guix_build_service.manifest.canonical import PackageList
from guix_build_service.pipeline.guix import listed, search_path
from guix_build_service.pipeline.read import read
from guix_build_service.program.application import account_name
from guix_environment.errors import EvaluationFailed, ManifestUnreadable, PackagesDefined
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import Commit
from tests.containers import ACCOUNT
from tests.git_server import GitServer
from tests.marked_processes import marked_with
from tests.service.git.test_repositories import Client

pytestmark = [pytest.mark.guix, pytest.mark.timeout(600)]

MARK = "GUIX_BUILD_SERVICE_TEST"
LAB = Path("/.guix/root")
"""The system whose program Guix is where these tests run in guixlab."""

# Each tries something and says what came of it, on a line of its own.
ATTEMPTS = {
    "the machine's accounts": '(call-with-input-file "/etc/passwd" read-line)',
    "the machine's secrets": '(call-with-input-file "/etc/shadow" read-line)',
    "homes": '(length (scandir "/root"))',
    "the top": '(scandir "/")',
    "what is in the store": '(length (scandir "/gnu/store"))',
    "the daemon's folder": '(file-exists? "/var/guix/daemon-socket/socket")',
    "a local socket": "(socket PF_UNIX SOCK_STREAM 0)",
    "the network": "(socket PF_INET SOCK_STREAM 0)",
    "network of another kind": "(socket PF_INET6 SOCK_DGRAM 0)",
    "the environment": "(map (lambda (line) (car (string-split line #\\=))) (environ))",
    "other processes": '(filter string->number (scandir "/proc"))',
    "ending others": "(kill OUTSIDE SIGKILL)",
    "a process": "(primitive-fork)",
    "a program": '(begin (system* "/usr/bin/touch" "/tmp/touched") (file-exists? "/tmp/touched"))',
    "a shell": '(begin (system "echo > /tmp/echoed") (file-exists? "/tmp/echoed"))',
    "writing the repository": '(call-with-output-file "/repository/manifest.scm" (lambda (port) (display 1 port)))',
    "a file more in it": '(call-with-output-file "/repository/new" (lambda (port) (display 1 port)))',
    "writing to Guix": '(call-with-output-file "/usr/new" (lambda (port) (display 1 port)))',
    "writing to the top": '(mkdir "/new")',
    "filling the memory's folder": '(fill "/tmp/large")',
    "filling the home": '(fill "/home/large")',
    "more memory": "(setrlimit 'as #f #f)",
    "more files": "(setrlimit 'nofile 10000 10000)",
    "another namespace": '(call "unshare" #x10000000)',
    "tracing": '(call "ptrace" 0)',
    "mounting": '(mount "none" "/tmp" "tmpfs")',
    "another account": "(setuid 0)",
    "who it is": "(getuid)",
    "a device": '(mknod "/tmp/device" \'block-special #o600 2049)',
    "the machine's name": "(gethostname)",
    "the repository": '(call-with-input-file "/repository/data.txt" read-line)',
}

PROGRAM = """
(use-modules (ice-9 ftw) (ice-9 rdelim) (guix build syscalls) (srfi srfi-1)
             (system foreign) (rnrs bytevectors))
(define (fill file)
  (let ((block (make-bytevector 1048576 1)) (port (open-file file "w0b")))
    (let loop ((count 0))
      (if (catch #t (lambda () (put-bytevector port block) #t) (lambda _ #f)) (loop (+ count 1)) count))))
(define (call name . arguments)
  (apply (pointer->procedure int (dynamic-func name (dynamic-link)) (map (const int) arguments)) arguments))
(use-modules (ice-9 binary-ports))
(define-syntax-rule (attempt name expression)
  (let ((what (catch #t (lambda () (object->string expression)) (lambda arguments (format #f "refused: ~a" arguments)))))
    (format #t "~a = ~a~%" name (string-map (lambda (c) (if (char=? c #\\newline) #\\space c)) what))))
"""


async def jail(folder: Path, **bounds: float) -> Jail:
    root = LAB if LAB.exists() else Path("/")
    guix = GuixCommand("guix", folder, account_name(), search_path())
    return Jail(await evaluating_guix(guix, root), ACCOUNT, replace(Bounds(seconds=500.0), **bounds))  # type: ignore[arg-type]


async def run(folder: Path, text: str, marks: Mapping[str, str] | None = None, **bounds: float) -> PackageList:
    """Return what the manifest TEXT names when it is run."""
    return await evaluate(await jail(folder, **bounds), {"manifest.scm": text.encode()}, "manifest.scm", marks or {})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of each attempt; all are made by one manifest."""
    program = PROGRAM + "".join(f'(attempt "{name}" {code})\n' for name, code in ATTEMPTS.items())
    program = program.replace("OUTSIDE", str(os.getpid())) + "(specifications->manifest '())\n"
    files = {"manifest.scm": program.encode(), "data.txt": b"of the repository"}

    async def printed() -> bytes:
        return await printed_by(await jail(tmp_path_factory.mktemp("jail")), files, "manifest.scm", {})

    text = asyncio.run(printed()).decode()
    found = dict(re.findall(r"^(.*?) = (.*)$", text, re.MULTILINE))
    assert set(found) == set(ATTEMPTS), text
    return found


REFUSED = [
    "the machine's accounts", "the machine's secrets", "homes", "a local socket", "the network", "network of another kind",
    "ending others", "a process", "writing the repository", "a file more in it", "writing to Guix", "writing to the top",
    "more memory", "more files", "mounting", "another account", "a device",
]  # fmt: skip


@pytest.mark.parametrize("attempt", REFUSED)
def test_what_is_tried_is_refused(outcomes: Mapping[str, str], attempt: str) -> None:
    assert outcomes[attempt].startswith("refused: "), outcomes[attempt]


@pytest.mark.parametrize("attempt", ["the daemon's folder", "a program", "a shell"])
def test_what_is_tried_has_no_effect(outcomes: Mapping[str, str], attempt: str) -> None:
    assert outcomes[attempt] == "#f" or outcomes[attempt].startswith("refused: ")


@pytest.mark.parametrize("attempt", ["another namespace", "tracing"])
def test_system_calls_fail(outcomes: Mapping[str, str], attempt: str) -> None:
    assert outcomes[attempt] == "-1"


def test_there_is_nothing_of_the_machine_but_guix(outcomes: Mapping[str, str]) -> None:
    seen = set(re.findall(r'"([^"]*)"', outcomes["the top"])) - {".", ".."}
    guix = {"usr", "bin", "sbin", "lib", "lib64", "etc", "gnu"}
    assert seen - guix == {"dev", "evaluation", "home", "proc", "repository", "sys", "tmp"}


def test_it_is_the_only_process_and_nobody_in_particular(outcomes: Mapping[str, str]) -> None:
    assert outcomes["other processes"] == '("1")'
    assert outcomes["who it is"] == "1000"
    assert outcomes["the machine's name"] != socket.gethostname()


def test_nothing_of_the_services_environment_is_there(outcomes: Mapping[str, str]) -> None:
    names = set(re.findall(r'"([^"]*)"', outcomes["the environment"]))
    assert names <= {
        *("PATH", "HOME", "XDG_CACHE_HOME", "LC_ALL", "NO_COLOR", "TERM", "GUILE_AUTO_COMPILE", "GC_MARKERS"),
        *("GUIX_PROFILE", "GIT_EXEC_PATH", "GUIX_LOCPATH", "SSL_CERT_DIR", "GUIX_UNINSTALLED"),
    }


def test_the_repository_can_be_read(outcomes: Mapping[str, str]) -> None:
    assert outcomes["the repository"] == '"of the repository"'


@pytest.mark.parametrize("attempt", ["filling the memory's folder", "filling the home"])
def test_folders_in_memory_are_bounded(outcomes: Mapping[str, str], attempt: str) -> None:
    assert int(outcomes[attempt]) <= 8


async def test_threads_are_bounded(tmp_path: Path) -> None:
    program = "(let loop () (call-with-new-thread (lambda () (sleep 100000))) (loop))"
    with pytest.raises(EvaluationFailed) as caught:
        await run(tmp_path, f"(use-modules (ice-9 threads)) {program}")
    assert caught.value.details.get("limit") != "time"


async def test_memory_is_bounded(tmp_path: Path) -> None:
    program = "(let loop ((kept '())) (loop (cons (make-bytevector 20000000 1) kept)))"
    with pytest.raises(EvaluationFailed) as caught:
        await run(tmp_path, f"(use-modules (rnrs bytevectors)) {program}", memory=768 * 1024**2)
    assert caught.value.details["limit"] == "memory"


async def test_a_loop_without_end_is_ended(tmp_path: Path) -> None:
    mark = secrets.token_hex(8)
    with pytest.raises(EvaluationFailed) as caught:
        await run(tmp_path, "(let loop () (loop))", {MARK: mark}, seconds=3.0)
    assert caught.value.details["limit"] == "time"
    assert marked_with(MARK, mark) == []


async def test_output_without_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        await run(tmp_path, "(let loop () (display (make-string 10000 #\\x)) (loop))")
    assert caught.value.details["limit"] == "output"


async def test_nothing_is_left_of_a_run_that_nobody_waits_for(tmp_path: Path) -> None:
    mark = secrets.token_hex(8)
    running = asyncio.create_task(run(tmp_path, "(sleep 100000)", {MARK: mark}))
    while not await asyncio.to_thread(marked_with, MARK, mark):
        assert not running.done()
        await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert marked_with(MARK, mark) == []


MEANT = """
(use-modules (gnu packages base) (gnu packages gcc) (guix packages) (srfi srfi-1))
(define names (with-input-from-file (string-append (dirname (current-filename)) "/names") read))
(concatenate-manifests
  (list (packages->manifest (list sed `(,gcc-13 "lib") (list (specification->package "git") "send-email")))
        (specifications->manifest (map symbol->string names))
        (package->development-manifest (specification->package "hello"))))
"""


async def test_what_it_names_means_the_same_outside(tmp_path: Path) -> None:
    files = {"manifest.scm": MEANT.encode(), "names": b"(grep glib:bin)"}
    found = await evaluate(await jail(tmp_path), files, "manifest.scm", {})
    assert [entry.name for entry in found.entries] == ["sed", "gcc-13", "git", "grep", "glib", "hello"]
    guix = GuixCommand("guix", tmp_path, account_name(), search_path())
    same = await listed(guix, found, tmp_path)
    shown = [(item.name, item.output) for item in same]
    assert shown[:5] == [("sed", "out"), ("gcc", "lib"), ("git", "send-email"), ("grep", "out"), ("glib", "bin")]
    # What hello is built with.
    assert {"make", "gcc", "binutils"} <= {name for name, _ in shown[5:]}


async def test_packages_of_its_own_are_refused(tmp_path: Path) -> None:
    text = """
    (use-modules (guix packages) (gnu packages base))
    (define mine (package (inherit hello) (name "mine")))
    (define changed ((package-input-rewriting `((,sed . ,grep))) hello))
    (packages->manifest (list sed mine changed))
    """
    with pytest.raises(PackagesDefined) as caught:
        await run(tmp_path, text)
    own = caught.value.details["packages"]
    # The third has the name and the version of Guix's own, and is another.
    assert isinstance(own, list)
    assert [name.partition("@")[0] for name in own] == ["mine", "hello"]


async def test_what_is_wrong_with_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed, match="no-such-variable"):
        await run(tmp_path, "(packages->manifest (list no-such-variable))")
    with pytest.raises(EvaluationFailed, match="is no manifest"):
        await run(tmp_path, '(list "sed")')


async def test_a_manifest_of_a_repository_is_run_where_that_is_allowed(tmp_path: Path, git_server: GitServer) -> None:
    commit = Commit(git_server.commit("lab", {"env/manifest.scm": MEANT, "env/names": "(grep)", "other": ""}))
    (tmp_path / "client").mkdir()
    client = Client(tmp_path / "client", git_server.host)
    job, _ = await client.fetched(git_server.url("lab"), subdirectory="env")
    with pytest.raises(ManifestUnreadable):
        await read(job, client.git, commit)
    guix = GuixCommand("guix", tmp_path, account_name(), search_path())
    account = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "nobody"
    allowed = Evaluation(guix, (git_server.host.partition(":")[0],), account, LAB if LAB.exists() else Path("/"))
    with pytest.raises(ManifestUnreadable):
        await read(job, client.git, commit, evaluation=replace(allowed, repositories=("other.example",)))
    found = await read(job, client.git, commit, evaluation=allowed)
    assert [entry.name for entry in found.packages.entries] == ["sed", "gcc-13", "git", "grep", "hello"]
    assert "was run" in found.remarks[0]


def test_a_file_is_run_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.scm").write_text(MEANT)
    (tmp_path / "names").write_text("(grep)")
    words = ["read", str(tmp_path / "manifest.scm"), "--json"]
    if os.geteuid() == 0:
        words += ["--account=nobody"]
    if LAB.exists():
        words += [f"--guix-root={LAB}"]
    assert main([*words, "--no-guix"]) == 1
    assert json.loads(capsys.readouterr().out)["refusals"]
    assert main([*words, "--evaluate"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["evaluated"]
    assert [item["name"] for item in answer["packages"]][:3] == ["sed", "gcc", "git"]
