"""The secret that signs cookies is made once, whole, and for nobody else to read."""

import threading
from pathlib import Path

import pytest

from guix_build_service.web.secret_file import LENGTH, SecretFileUnsafe, read_or_make_secret


def test_it_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "secret"
    secret = read_or_make_secret(path)
    assert len(secret) == LENGTH
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make_secret(path) == secret
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_those_who_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        found.append(read_or_make_secret(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("content", "mode"), [(b"x" * LENGTH, 0o640), (b"x" * LENGTH, 0o604), (b"short", 0o600), (b"", 0o600)]
)
def test_a_file_that_cannot_be_trusted_is_refused_and_left_alone(tmp_path: Path, content: bytes, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(SecretFileUnsafe, match="Remove it"):
        read_or_make_secret(path)
    assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x" * LENGTH)
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        read_or_make_secret(tmp_path / "secret")
