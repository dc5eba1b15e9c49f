"""Where the keys of credentials come from."""

from pathlib import Path

import pytest

from guix_build_service.credentials.keys import KeysUnusable, parse_keys
from guix_build_service.settings.credentials import CredentialKeys

GIVEN, WRITTEN = "00" * 32, "ff" * 32


def test_a_file_comes_before_the_hubs_key_and_that_before_one_of_its_own(tmp_path: Path) -> None:
    own = CredentialKeys().source(tmp_path, {}).keys()
    file = tmp_path / "credential-keys"
    assert file.stat().st_mode & 0o777 == 0o600
    assert CredentialKeys().source(tmp_path, {}).keys() == own == parse_keys(file.read_text())
    variables = {"JUPYTERHUB_CRYPT_KEY": f"{GIVEN};{WRITTEN}"}
    given = parse_keys(variables["JUPYTERHUB_CRYPT_KEY"])
    assert CredentialKeys().source(tmp_path, variables).keys() == (*given, *own)
    (tmp_path / "keys").touch(0o600)
    (tmp_path / "keys").write_text(WRITTEN)
    configured = CredentialKeys(key_file=str(tmp_path / "keys"))
    assert configured.source(tmp_path, variables).keys() == (*parse_keys(WRITTEN), *own)
    file.unlink()
    assert configured.source(tmp_path, variables).keys() == parse_keys(WRITTEN)
    assert CredentialKeys().source(tmp_path, variables).keys() == given
    assert not file.exists()


def test_a_key_of_the_hubs_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable):
        CredentialKeys().source(tmp_path, {"JUPYTERHUB_CRYPT_KEY": "short"})
    assert not (tmp_path / "credential-keys").exists()
