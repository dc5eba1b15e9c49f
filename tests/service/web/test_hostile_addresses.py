"""Hostile addresses and refs, sent to the API as anybody can: each is refused before anything is asked."""

import os
from pathlib import Path

import pytest

from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline.resolve import resolve
from guix_build_service.web.limits import RequestLimits
from guix_environment.repository_url import RepositoryUrl
from tests.service.providers.addresses import FORGE, HOSTILE_ADDRESSES, HOSTILE_REFS, no_git, nothing_but_refusal
from tests.service.web.conftest import Site, refusal

TOKEN = "token-ada"
STEP = int(os.environ.get("EVERY_HOSTILE_ADDRESS", "5"))
"""Some of every kind are sent; 1 sends them all.  What decides is tried with all of them in `test_address_corpora`."""


@pytest.fixture
def limits() -> RequestLimits:
    return RequestLimits(changes_a_minute=0, reads_a_minute=0)


async def test_they_are_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git, hosts = no_git(tmp_path), nothing_but_refusal()

    async def really(url: RepositoryUrl, ref: str, *_: object) -> Resolved:
        return await resolve(git, hosts, url, ref)

    monkeypatch.setattr(site.pipeline, "resolve", really)
    asked = [{"repo": address} for address in HOSTILE_ADDRESSES] + [{"repo": FORGE, "ref": ref} for ref in HOSTILE_REFS]
    for body in asked[::STEP]:
        answer = await site.ask("POST", "api/v1/environments", token=TOKEN, json_body=body)
        assert 400 <= answer.code < 500, body
        assert refusal(answer) in {"invalid-address", "invalid-ref", "invalid-input", "host-refused", "request-too-large"}
    assert not (tmp_path / "was-run").exists()
