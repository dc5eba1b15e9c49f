"""Whatever is sent to what the API says of itself: it never breaks, and answers as it says.

Schemathesis reads the description as any caller does, and makes of it requests that are as they should be and others that
are not, one after the other and in chains in which one takes up what another answered.
"""

import asyncio
import logging
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from guix_build_service.web.application import API, log, pattern
from guix_build_service.web.limits import RequestLimits
from tests.service.web.conftest import PREFIX, Site

EXAMPLES = os.environ.get("GUIX_SERVICE_EXAMPLES", "")
"""How many requests are made up for each address, and how many chains of them; as the settings have it unless given."""

SEED = os.environ.get("GUIX_SERVICE_SEED", "5")

SETTINGS = Path(__file__).with_name("schemathesis.toml")
CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def limits() -> RequestLimits:
    """Give no limits, which would be the only answer."""
    return RequestLimits(changes_a_minute=0, reads_a_minute=0, deliveries_a_minute=0)


@pytest.mark.parametrize(
    ("caller", "phases", "least"),
    [
        ("nobody", "fuzzing", 1),
        ("watcher", "fuzzing", 12),
        ("ada", "examples,coverage,fuzzing,stateful", 25),
        ("root", "fuzzing,stateful", 20),
    ],
)
async def test_the_api_answers_as_it_says_whatever_is_sent(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, caller: str, phases: str, least: int
) -> None:
    await site.ready("good", "ada")
    description = tmp_path / "openapi.json"
    description.write_bytes((await site.ask("GET", "api/v1/openapi.json", token="token-ada")).body)
    credentials = [] if caller == "nobody" else ["--header", f"Authorization: token token-{caller}"]
    with caplog.at_level(logging.INFO, log.name):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "run", str(description)),
            *("--url", f"{site.address}{site.prefix}api/v1", *credentials, "--phases", phases, "--seed", SEED),
            *(["--max-examples", EXAMPLES] if EXAMPLES else []),
            *("--warnings", "off", "--no-color"),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
    print(told.decode())
    assert process.returncode == 0, told.decode()
    done = succeeded(caplog.records)
    assert len(done) >= least, sorted(done)


def succeeded(records: Iterable[logging.LogRecord]) -> set[str]:
    """Return which operations of the API succeeded, by the service's own log of what it answered."""
    answered = [record.args for record in records if record.name == log.name and isinstance(record.args, tuple)]
    return {
        f"{method} {handler.route}"
        for status, method, path, *_ in answered
        for handler in API
        if isinstance(status, int) and status < 300 and re.match(pattern(f"{PREFIX}api/v1/{handler.route}"), str(path))
    }
