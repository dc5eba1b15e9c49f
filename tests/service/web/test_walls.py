"""What every answer has, whoever asks and whatever goes wrong: safe headers, no traces, bounds, and a log that stays one."""

import asyncio
import logging
import socket
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from tornado.httpclient import HTTPResponse

from guix_build_service.logs.log_lines import FORMAT, OneLine
from guix_build_service.web.answers import LARGEST_BODY, security_headers
from guix_build_service.web.limits import MOST_KNOWN, Pace, RequestLimits
from tests.service.web.conftest import PREFIX, Browser, Site, refusal

TOKEN = "token-ada"
OF_ITS_OWN = {"Cache-Control", "Content-Security-Policy"}
"""Headers that some answers narrow: texts are sandboxed, static files may be kept."""


def assert_safe(answer: HTTPResponse) -> None:
    for name, value in security_headers("").items():
        if name in OF_ITS_OWN:
            assert answer.headers[name]
        else:
            assert answer.headers.get_list(name) == [value]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    for absent in ("Server", "X-Powered-By", "Access-Control-Allow-Origin"):
        assert absent not in answer.headers
    assert b"Traceback" not in answer.body


async def test_every_answer_keeps_a_browser_safe(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    detail = await site.ready("good", "ada")
    assert detail.build is not None
    codes = set()
    for path in (
        "",
        "api",
        f"environments/{detail.environment.id}",
        f"builds/{detail.build.id}",
        f"api/v1/builds/{detail.build.id}/log",
        f"api/v1/builds/{detail.build.id}/events",
        "api/v1/environments",
        "api/v1/nothing",
        "nothing",
        "api/v1/health",
        "static/service.css",
        "static/nothing.css",
        "static/..%2f..%2fpyproject.toml",
        "oauth_callback",
        PREFIX.rstrip("/"),
    ):
        for token in ("", TOKEN, "token-stranger", "unknown"):
            for method in ("GET", "POST", "PUT", "OPTIONS", "TRACE"):
                answer = await site.ask(method, path, token=token, body=b"x" if method in {"POST", "PUT"} else None)
                assert_safe(answer)
                codes.add(answer.code)
    assert {200, 301, 302, 400, 401, 403, 404, 405, 415} <= codes

    async def fail(*_: object) -> None:
        raise RuntimeError("the path /var/lib/secret and 'quoted'")

    monkeypatch.setattr(site.manager, "some_environments", fail)
    for path in ("", "api/v1/environments"):
        answer = await site.ask("GET", path, token=TOKEN)
        assert answer.code == HTTPStatus.INTERNAL_SERVER_ERROR
        assert_safe(answer)
        assert b"secret" not in answer.body
        assert b"RuntimeError" not in answer.body


async def test_what_is_too_large_is_refused_before_it_is_read(site: Site) -> None:
    host, _, port = site.address.removeprefix("http://").partition(":")
    for path, kind in (("api/v1/environments", b"application/json"), ("", b"text/html")):
        for length in (LARGEST_BODY + 1, 10**12):
            reader, writer = await asyncio.open_connection(host, int(port))
            head = f"POST {PREFIX}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\nthe beginning"
            writer.write(head.encode())
            answer = await reader.read()  # to the end of the connection, although most of the body was never sent
            writer.close()
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert answer.count(b"HTTP/1.1") == 1
            assert b"Content-Type: " + kind in answer
            assert b"request-too-large" in answer
            assert b"Content-Security-Policy: " in answer


async def test_a_body_that_never_says_how_long_it_is_ends_too(site: Site) -> None:
    host, _, port = site.address.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {PREFIX}api/v1/environments HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with suppress(ConnectionError):
        while not writer.transport.is_closing():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
    writer.transport.abort()
    assert (await site.ask("GET", "api/v1/health")).code == HTTPStatus.OK


@pytest.mark.parametrize("limits", [RequestLimits(changes_a_minute=2, reads_a_minute=3)])
async def test_one_person_does_not_keep_the_service_from_others(site: Site) -> None:
    for method, path, number in (("POST", "api/v1/resolve", 2), ("GET", "api/v1/environments", 3)):
        body = {"repo": "https://git.example/a/good"} if method == "POST" else None
        for _ in range(number):
            assert (await site.ask(method, path, token=TOKEN, json_body=body)).code == HTTPStatus.OK
        refused = await site.ask(method, path, token=TOKEN, json_body=body)
        assert (refused.code, refusal(refused)) == (HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 30
        assert (await site.ask(method, path, token="token-eve", json_body=body)).code == HTTPStatus.OK
        assert (await site.ask("GET", "api/v1/health")).code == HTTPStatus.OK


def test_a_pace_is_a_minutes_worth_at_once_and_then_as_time_goes_by() -> None:
    moment = 0.0
    pace = Pace(6, lambda: moment)
    assert [pace.wait("ada") for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]
    assert pace.wait("eve") == 0
    moment = 9.0
    assert pace.wait("ada") == pytest.approx(1)
    moment = 10.0
    assert [pace.wait("ada"), pace.wait("ada")] == [0, 10]
    moment = 10_000.0
    assert [pace.wait("ada") for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]
    for number in range(2 * MOST_KNOWN):
        moment += 60
        pace.wait(str(number))
    assert len(pace._left) <= MOST_KNOWN
    assert Pace(0).wait("ada") == 0


HOSTILE_WORDS = ("\r\n2026-01-01 ERROR root: forged", "\x1b]0;title\x07\x1b[2J", "\u202egnp.exe", "\x9b31m", "\x00")


async def test_nobody_writes_into_the_log_but_the_service(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for words in HOSTILE_WORDS:
        for path in (f"api/v1/builds/{quote(words)}", f"{quote(words)}", f"static/{quote(words)}", f"?next={quote(words)}"):
            await site.ask("GET", path, token=TOKEN)
        body = {"repo": f"https://git.example/{words}", "name": words, "ref": words}
        await site.ask("POST", "api/v1/environments", token=TOKEN, json_body=body)
    caplog.records[:] = [*caplog.records, *(logging.makeLogRecord({"msg": words}) for words in HOSTILE_WORDS)]
    error = RuntimeError("\n".join(HOSTILE_WORDS))
    caplog.records.append(logging.makeLogRecord({"msg": "Failed", "exc_info": (RuntimeError, error, None)}))
    formatter = OneLine(FORMAT)
    assert len(caplog.records) > 20
    for record in caplog.records:
        record.exc_text = None  # what the test's own handler made of it
        first, *further = formatter.format(record).split("\n")
        assert all(line.startswith("    ") for line in further)
        for line in (first, *further):
            assert line.isprintable()
            assert "\x1b" not in line


async def test_ten_thousand_strangers_start_nothing_and_fill_no_disk(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    formatter = OneLine(FORMAT)
    long = "x" * 12_000
    asked = 0
    for path in ("", "api/v1/environments", f"api/v1/builds/{long}", f"{long}?{long}"):
        for headers in ({}, {"Sec-Fetch-Mode": "navigate"}, {"Authorization": f"token {long[:5000]}"}):
            for method in ("GET", "POST"):
                await site.ask(method, path, headers=headers, body=b"{}" if method == "POST" else None)
                asked += 1
    written = sum(len(formatter.format(record)) + 1 for record in caplog.records)
    assert written / asked * 10_000 < 5 * 1024 * 1024
    assert not (await site.ask("GET", "api/v1/environments", token="token-root")).body.count(b'"id"')


async def test_no_form_of_a_request_leads_elsewhere(site: Site) -> None:
    """A request line may hold a whole address, and its host may be anything: neither may end up in a redirection."""
    host, _, port = site.address.removeprefix("http://").partition(":")
    for target in (
        "http://elsewhere.example/services/guix/",
        "//elsewhere.example/services/guix/",
        PREFIX,
        PREFIX.rstrip("/"),
    ):
        for headers in ("Host: elsewhere.example", f"Host: {host}\r\nX-Forwarded-Host: elsewhere.example"):
            with socket.socket() as connection:
                connection.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(connection, (host, int(port)))
                await loop.sock_sendall(
                    connection, f"GET {target} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode()
                )
                answer = b""
                while piece := await loop.sock_recv(connection, 65536):
                    answer += piece
            head = answer.decode().partition("\r\n\r\n")[0].lower()
            for line in head.splitlines():
                if line.startswith("location:"):
                    assert line.removeprefix("location:").strip().startswith(("/hub/api/oauth2/authorize?", PREFIX)), line


async def test_a_login_comes_back_to_this_service_alone(site: Site) -> None:
    for start in (
        "?next=//elsewhere.example",
        "builds/baaaaaaaaaaa?next=https://elsewhere.example",
        "api?x=//elsewhere.example",
    ):
        browser = Browser(site)
        to_hub = await browser.get(start)
        state = parse_qs(urlsplit(to_hub.headers["Location"]).query)["state"][0]
        back = await browser.get(
            "oauth_callback?" + urlencode({"code": "ada", "state": state, "next": "//elsewhere.example"})
        )
        assert back.code == HTTPStatus.FOUND
        assert back.headers["Location"] == PREFIX + start
