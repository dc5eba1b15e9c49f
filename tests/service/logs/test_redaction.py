"""No secret reaches a log's file: not in pieces, not in another spelling, not on a disk that is full meanwhile."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guix_build_service.credentials.envelope import Secret
from guix_build_service.credentials.keys import GivenKeys, parse_keys
from guix_build_service.logs import redaction
from guix_build_service.logs.redaction import BLANK, LONGEST_LINE, SHORTEST, Redaction, forms, without_secrets
from guix_build_service.pipeline.job import MARK
from guix_build_service.pipeline.output import written_to_log
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.store import Store
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.vault.vault import Vault
from guix_environment.errors import HostRefused
from guix_environment.processes import run
from guix_environment.repository_url import RepositoryUrl
from tests.marked_processes import marked_with
from tests.service.pipeline.test_build_step import Reporter, job_with

SECRET = "correct horse/battery+staple:é"
TOKEN = "ghp_abcdefghijkl0123456789"
SPELLINGS = [
    SECRET,
    quote(SECRET),
    quote(SECRET, safe="").lower(),
    *(base64.b64encode(f"{user}:{SECRET} and more".encode()).decode() for user in ("a", "ab", "abc")),
    base64.urlsafe_b64encode(SECRET.encode()).decode(),
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:secret@forge.example/a", "https://[secret]@forge.example/a"),
        (f"token {TOKEN} used", "token [secret] used"),
        ("glpat-abcdefghijkl", "[secret]"),
        ("> Authorization: Basic dXNlcjpwYXNz", "> [secret]"),
        ("mail ada@forge.example", "mail ada@forge.example"),
        ("see https://forge.example/a@b", "see https://forge.example/a@b"),
    ],
)
def test_what_looks_like_a_secret_is_blanked(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_known_secret_is_blanked_however_it_is_spelled(spelling: str) -> None:
    shown = Redaction(forms(SECRET)).text(f"before {spelling} behind")
    assert BLANK in shown
    assert shown.startswith("before ")
    assert shown.endswith(" behind")
    for piece in (SECRET[:8], SECRET[-8:], quote(SECRET)[:12], base64.b64encode(SECRET.encode()).decode()[4:16]):
        assert piece.lower() not in shown.lower()


def test_what_is_too_short_to_be_told_from_other_text_is_not_looked_for() -> None:
    assert all(len(form) >= SHORTEST for form in forms("abc"))
    assert Redaction(forms("abc")).text("abcd") == "abcd"


def test_an_endless_line_is_cut_through_no_secret() -> None:
    secret, written = "hunter2-and-more", b""
    blanks = Redaction([secret])
    line = f"{secret}.".encode() * 20_000
    for start in range(0, len(line), 8191):
        written += blanks.feed(line[start : start + 8191])
    assert written, "not all of it waits for the line's end"
    assert written + blanks.end() == f"{BLANK}.".encode() * 20_000


def test_what_blanks_secrets_outlives_the_signals_that_end_a_service() -> None:
    source, writing = os.pipe()
    secrets = os.memfd_create("secrets")
    program = [sys.executable, "-I", "-S", redaction.__file__, str(source), str(secrets)]
    with subprocess.Popen(program, pass_fds=(source, secrets), stdout=subprocess.PIPE) as copying:
        os.close(source)
        assert copying.stdout is not None
        os.write(writing, b"one\n")
        assert copying.stdout.readline() == b"one\n"  # it has begun
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            copying.send_signal(number)
        os.write(writing, b"two\n")
        os.close(writing)
        assert copying.stdout.read() == b"two\n"
    assert copying.returncode == 0
    os.close(secrets)


LINES = st.lists(
    st.sampled_from(["plain ", "\n", SECRET, TOKEN, "https://a:b@c/d ", quote(SECRET), "x" * 5000, "\r"]), max_size=60
)


@given(LINES, st.lists(st.integers(1, 9000), min_size=1, max_size=8))
def test_it_is_the_same_in_whatever_pieces_it_comes(words: list[str], sizes: list[int]) -> None:
    # Apart from each other, as two tokens without anything in between are one.
    content = " ".join(words).encode()
    filtering, written, position, turn = Redaction(forms(SECRET)), b"", 0, 0
    while position < len(content):
        size = sizes[turn % len(sizes)]
        written += filtering.feed(content[position : position + size])
        position, turn = position + size, turn + 1
    assert written + filtering.end() == Redaction(forms(SECRET)).text(content.decode()).encode()


@pytest.mark.parametrize("secret", [SECRET, TOKEN, "https://ada:secret@forge.example/"])
@pytest.mark.parametrize("before", [0, 1, 1000, LONGEST_LINE - 5, LONGEST_LINE + 2000, 3 * LONGEST_LINE - 7])
def test_a_line_without_an_end_is_written_and_no_secret_in_it(secret: str, before: int) -> None:
    filtering = Redaction(forms(SECRET))
    content = b"." * before + b" " + secret.encode() + b" " + b"." * 3 * LONGEST_LINE
    written = b"".join(filtering.feed(content[at : at + 1000]) for at in range(0, len(content), 1000))
    assert len(written) > 2 * LONGEST_LINE  # what could be written is, before there is an end
    written += filtering.end()
    assert written == Redaction(forms(SECRET)).text(content.decode()).encode()


async def test_what_a_build_s_process_writes_is_blanked_before_it_is_on_the_disk(tmp_path: Path) -> None:
    _, job = job_with(tmp_path, "")
    job.log.keep_out(forms(SECRET))
    script = """
import os, sys, time
for spelling in sys.stdin.read().split("\\0"):
    line = f"It is {spelling}, isn't it\\n".encode()
    for at in range(0, len(line), 3):
        os.write(1, line[at : at + 3])
os.write(1, b"whole ")
os.write(2, b"to the end")
"""
    async with written_to_log(job) as output:
        words = ["python3", "-c", script]
        done = await run(
            words, environment={"PATH": os.environ["PATH"]}, timeout=60, output=output, given="\0".join(SPELLINGS).encode()
        )
    assert done.succeeded
    content = job.log.path.read_bytes()
    assert content.count(BLANK.encode()) == len(SPELLINGS)
    assert content.endswith(b"whole to the end")
    for spelling in SPELLINGS:
        assert spelling.encode() not in content


async def test_whoever_keeps_the_way_open_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.pipeline.output.GRACE", 0.5)
    _, job = job_with(tmp_path, "")
    script = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True); print('a line', flush=True)"
    async with written_to_log(job) as output:
        await run(
            ["python3", "-c", script], environment={"PATH": os.environ["PATH"], **job.marks}, timeout=60, output=output
        )
    assert job.log.path.read_text() == "a line\n"


async def test_who_stops_waiting_leaves_no_process(tmp_path: Path) -> None:
    _, job = job_with(tmp_path, "")

    async def write() -> None:
        async with written_to_log(job) as output:
            await run(["sleep", "600"], environment={"PATH": os.environ["PATH"], **job.marks}, timeout=600, output=output)

    task = asyncio.create_task(write())
    while len(marked_with(MARK, str(job.build))) < 2:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert marked_with(MARK, str(job.build)) == []


def test_a_disk_without_room_is_written_to_again_when_it_has_some(tmp_path: Path) -> None:
    full, descriptor = os.open("/dev/full", os.O_WRONLY), os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    place = os.dup(full)
    file = redaction.LogFile(place)
    file.write(b"lost\n")
    os.dup2(descriptor, place)
    file.write(b"kept\n")
    file.write(b"and this\n")
    assert (
        tmp_path / "log"
    ).read_text() == "\n[Lines are missing here: there was no room for them on the disk.]\nkept\nand this\n"
    for each in (full, descriptor, place):
        os.close(each)


async def test_a_build_s_log_is_kept_free_of_its_person_s_own_credential(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'service.sqlite'}")
    vault = Vault(CredentialRows(store), GivenKeys(parse_keys("ab" * 32)), tmp_path / "loans")
    await vault.put("ada", "127.0.0.1:1", Secret("ada", SECRET))
    workshop, job = job_with(tmp_path, "")
    job = replace(job, person="ada", repository=RepositoryUrl.parse("https://127.0.0.1:1/a"))
    assert await vault.to_keep_out("bob", job.repository) == ()
    assert await vault.to_keep_out("ada", RepositoryUrl.parse("https://other.example/a")) == ()
    pipeline = Pipeline(replace(workshop, secrets=vault.to_keep_out))
    with pytest.raises(HostRefused):
        await pipeline.make(job, Reporter())
    await job.log.say(f"A remark of {SECRET}.")
    assert job.log.path.read_text().endswith("A remark of [secret].\n")
    await store.close()


@pytest.mark.parametrize("line", [10, 700, 40_000])
def test_a_long_text_loses_its_secrets_wherever_it_is_taken_apart(line: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known, password = "\nof-two-lines", "https://ada:a-password@git.example/x"
    text = "".join(
        f"{'x' * (line + number % 90)} {TOKEN} {password}{known if number % 7 == 0 else ''}\n" for number in range(60)
    )
    assert TOKEN not in without_secrets(text)
    assert "a-password" not in without_secrets(text)
    assert "two-lines" not in Redaction([known]).text(text)
    in_parts = without_secrets(text)
    monkeypatch.setattr(redaction, "_AT_ONCE", len(text))
    assert without_secrets(text) == in_parts
