"""The two items that every stand-in refers to: shared libraries with loader, locales and fonts; and a shell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from guixlab.folder import Folder, read_json, write_atomically
from guixlab.machine import run_guile, run_inside, workshop_plan
from guixlab.stand_ins.workshop import SURROUNDINGS, Base

RECIPE = 2
SOURCE = Path(__file__).resolve().parent.parent / "surroundings.c"
LOCALES = ("en_US",)


def _copy_libraries(debian: Path, library: Path) -> None:
    """Every shared library into one directory: that is what RPATH names."""
    base = debian / "usr/lib/x86_64-linux-gnu"
    sources = (
        debian / "lib/x86_64-linux-gnu",
        base,
        debian / "lib64",
        base / "blas",
        base / "lapack",
        debian / "usr/lib/R/lib",
    )
    for directory in sources:
        for file in sorted(directory.glob("*.so*")) if directory.is_dir() else []:
            if file.is_dir():
                continue
            target = library / file.name
            if not file.is_symlink():
                target.unlink(missing_ok=True)
                shutil.copy2(file, target)
            elif not target.is_symlink() and not target.exists() and file.readlink().name != file.name:
                target.symlink_to(file.readlink().name)
    shutil.copytree(base / "gconv", library / "gconv")
    # What is left dangling was a link to something that is not a library of this directory.
    for link in library.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()


def _copy_data(folder: Folder, tree: Path) -> None:
    debian = folder.debian
    shutil.copytree(debian / "lib/terminfo", tree / "share/terminfo", symlinks=False)
    shutil.copytree(debian / "usr/share/fonts/truetype/dejavu", tree / "share/fonts/dejavu")
    shutil.copytree(debian / "usr/share/zoneinfo", tree / "share/zoneinfo", symlinks=True)
    locale = tree / "lib/locale"
    locale.mkdir()
    shutil.copytree(debian / "usr/lib/locale/C.utf8", locale / "C.utf8")
    for name in LOCALES:
        command: list[str | Path] = ["localedef", "-i", name, "-f", "UTF-8", "--no-archive", locale / f"{name}.utf8"]
        run_inside(folder, workshop_plan(folder), command)


def render_font_configuration(fonts: str) -> str:
    """A fontconfig configuration that knows the FONTS directory and the caller's own fonts."""
    return (
        '<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">\n<fontconfig>\n'
        f'  <dir>{fonts}</dir>\n  <dir prefix="xdg">fonts</dir>\n'
        '  <cachedir prefix="xdg">fontconfig</cachedir>\n</fontconfig>\n'
    )


def _make_busybox(folder: Folder, tree: Path) -> None:
    (tree / "bin").mkdir(parents=True)
    shutil.copy2(folder.debian / "bin/busybox", tree / "bin/busybox")
    for applet in run_inside(folder, workshop_plan(folder), ["/bin/busybox", "--list"]).split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")


def ensure_base(folder: Folder) -> Base:
    """The shared items in the farm's store, made when they are not there for these Debian files."""
    record = folder.farm.base / "base.json"
    wanted = {"recipe": RECIPE, "debian": read_json(folder.provision_stamp).get("debian")}
    known = read_json(record)
    if known.get("from") == wanted:
        return Base(known["runtime"], known["busybox"], folder)
    runtime, busybox = folder.items / "standin-runtime", folder.items / "standin-busybox"
    for tree in (runtime, busybox):
        shutil.rmtree(tree, ignore_errors=True)
    (runtime / "lib").mkdir(parents=True)
    _copy_libraries(folder.debian, runtime / "lib")
    _copy_data(folder, runtime)
    compiler: list[str | Path] = ["tcc", "-shared", f"-Wl,-soname={SURROUNDINGS}", "-o", runtime / "lib" / SURROUNDINGS]
    run_inside(folder, workshop_plan(folder), [*compiler, SOURCE])
    _make_busybox(folder, busybox)
    arguments = [runtime.name, str(runtime), busybox.name, str(busybox)]
    paths = run_guile(folder, folder.farm, "add.scm", *arguments).split()
    for tree in (runtime, busybox):
        shutil.rmtree(tree)
    write_atomically(record, json.dumps({"from": wanted, "runtime": paths[0], "busybox": paths[1]}))
    return Base(paths[0], paths[1], folder)
