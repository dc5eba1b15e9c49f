"""``guix-build-service read`` on files of one's own, without service, hub, database or Guix."""

import json
import os
from pathlib import Path

import pytest

from guix_build_service.command_line import main


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def test_a_manifest_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.scm").write_text('(load "base.scm")\n(specifications->manifest\n (cons "git:gui" base))')
    (tmp_path / "base.scm").write_text('(define base \'("python@3"))')
    assert main(["read", str(tmp_path / "manifest.scm"), "--json", "--no-guix"]) == 0
    answer = said(capsys)
    assert (answer["kind"], answer["level"], answer["refusals"], answer["files"]) == ("manifest", "L3", [], ["base.scm"])
    assert answer["packages"] == [
        {"name": "git", "version": None, "output": "gui", "development": False},
        {"name": "python", "version": "3", "output": "out", "development": False},
    ]
    assert [(entry["file"], entry["line"]) for entry in answer["entries"]] == [("manifest.scm", 3), ("base.scm", 1)]  # type: ignore[attr-defined]


def test_a_refusal_has_file_line_and_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.scm").write_text('(load "evil.scm")')
    (tmp_path / "evil.scm").write_text('\n (system "id")')
    assert main(["read", str(tmp_path / "manifest.scm"), "--json", "--no-guix"]) == 1
    refusals = said(capsys)["refusals"]
    assert isinstance(refusals, list)
    assert [(item["file"], item["line"], item["column"]) for item in refusals] == [("evil.scm", 2, 2)]
    assert main(["read", str(tmp_path / "manifest.scm"), "--no-guix"]) == 1
    assert "refused: evil.scm:2:2: it would run a program" in capsys.readouterr().out


def test_links_are_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (tmp_path / "secret.scm").write_text('\'("sed")')
    (repository / "link.scm").symlink_to(tmp_path / "secret.scm")
    (repository / "manifest.scm").write_text('(specifications->manifest (load "link.scm"))')
    assert main(["read", str(repository / "manifest.scm"), "--no-guix"]) == 1
    assert "has no file link.scm" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.scm", "folder", "pipe", "large", "binary"])
def test_what_is_no_text_is_told(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * 300_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert main(["read", str(tmp_path / name), "--no-guix"]) == 1
    assert f"{name} is no file of text" in capsys.readouterr().out


def test_channels_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "channels.scm").write_text('(cons (channel (name \'x) (url "https://x.example/")) %default-channels)')
    assert main(["read", str(tmp_path / "channels.scm"), "--json"]) == 0
    channels = said(capsys)["channels"]
    assert [(channel["name"], bool(channel["refused"])) for channel in channels] == [("x", True), ("guix", False)]  # type: ignore[attr-defined]
