"""Where the service is and who asks: no secret in an argument, and none sent where others can have it."""

import os
import socket
import ssl
import subprocess
import sys
from email.message import Message
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest

from guix_build_service.command_line import OVERVIEW, main
from guix_build_service.commands import program
from guix_build_service.commands.access import (
    ADDRESS,
    FOLDER,
    TOKEN,
    TOKEN_FILE,
    Access,
    access_from,
    local_folder,
    service_address,
)
from guix_build_service.commands.local import LocalService
from guix_build_service.commands.outcomes import (
    AnswerNotUnderstood,
    CommandMisused,
    ExitStatus,
    RefusedByService,
    ServiceUnreachable,
    TokenMissing,
)
from guix_build_service.commands.transport import plainly, refusal_in
from guix_build_service.program.application import BuildService
from tests.service.commands.conftest import Terminal, wire
from tests.service.web.conftest import Site
from tests.service.web.real_hub import CHECKOUT

HUB = "https://hub.example"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (HUB, f"{HUB}/services/guix/"),
        (f"{HUB}/base/", f"{HUB}/base/services/guix/"),
        (f"{HUB}/base/services/envs", f"{HUB}/base/services/envs/"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/services/guix/"),
        ("http://[::1]:8000", "http://[::1]:8000/services/guix/"),
    ],
)
def test_the_address_of_the_hub_is_enough(given: str, meant: str) -> None:
    assert service_address(given) == meant


@pytest.mark.parametrize(
    "given",
    [
        "", "hub.example", "ftp://hub.example", "https://", "https://hub.example:x", "https://hub.example/?q", "file:///etc",
        "https://ada:secret@hub.example", "https://hub.example/a b", "https://hub.example/\n", "http://hub.example",
        "http://127.0.0.1.example", "https://[::1", "http://2130706433",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_and_a_password_is_not_repeated(given: str) -> None:
    with pytest.raises(CommandMisused) as refused:
        service_address(given)
    assert refused.value.hint
    assert "secret" not in refused.value.message + refused.value.hint


def test_sending_it_unencrypted_must_be_wanted() -> None:
    assert service_address("http://hub.example", plain_http=True) == "http://hub.example/services/guix/"


def test_the_service_of_this_machine_is_meant_where_nothing_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meant(variables: dict[str, str], named: str = "", *, wanted: bool = False) -> Path | None:
        return local_folder(variables, wanted=wanted, named=named, address="")

    monkeypatch.setattr("guix_build_service.commands.access.STATE_FOLDER", tmp_path / "state")
    assert meant({}) is None, "there is none"
    (tmp_path / "state/service").mkdir(parents=True)
    assert meant({}) == tmp_path / "state/service"
    assert meant({FOLDER: str(tmp_path)}) == tmp_path
    for variable in (ADDRESS, TOKEN, TOKEN_FILE):
        assert meant({variable: "x", FOLDER: str(tmp_path)}) is None
        assert meant({variable: "x"}, wanted=True) == tmp_path / "state/service"
        assert meant({variable: "x"}, str(tmp_path)) == tmp_path


def write(path: Path, text: str = "file-token\n", mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_token_is_in_a_variable_or_in_a_file_of_ones_own(tmp_path: Path) -> None:
    variables = {ADDRESS: HUB, "HOME": str(tmp_path)}
    with pytest.raises(TokenMissing, match="There is no token"):
        access_from(variables)
    write(tmp_path / ".config/guix-build-service/token")
    assert access_from(variables).token == "file-token"
    named = write(tmp_path / "named", "named-token")
    assert access_from({**variables, TOKEN_FILE: str(named)}).token == "named-token"
    assert access_from({**variables, TOKEN_FILE: str(named), TOKEN: "variable-token"}).token == "variable-token"
    assert access_from({**variables, "XDG_CONFIG_HOME": str(tmp_path / ".config")}).token == "file-token"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path / "token", mode=mode)
    with pytest.raises(TokenMissing, match="not yours alone") as refused:
        access_from({ADDRESS: HUB, TOKEN_FILE: str(file)})
    assert "chmod 600" in refused.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "token")
    os.chown(file, 12345, -1)
    with pytest.raises(TokenMissing, match="not yours alone"):
        access_from({ADDRESS: HUB, TOKEN_FILE: str(file)})


@pytest.mark.parametrize("kind", ["folder", "pipe", "empty", "lines", "nowhere"])
def test_what_holds_no_token_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "token"
    if kind == "folder":
        place.mkdir(mode=0o700)
    elif kind == "pipe":
        os.mkfifo(place, 0o600)
    elif kind != "nowhere":
        write(place, "" if kind == "empty" else "one\ntwo\n")
    with pytest.raises(TokenMissing):
        access_from({ADDRESS: HUB, TOKEN_FILE: str(place)})


def test_a_token_is_not_shown_with_its_access() -> None:
    assert "a-secret" not in repr(Access(HUB, "a-secret"))


async def test_it_is_no_argument(terminal: Terminal) -> None:
    assert (await terminal("list", "--token", "x")).status == ExitStatus.MISUSED


async def test_who_the_hub_does_not_know_is_told_so(terminal: Terminal) -> None:
    refused = await terminal("list", "--json", person="nobody")
    assert refused.status == ExitStatus.NOT_ALLOWED
    assert refused.field("error")["code"] == "not-logged-in"  # type: ignore[index]
    assert "token-nobody" not in refused.out + refused.err
    assert (await terminal("list", person="stranger")).status == ExitStatus.NOT_ALLOWED
    assert (await terminal("list", person="ada", **{TOKEN: ""})).status == ExitStatus.NOT_ALLOWED


async def test_without_an_address_it_asks_for_one(terminal: Terminal) -> None:
    refused = await terminal("list", **{ADDRESS: ""})
    assert refused.status == ExitStatus.MISUSED
    assert ADDRESS in refused.err


async def test_a_token_does_not_go_where_a_redirection_leads(site: Site, terminal: Terminal) -> None:
    async with wire(site) as elsewhere:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere.address}\r\nContent-Length: 0\r\n\r\n"
        async with wire(site, answer.encode()) as first:
            refused = await terminal("list", address=first.address)
        assert refused.status == ExitStatus.UNREACHABLE
        assert "sends elsewhere" in refused.err
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "does not understand"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<p>no</p>", "does not understand"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "is not the service (404)"),
        (b'HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n{"error":"no"}', "is not the service (404)"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "answers 502 in its place"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000, "is not the service (404)"),
        (b"nonsense\r\n\r\n", "was lost"),
        (b"", "was lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "was lost"),
    ],
)
async def test_what_is_no_answer_of_the_services_is_told_in_plain_words(
    site: Site, terminal: Terminal, answer: bytes, said: str
) -> None:
    async with wire(site, answer) as broken:
        refused = await terminal("list", address=broken.address)
    assert refused.status == ExitStatus.UNREACHABLE
    assert said in refused.err
    assert "Traceback" not in refused.err


async def test_an_answer_without_an_end_is_not_kept(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.commands.transport.LARGEST_ANSWER", 10)
    said = await terminal("list")
    assert (said.status, "more than any such service" in said.err) == (ExitStatus.UNREACHABLE, True)


async def test_what_stays_on_this_machine_goes_to_no_proxy(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    assert (await terminal("list")).status == ExitStatus.DONE


async def test_a_folder_in_nobodys_home_is_refused(terminal: Terminal) -> None:
    place = "~nobody-has-this-name/plots"
    for words in (["list", "--folder", place], ["build", place]):
        said = await terminal(*words)
        assert (said.status, f"cannot be told where {place} is" in said.err) == (ExitStatus.MISUSED, True)


async def test_words_that_are_no_text_are_looked_for_all_the_same(terminal: Terminal) -> None:
    assert (await terminal("list", "--text", "\udcff", "--json")).out


@pytest.mark.parametrize("words", [["list", "--json", "--service", "none"], ["completion", "bash"]], ids=" ".join)
def test_what_nobody_can_read_is_no_fault_of_ours(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full, os.fdopen(writer, "wb") as left:
        command = [sys.executable, "-m", "guix_build_service", *words]
        ends = [
            subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT, check=False)
            for output in (full, left)
        ]
    assert [each.returncode for each in ends] == [ExitStatus.REFUSED, ExitStatus.READER_LEFT]
    assert [each.stderr for each in ends] == [
        "guix-build-service: The answer cannot be written: No space left on device.\n",
        "",
    ]


def test_somebody_may_press_it_once_more_while_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(LocalService):
        """One that takes its time to start, and to end."""

        def connect(self, seconds: float) -> socket.socket:
            del seconds
            raise KeyboardInterrupt

        def __exit__(self, *ended: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(program, "LocalService", Slow)
    assert program.main(["list", "--folder", str(tmp_path)], {}) == ExitStatus.INTERRUPTED
    assert capsys.readouterr().err == f"{program.STOPPED}\n"


async def test_where_nothing_answers_is_told_in_plain_words(terminal: Terminal) -> None:
    refused = await terminal("list", address="http://127.0.0.1:9/")
    assert refused.status == ExitStatus.UNREACHABLE
    assert "Nothing answers at 127.0.0.1:9." in refused.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (URLError(ssl.SSLCertVerificationError(1, "self-signed")), "does not prove that it is"),
        (URLError(ssl.SSLError(1, "wrong version number")), "does not speak https"),
        (URLError(TimeoutError()), "does not answer in time"),
        (TimeoutError(), "does not answer in time"),
        (OSError(101, "Network is unreachable"), "cannot be reached: Network is unreachable"),
        (ConnectionResetError(104, "reset"), "was lost"),
    ],
)
def test_every_way_to_lose_a_connection_has_its_words(error: OSError, said: str) -> None:
    with pytest.raises(ServiceUnreachable, match=said) as raised, plainly("hub.example"):
        raise error
    assert raised.value.hint


def test_a_refusal_that_says_to_wait_for_ever_is_not_believed() -> None:
    headers = Message()
    headers["Retry-After"] = "9" * 400
    refusal = refusal_in(HTTPError(HUB, 429, "", headers, BytesIO(b'{"error": {}}')), "hub.example")
    assert isinstance(refusal, RefusedByService)
    assert refusal.retry_after == 0


def test_a_refusal_says_when_to_try_again() -> None:
    headers = Message()
    headers["Retry-After"] = "7"
    body = BytesIO(b'{"error": {"code": "too-many-requests", "message": "Slower.", "hint": "Wait.", "retry_after": 7}}')
    refusal = refusal_in(HTTPError(HUB, 429, "", headers, body), "hub.example")
    assert not isinstance(refusal, AnswerNotUnderstood)
    assert refusal.retry_after == 7
    assert refusal.as_json() == {"code": "too-many-requests", "message": "Slower.", "hint": "Wait.", "retry_after": 7}


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["add"],
        ["sessions"],
        ["list", "--owner"],
        ["list", "--no-such-option"],
        ["gc", "--unused-days", "many"],
        ["add", "https://git.example/a", "--memory", "much"],
        ["list", "--local", "--service", "https://hub.example.org"],
    ],
    ids=" ".join,
)
async def test_words_that_say_nothing_are_refused_in_one_way(terminal: Terminal, words: list[str]) -> None:
    refused = await terminal(*words, "--json")
    assert refused.status == ExitStatus.MISUSED
    assert refused.field("error")["code"] == "command-misused"  # type: ignore[index]
    assert "--help" in refused.err
    assert (await terminal(*words)).out == ""


async def test_a_token_that_has_ended_is_told_as_such_with_what_to_do(terminal: Terminal) -> None:
    refused = await terminal("list", person="nobody-any-more")
    assert refused.status == ExitStatus.NOT_ALLOWED
    assert "it has ended, or was revoked" in refused.err
    assert "page Token" in refused.err


def test_what_there_is_and_which_release_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("help", "--help", "-h"):
        assert main([word]) == 0
        assert capsys.readouterr().out == OVERVIEW
    for word in ("--version", "-V"):
        assert main([word]) == 0
        assert capsys.readouterr().out == f"guixspawner {version('guixspawner')}\n"
    assert BuildService.version == version("guixspawner")
    assert main(["help", "tokens", "create"]) == 0
    assert capsys.readouterr().out.startswith("usage: guix-build-service tokens create ")
