"""A sealed secret opens with its key, in its place, and nowhere else."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guix_build_service.credentials.envelope import Place, SealBroken, Secret, seal, unseal
from guix_build_service.credentials.keys import KeyFile, KeysUnusable, parse_keys
from guix_environment.errors import InvalidInput

OLD, NEW = "00" * 32, "ff" * 32
PLACE = Place("caaaaaaaaaaa", "ada", "git.example")
SECRET = Secret("ada", "a-token-of-the-test")


def test_a_sealed_secret_opens_and_shows_nothing_before() -> None:
    keys = parse_keys(OLD)
    sealed = seal(SECRET.plain(), PLACE, keys)
    assert Secret.from_plain(unseal(sealed, PLACE, keys)) == SECRET
    assert b"token" not in sealed.content
    assert seal(SECRET.plain(), PLACE, keys).content != sealed.content
    for shown in (repr(SECRET), repr(keys[0]), str(SECRET)):
        assert "token-of" not in shown
        assert "00000000" not in shown
        assert keys[0].material.hex() not in shown


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, identifier="cbbbbbbbbbbb"),
        replace(PLACE, owner="eve"),
        replace(PLACE, host="other.example"),
        Place("caaaaaaaaaaa", 'ada", "git.example', ""),
    ],
)
def test_it_opens_in_no_other_place(elsewhere: Place) -> None:
    sealed = seal(SECRET.plain(), PLACE, parse_keys(OLD))
    with pytest.raises(SealBroken):
        unseal(sealed, elsewhere, parse_keys(OLD))


def test_it_opens_when_not_one_bit_is_different() -> None:
    keys = parse_keys(OLD)
    sealed = seal(SECRET.plain(), PLACE, keys)
    for position in range(len(sealed.content)):
        changed = bytearray(sealed.content)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            unseal(replace(sealed, content=bytes(changed)), PLACE, keys)
    with pytest.raises(SealBroken):
        unseal(replace(sealed, nonce=bytes(12)), PLACE, keys)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    old = seal(SECRET.plain(), PLACE, parse_keys(OLD))
    both = parse_keys(f"{NEW};{OLD}")
    assert Secret.from_plain(unseal(old, PLACE, both)) == SECRET
    new = seal(SECRET.plain(), PLACE, both)
    assert Secret.from_plain(unseal(new, PLACE, parse_keys(NEW))) == SECRET
    with pytest.raises(SealBroken):
        unseal(old, PLACE, parse_keys(NEW))


def test_a_key_is_for_this_purpose_and_its_name_tells_nothing() -> None:
    [key] = parse_keys(OLD)
    assert key.material != bytes.fromhex(OLD)
    assert key.identifier not in {OLD[:16], key.material.hex()[:16]}
    sealed = seal(SECRET.plain(), PLACE, [key])
    with pytest.raises(InvalidTag):
        AESGCM(bytes.fromhex(OLD)).decrypt(sealed.nonce, sealed.content, PLACE.associated())


@pytest.mark.parametrize("text", ["", " ; ", "00", "00" * 31, "zz" * 32, "00" * 33, "\x00" * 32, f"{OLD};x"])
def test_what_is_no_key_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(KeysUnusable, match="openssl rand -hex 32"):
        parse_keys(text)


def test_keys_are_written_as_jupyterhub_has_them() -> None:
    in_base64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert parse_keys(OLD) == parse_keys(in_base64)
    assert len(parse_keys(f"{OLD};{NEW}\n{in_base64}\n")) == 3
    assert parse_keys("_" * 43 + "=") == parse_keys("/" * 43 + "=")


def test_a_key_file_is_read_again_when_it_changes_and_only_if_it_is_ours(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    source = KeyFile(file)
    with pytest.raises(KeysUnusable, match="cannot be read"):
        source.keys()
    file.write_text(OLD)
    file.chmod(0o600)
    assert source.keys() == parse_keys(OLD)
    replaced = tmp_path / "new"
    replaced.write_text(f"{NEW}\n{OLD}\n")
    replaced.chmod(0o600)
    replaced.replace(file)
    assert source.keys() == parse_keys(f"{NEW};{OLD}")
    file.chmod(0o640)
    with pytest.raises(KeysUnusable, match="0600"):
        source.keys()
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(KeysUnusable, match="cannot be read"):
        KeyFile(link).keys()
    if os.geteuid() == 0:
        file.chmod(0o600)
        os.chown(file, 12345, 12345)
        with pytest.raises(KeysUnusable, match="0600"):
            source.keys()


@pytest.mark.parametrize("text", ["", "a\nb", "a\rb", "a\x00b", "x" * 2001])
def test_a_secret_is_what_git_can_be_told(text: str) -> None:
    with pytest.raises(InvalidInput):
        Secret(text, "password")
    with pytest.raises(InvalidInput):
        Secret("ada", text)
