"""Which private keys of SSH are kept, and what is said of the others."""

from pathlib import Path

import pytest

from guix_build_service.credentials.ssh_keys import SshKey
from guix_environment.errors import (
    InvalidInput,
)
from tests.ssh_server import key_of, make_key


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "a token",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "A" * 20_000,
    ],
)
def test_what_is_no_key_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SshKey.parse(wrong)
    assert "ssh-keygen" in refused.value.hint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-t", "rsa", "-b", "1024"), "fewer than 2048 bits"),
        (("-t", "rsa", "-b", "1024", "-m", "PEM"), "fewer than 2048 bits"),
    ],
)
def test_a_key_that_can_be_broken_is_refused(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        key_of(tmp_path, *words)


@pytest.mark.parametrize(
    "words", [("-t", "ed25519"), ("-t", "rsa", "-b", "2048", "-m", "PEM"), ("-t", "ecdsa", "-m", "PKCS8")]
)
def test_a_key_with_a_passphrase_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="passphrase"):
        key_of(tmp_path, *words, passphrase="a passphrase")


def test_the_public_key_in_the_place_of_the_private_one_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="public one"):
        SshKey.parse(make_key(tmp_path / "key").with_suffix(".pub").read_text())


def test_a_key_is_not_shown_and_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    text = make_key(tmp_path / "key").read_text()
    key = SshKey.parse(text.replace("\n", "\r\n"))  # as a browser sends it
    assert repr(key) == "SshKey()"
    again = SshKey.from_plain(key.plain())
    assert (again.public, again.fingerprint) == (key.public, key.fingerprint)
