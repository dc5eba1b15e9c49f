"""How far a build is, from what Guix tells: what was recorded, what nobody expects, what builders would like to tell."""

import os
import re
import secrets
import socket
import subprocess
from pathlib import Path

import pytest

from guix_build_service.model.environments import BuildChanged, BuildState, NewEnvironment, Progress
from guix_build_service.pipeline import guix
from guix_build_service.pipeline.failures import without_daemon
from guix_build_service.pipeline.progress import HappeningsReader
from tests.git_server import GitServer
from tests.service.installation import ADA, Installation

HASH = "0123456789abcdfghijklmnpqrsvwxyz"
ITEM = f"/gnu/store/{HASH}"

RECORDED: tuple[tuple[str, Progress], ...] = (
    (
        f"""to-download {ITEM}-texinfo-6.8 6285712
to-download {ITEM}-gzip-1.14 109216
to-build {ITEM}-profile.drv
""",
        Progress("", 0, 3, 0, 6394928, ""),
    ),
    (
        f"substituter-started {ITEM}-texinfo-6.8\n",
        Progress("Downloading texinfo-6.8", 0, 3, 0, 6394928, "texinfo-6.8"),
    ),
    (
        f"download-progress {ITEM}-texinfo-6.8 - 1310750\n",
        Progress("Downloading texinfo-6.8", 0, 3, 1310750, 6394928, "texinfo-6.8"),
    ),
    (
        f"substituter-succeeded {ITEM}-texinfo-6.8\nsubstituter-started {ITEM}-gzip-1.14\n",
        Progress("Downloading gzip-1.14", 1, 3, 6285712, 6394928, "gzip-1.14"),
    ),
    (
        f"download-progress {ITEM}-gzip-1.14 52326 26000\n",
        Progress("Downloading gzip-1.14", 1, 3, 6311712, 6338038, "gzip-1.14"),
    ),
    (
        f"substituter-failed {ITEM}-gzip-1.14\nbuild-started {ITEM}-gzip-1.14.drv\n",
        Progress("Building gzip-1.14", 1, 3, 6285712, 6285712, "gzip-1.14"),
    ),
    (
        f"""build-succeeded {ITEM}-gzip-1.14.drv
build-started {ITEM}-profile.drv
""",
        Progress("Building profile", 2, 3, 6285712, 6285712, "profile"),
    ),
    (f"build-succeeded {ITEM}-profile.drv\n", Progress("Building profile", 3, 3, 6285712, 6285712, "profile")),
)
"""What Guix 1.5.0 told of a build, shortened, with a size as servers with a cache tell it, and a download that failed."""


def test_bytes_and_steps_of_what_was_recorded() -> None:
    reader = HappeningsReader()
    for told, expected in RECORDED:
        reader.feed(told)
        assert reader.progress == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "to-download",
        f"to-download {ITEM}-zoo-1 many",
        f"to-download {ITEM}-zoo-1 -5",
        f"to-download {ITEM}-zoo-1 {'9' * 16}",
        f"to-download /etc/passwd 5\nto-build {ITEM}-a b c d e",
        f"build-started {ITEM}-{'x' * 300}.drv",
        f"build-started {ITEM}-\x1b[2J.drv",
        f"unheard-of {ITEM}-zoo-1 5 5",
    ],
)
def test_what_nobody_expects_is_passed_over(line: str) -> None:
    reader = HappeningsReader()
    reader.feed(f"{line}\n")
    assert reader.progress == Progress()


def test_more_than_was_announced_never_comes() -> None:
    reader = HappeningsReader()
    reader.feed(f"to-download {ITEM}-zoo-1 100\nsubstituter-started {ITEM}-zoo-1\ndownload-progress {ITEM}-zoo-1 50 70\n")
    assert (reader.progress.bytes_done, reader.progress.bytes_total) == (50, 50)
    reader.feed(f"download-progress {ITEM}-other-1 - 30\n")
    assert (reader.progress.bytes_done, reader.progress.bytes_total) == (80, 80)


FORGED = (
    f"@ substituter-started {ITEM}-forged-1 substitute",
    f"@ download-started {ITEM}-forged-1 http://example.org/a 999999",
    f"@ download-progress {ITEM}-forged-1 http://example.org/a 999999 5",
    f"@ download-succeeded {ITEM}-forged-1 http://example.org/a 999999",
    f"@ substituter-succeeded {ITEM}-forged-1",
    f"@ build-started {ITEM}-forged-1.drv - x86_64-linux /var/log/x 1",
    f"@ build-succeeded {ITEM}-forged-1.drv -",
    "@ build-log 1 4",
    "@ build-log",
    "@ ",
)

HOSTILE = """(use-modules (guix) (guix gexp) (guix store))
(define file (cadr (command-line)))
(define builder
  #~(begin
      (use-modules (rnrs bytevectors) (ice-9 binary-ports) (ice-9 format))
      (define (say lines) (format (current-error-port) "~{~a~%~}" lines))
      (define lines '(FORGED))
      (say lines)
      ;; What is no UTF-8 becomes longer on its way, so that the length which the daemon told before is too short.
      (put-bytevector (current-error-port) (make-bytevector 3000 255))
      (newline (current-error-port))
      (say lines)
      (force-output (current-error-port))
      (sleep 1)
      ;; The beginning of a line, and later its end.
      (display "@ build-" (current-error-port))
      (force-output (current-error-port))
      (sleep 1)
      (say lines)
      (mkdir #$output)))
(with-store store
  (let ((derivation (run-with-store store (gexp->derivation (cadr (cdr (command-line))) builder))))
    (call-with-output-file file (lambda (port) (display (derivation-file-name derivation) port)))))
"""


def run_script(script: Path, *words: str) -> str:
    """Return what a script of Guix's says where it succeeds."""
    done = subprocess.run(["guix", "repl", "--", str(script), *words], capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, said
    return said


@pytest.mark.guix
def test_a_builder_tells_nothing_by_what_it_prints(tmp_path: Path) -> None:
    hostile, name = tmp_path / "hostile.scm", f"hostile-{secrets.token_hex(4)}"
    hostile.write_text(HOSTILE.replace("FORGED", " ".join(f'"{line}"' for line in FORGED)))
    run_script(hostile, str(tmp_path / "derivation"), name)
    derivation = (tmp_path / "derivation").read_text()
    happenings, answer = tmp_path / "happenings", tmp_path / "answer"
    said = run_script(guix.SCRIPTS / "build.scm", derivation, "600", "600", str(happenings), str(answer))
    told = [line for line in happenings.read_text().splitlines() if "hostile" in line or "forged" in line or not line]
    assert told == [f"{what} {derivation}" for what in ("to-build", "build-started", "build-succeeded")]
    # In the log it stands as what it is: all that the builder printed.
    for line in FORGED[:-1]:
        assert said.count(f"{line}\n") == 3, line
    assert f"successfully built {derivation}" in said
    assert "Backtrace" not in said
    [(item, size)] = guix.closure(guix.read_answer(answer))
    assert item.endswith(f"-{name}")
    assert size > 0


@pytest.mark.guix
def test_guix_that_waits_to_be_told_to_build_ends_with_the_service(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.scm"
    manifest.write_text('(specifications->manifest (list "sed"))')
    ours, theirs = socket.socketpair()
    command = ["guix", "repl", "--", str(guix.SCRIPTS / "lower.scm"), str(manifest), "-", "profile"]
    with ours, theirs, subprocess.Popen(command, stdin=theirs.fileno()) as waiting:
        assert ours.makefile("rb").readline().startswith(b"(ready ")
        assert waiting.poll() is None
        ours.shutdown(socket.SHUT_WR)
        assert waiting.wait() == 0


@pytest.mark.guix
def test_a_daemon_that_is_away_is_told_as_by_guix_build(tmp_path: Path) -> None:
    words = ["/gnu/store/x.drv", "600", "600", str(tmp_path / "happenings"), str(tmp_path / "answer")]
    done = subprocess.run(
        ["guix", "repl", "--", str(guix.SCRIPTS / "build.scm"), *words],
        env={**os.environ, "GUIX_DAEMON_SOCKET": str(tmp_path / "socket")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("guix build: error: failed to connect to")
    assert without_daemon(done.stderr)


@pytest.mark.guix
@pytest.mark.skipif(os.geteuid() != 0, reason="what others may need is removed only from a Guix of one's own")
async def test_bytes_of_a_real_download_are_told_while_it_comes(service: Installation, git_server: GitServer) -> None:
    package = "unzip"
    item = run_guix("build", package).strip()
    manifest = f'(specifications->manifest (list "{package}"))'
    git_server.commit("demo", {"manifest.scm": manifest})
    run_guix("gc", "--delete", *run_guix("gc", "--referrers", item).split(), item)
    asked = await service.manager.add_environment(NewEnvironment(git_server.url("demo")), ADA)
    assert asked.build is not None
    told = []
    async for event in service.manager.follow(asked.build.id, ADA):
        if isinstance(event, BuildChanged):
            told.append(event.build.progress)
            state = event.build.state
    assert state is BuildState.READY
    last = told[-1]
    assert last.done == last.total > 0
    assert last.bytes_done == last.bytes_total > 0
    came = [progress.bytes_done for progress in told]
    assert came == sorted(came)
    text = await service.log(asked.build.id)
    assert re.search(rf"substituting {item}\.\.\.\ndownloading from \S+ \.\.\.\n", text)
    assert "@ " not in text
    # Of each download one line tells what came, however long it took.
    assert text.count("transferred") <= text.count("substituting")


def run_guix(*words: str) -> str:
    """Return what Guix answers."""
    done = subprocess.run(["guix", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
