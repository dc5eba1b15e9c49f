"""What is told of manifests that people have published."""

from pathlib import Path

from tests.real_manifests import published, summary, table


def test_what_is_read_of_a_folder_of_files_is_told(tmp_path: Path) -> None:
    files = {
        "ada/plots/manifest.scm": '(load "packages.scm")\n(specifications->manifest languages)',
        "ada/plots/packages.scm": '(define languages \'("python"))',
        "ada/plots/channels.scm": '(list (channel (name \'guix) (url "https://git.example/guix.git")))',
        "bob/own/guix/manifest.scm": "\n(packages->manifest (list (package (inherit sed))))",
        "bob/own/manifest.scm": '(load "missing.scm")',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "sources.txt").write_text(
        "bob/own guix/manifest.scm 2222\nbob/own manifest.scm 2222\n\n"
        "ada/plots manifest.scm 1111\nada/plots channels.scm 1111\n"
    )
    found = published(tmp_path)
    assert [(file.repository, file.path, file.level) for file in found] == [
        ("ada/plots", "channels.scm", "L0"),
        ("ada/plots", "manifest.scm", "L3"),
        ("bob/own", "guix/manifest.scm", ""),
        ("bob/own", "manifest.scm", ""),
    ]
    guix = ["", "the same packages", "has packages for it", "fails"]
    assert summary(found, guix).splitlines()[::2] == [
        "Manifests: 1 of 3 are read (L3 1).",
        "Channels files: 1 of 1 are read (L0 1).",
        "Guix: fails: 1, has packages for it: 1, the same packages: 1.",
    ]
    rows = table(found, guix).splitlines()[2:]
    assert rows[1] == "| ada/plots | `manifest.scm` | 1111 | L3 |  | the same packages |"
    assert "defines a package of its own" in rows[2]
    assert "no file missing.scm" in rows[3]
