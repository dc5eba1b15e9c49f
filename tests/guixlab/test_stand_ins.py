"""How stand-ins are chosen and made: the parts that need neither Guix nor Debian's files."""

import json
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from guixlab.errors import LabError
from guixlab.folder import Folder
from guixlab.packages import DEBIAN_PACKAGES
from guixlab.stand_ins.catalogue import DEFAULT_SPECIFICATIONS, FROM_DEBIAN, LAUNCHED, ONLY_PROGRAMS
from guixlab.stand_ins.debian import FINISH
from guixlab.stand_ins.lines import read_wanted, split_base
from guixlab.stand_ins.r import WHICH, bundled, debian_name, replace_in_lazy_load, resolve
from guixlab.stand_ins.runtime import render_font_configuration
from guixlab.stand_ins.store import find_references, normalise
from guixlab.stand_ins.wheels import LOCK, Wheel, group, make_from_wheel, project_of, read_lock, render_lock
from guixlab.stand_ins.workshop import Base, patch_executables, read_interpreter

HASH = "0123456789abcdfghijklmnpqrsvwxyz"
PATH = f"/gnu/store/{HASH}"


def test_guixs_answer_is_read() -> None:
    wanted = read_wanted(
        f"package python-numpy 1.26.4 out {PATH}-python-numpy-1.26.4 numpy\n"
        f"package git 2.52.0 send-email {PATH}-git-2.52.0-send-email git\n"
        f"needed out {PATH}-python-numpy-1.26.4\n"
        f"needed bin {PATH}-glib-2.83.3-bin\n"
        "unknown no-such-package\n"
        "something else\n"
    )
    assert [(output.key, output.version) for output in wanted.outputs] == [
        ("python-numpy", "1.26.4"),
        ("git:send-email", "2.52.0"),
        ("glib:bin", "2.83.3"),
    ]
    assert wanted.outputs[0].base == f"{HASH}-python-numpy-1.26.4"
    assert wanted.unknown == ("no-such-package",)


@pytest.mark.parametrize(
    ("base", "output", "expected"),
    [
        ("glib-2.83.3-bin", "bin", ("glib", "2.83.3")),
        ("glibc-utf8-locales-2.41", "out", ("glibc-utf8-locales", "2.41")),
        ("r-base64enc-0.1-3", "out", ("r-base64enc", "0.1-3")),
        ("nameless", "out", ("nameless", "")),
    ],
)
def test_name_and_version_come_from_the_store_path(base: str, output: str, expected: tuple[str, str]) -> None:
    assert split_base(f"{HASH}-{base}", output) == expected


def test_the_catalogue_holds_together() -> None:
    assert set(FINISH) <= set(FROM_DEBIAN)
    assert set(LAUNCHED) | set(ONLY_PROGRAMS) <= set(FROM_DEBIAN)
    assert len(set(DEFAULT_SPECIFICATIONS)) == len(DEFAULT_SPECIFICATIONS)
    made = {name for names in FROM_DEBIAN.values() for name in names}
    # These come along with others that are asked for.
    along = {"libglib2.0-0", "libmagic-mgc", "linux-libc-dev"}
    assert made - along <= set(DEBIAN_PACKAGES)


# --- wheels ---


def wheel(package: str, project: str = "", version: str = "1") -> Wheel:
    return Wheel(package, version, project or package, version, f"{package}-{version}.whl", "00")


def test_the_lock_reads_back_and_is_sorted() -> None:
    wheels = [wheel("python-b"), wheel("python-a", version="2"), wheel("python-a", version="1")]
    text = render_lock(wheels)
    assert [json.loads(line)["package"] for line in text.splitlines()] == ["python-a", "python-a", "python-b"]
    assert read_lock(text) == {one.key: one for one in wheels}


def test_the_lock_names_no_host_and_has_every_hash() -> None:
    lock = read_lock(LOCK.read_text())
    assert "://" not in LOCK.read_text()
    assert all(len(one.sha256) == 64 for one in lock.values())
    names = {package for package, _ in lock}
    assert {name for name in DEFAULT_SPECIFICATIONS if name.startswith("python-")} <= names


def test_no_project_is_asked_for_twice_by_one_command() -> None:
    wheels = [
        wheel(f"python-{name}", project) for name, project in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "z"), ("e", "x")]
    ]
    groups = group(wheels, 2)
    assert sorted(one.package for some in groups for one in some) == sorted(one.package for one in wheels)
    assert all(len({one.project for one in some}) == len(some) for some in groups)
    assert group([], 2) == []


@pytest.mark.parametrize(("package", "project"), [("python-pandas", "pandas"), ("python-dateutil", "python-dateutil")])
def test_projects_have_the_indexs_names(package: str, project: str) -> None:
    assert project_of(package) == project


def test_a_wheel_is_laid_out_as_guix_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "thing-1-py3-none-any.whl", "w") as archive:
        archive.writestr("thing/__init__.py", "")
        archive.writestr("thing-1.dist-info/entry_points.txt", "[console_scripts]\nThing-It = thing.Main:Run.now [extra]\n")
        archive.writestr("thing-1.data/scripts/old", "#!python\nprint(1)\n")
        archive.writestr("thing-1.data/data/share/jupyter/kernels/k/kernel.json", '{"argv": ["python", "-m", "python"]}')
        archive.writestr("thing-1.data/purelib/more.py", "")
    tree = tmp_path / "tree"
    make_from_wheel(tmp_path / "thing-1-py3-none-any.whl", f"{PATH}-python", tree)
    files = sorted(str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file())
    assert files == [
        "bin/Thing-It",
        "bin/old",
        "lib/python3.11/site-packages/more.py",
        "lib/python3.11/site-packages/thing-1.dist-info/entry_points.txt",
        "lib/python3.11/site-packages/thing/__init__.py",
        "share/jupyter/kernels/k/kernel.json",
    ]
    script = (tree / "bin/Thing-It").read_text()
    assert script.startswith(f"#!{PATH}-python/bin/python3\n")
    assert "from thing.Main import Run\nsys.exit(Run.now())" in script
    assert (tree / "bin/old").read_text() == f"#!{PATH}-python/bin/python3\nprint(1)\n"
    assert all((tree / name).stat().st_mode & 0o111 for name in ("bin/old", "bin/Thing-It"))
    kernel = json.loads((tree / "share/jupyter/kernels/k/kernel.json").read_text())
    assert kernel["argv"] == [f"{PATH}-python/bin/python3", "-m", "python"]


# --- the store ---


def test_references_are_found_in_files_and_links(tmp_path: Path) -> None:
    paths = [f"/gnu/store/{character * 32}-item-1.0" for character in "abcd"]
    (tmp_path / "below").mkdir()
    (tmp_path / "below/text").write_text(f"exec {paths[0]}/bin/x\n/gnu/store/{'e' * 32}-unknown\n")
    (tmp_path / "binary").write_bytes(b"\0\xff" + paths[1].encode() + b"/lib\0")
    (tmp_path / "link").symlink_to(f"{paths[2]}/share")
    assert find_references(tmp_path, paths) == paths[:3]


def test_what_is_in_a_store_cannot_be_written_and_has_no_date(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below/program").write_text("")
    (tree / "below/program").chmod(0o700)
    (tree / "text").write_text("")
    (tree / "link").symlink_to("/no/where")
    normalise(tree)
    assert (tree / "below/program").stat().st_mode & 0o7777 == 0o555
    assert (tree / "text").stat().st_mode & 0o7777 == 0o444
    assert tree.stat().st_mode & 0o7777 == 0o555
    assert {file.lstat().st_mtime for file in [tree, *tree.rglob("*")]} == {1}
    for directory in (tree, tree / "below"):
        directory.chmod(0o755)


# --- executables ---


def test_an_executables_loader_is_read() -> None:
    interpreter = read_interpreter(Path("/bin/sh").resolve())
    assert Path(interpreter).name.startswith("ld-")


def test_other_files_have_no_loader(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"\x7fELF")
    (tmp_path / "broken").write_bytes(b"\x7fELF\x02\x01" + b"\xff" * 200)
    (tmp_path / "link").symlink_to("/bin/sh")
    for name in ("short", "broken", "link", "missing"):
        assert read_interpreter(tmp_path / name) == ""


def test_shell_scripts_run_on_a_shell_of_the_store(tmp_path: Path) -> None:
    base = Base(runtime=f"{PATH}-runtime", busybox=f"{PATH}-busybox", folder=Folder(tmp_path))
    texts = {
        "a": "#!/bin/sh\n",
        "b": "#! /usr/bin/bash -e\n",
        "c": "#!/usr/bin/perl\n",
        "d": "#!/bin/shell\n",
        "e": "#!/bin/sh\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text + "body\n")
        (tmp_path / name).chmod(0o644 if name == "e" else 0o755)
    patch_executables(base, [tmp_path])
    shell = f"#!{PATH}-busybox/bin/sh"
    assert {name: (tmp_path / name).read_text().split("\nbody")[0] for name in texts} == {
        "a": shell,
        "b": f"{shell} -e",
        "c": "#!/usr/bin/perl",
        "d": "#!/bin/shell",
        "e": "#!/bin/sh",
    }
    assert (tmp_path / "a").stat().st_mode & 0o111


# --- R ---


def test_what_comes_with_a_package_is_followed_to_its_end() -> None:
    wanted = read_wanted("propagates r-a r-b\npropagates r-b r-c\npropagates r-c r-b\npropagates r-d r-a\n")
    assert wanted.propagated["r-a"] == {"r-b", "r-c"}
    assert wanted.propagated["r-d"] == {"r-a", "r-b", "r-c"}


def test_only_what_guix_does_not_propagate_is_bundled() -> None:
    depends = {
        "r-cran-plot": ("r-cran-own", "r-cran-private"),
        "r-cran-own": ("r-cran-of-own",),
        "r-cran-private": ("r-cran-deeper", "r-cran-plot"),
    }
    found = bundled("r-cran-plot", frozenset({"r-cran-own", "r-cran-plot"}), depends)
    assert found == ("r-cran-plot", "r-cran-private", "r-cran-deeper")
    assert debian_name("r-ggplot2") == "r-cran-ggplot2"


def entry(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + zlib.compress(value, 6)


def test_links_into_debians_trees_become_what_they_lead_to(tmp_path: Path) -> None:
    """Debian's Shiny has its scripts in packages of their own."""
    own, others, library = (tmp_path / name for name in ("own", "others", "library"))
    (others / "usr/share/javascript/jquery").mkdir(parents=True)
    (others / "usr/share/javascript/jquery/jquery.js").write_text("$")
    (others / "usr/share/one.js").write_text("1")
    library.mkdir()
    own.mkdir()
    leading = {
        "folder": "/usr/share/javascript/jquery",
        "one.js": "/usr/share/one.js",
        "gone": "/usr/share/gone",
        "no": "nowhere",
    }
    for name, target in leading.items():
        (library / name).symlink_to(target)
        resolve(library / name, (own, others))
    assert not any(path.is_symlink() for path in library.rglob("*"))
    assert {str(path.relative_to(library)) for path in library.rglob("*")} == {"folder", "folder/jquery.js", "one.js"}


def test_a_constant_of_rs_compiled_code_is_replaced_in_place(tmp_path: Path) -> None:
    database = tmp_path / "base.rdb"
    first, last = bytes(range(256)) * 4, b"the end"
    middle = b"before /usr/bin/which after " * 3
    database.write_bytes(entry(first) + entry(middle) + entry(last))
    before = database.read_bytes()
    replace_in_lazy_load(database, b"/usr/bin/which", f"${WHICH}".encode())
    after = database.read_bytes()
    assert len(after) == len(before)
    start = len(entry(first))
    assert after[:start] == before[:start]
    assert after[-len(entry(last)) :] == entry(last)
    assert zlib.decompressobj().decompress(after[start + 4 :]) == middle.replace(b"/usr/bin/which", b"$STANDIN_WHICH")
    with pytest.raises(LabError, match="does not hold"):
        replace_in_lazy_load(database, b"/usr/bin/which", f"${WHICH}".encode())


def test_fonts_come_from_the_store() -> None:
    assert f"<dir>{PATH}/fonts</dir>" in render_font_configuration(f"{PATH}/fonts")


def test_the_tool_needs_nothing_but_python() -> None:
    code = "import guixlab.__main__"
    checkout = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=checkout)
    assert result.returncode == 0, result.stderr
