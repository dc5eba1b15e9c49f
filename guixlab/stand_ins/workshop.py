"""What every stand-in is made with: unpacking, launchers, and executables that find their loader in the store."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guixlab.errors import ExitCode, LabError
from guixlab.folder import Folder
from guixlab.machine import run_inside, workshop_plan

LAUNCHER = Path(__file__).resolve().parent.parent / "launcher.c"
SHELL_LINE = re.compile(rb"\A#! ?/(?:usr/)?bin/(?:sh|bash)\b")
PT_INTERP = 3
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
# The library of the runtime that every executable is linked with; see surroundings.c.
SURROUNDINGS = "libstandin.so"


@dataclass(frozen=True)
class Base:
    """The items that all stand-ins share: libraries with loader and locales, and a shell."""

    runtime: str
    busybox: str
    folder: Folder


def read_interpreter(file: Path) -> str:
    """The dynamic loader that FILE asks for, if it is an ELF executable (64 bits, little endian), else nothing."""
    if file.is_symlink() or not file.is_file():
        return ""
    with file.open("rb") as stream:
        header = stream.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
            return ""
        table_offset = struct.unpack_from("<Q", header, 32)[0]
        size, count = struct.unpack_from("<HH", header, 54)
        if size != PROGRAM_HEADER.size or table_offset > file.stat().st_size:
            return ""
        stream.seek(table_offset)
        table = stream.read(size * count)
        for start in range(0, len(table) - size + 1, size):
            kind, _, offset, _, _, length = PROGRAM_HEADER.unpack_from(table, start)[:6]
            if kind == PT_INTERP:
                stream.seek(offset)
                return stream.read(length).rstrip(b"\0").decode()
    return ""


def find_archive(folder: Folder, package: str) -> Path:
    """The Debian package's file; raises LabError when the folder was provisioned without it."""
    found = sorted((folder.debian / "var/cache/apt/archives").glob(f"{package}_*.deb"))
    if not found:
        raise LabError(f"Debian's {package} was not fetched; it belongs in guixlab/packages.py.", ExitCode.STAND_INS_FAILED)
    return found[-1]


def unpack(folder: Folder, packages: Sequence[str], target: Path) -> Path:
    """The files of Debian packages below TARGET, which is made."""
    target.mkdir(parents=True)
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", str(find_archive(folder, package)), str(target)], check=True)
    return target


def copy_into(source: Path, target: Path) -> None:
    """Copy what is in SOURCE to TARGET, links as links, adding to what is there."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def patch_executables(base: Base, trees: Sequence[Path]) -> None:
    """Make the executables below TREES find loader and libraries in the runtime, and shell scripts their shell."""
    executables = []
    for tree in trees:
        for directory, _, names in os.walk(tree):
            for name in names:
                file = Path(directory, name)
                interpreter = read_interpreter(file)
                if interpreter.startswith(base.runtime):
                    continue
                if interpreter:
                    file.chmod(0o755)
                    executables.append(str(file))
                elif not file.is_symlink() and os.access(file, os.X_OK):
                    _patch_script(base, file)
    if not executables:
        return
    # In two runs: in one, patchelf 0.14 writes one string over the other.
    for patch in (_patch_command(base), ["patchelf", "--add-needed", SURROUNDINGS]):
        command = ["xargs", "-0", "-P", "2", "-n", "20", *patch]
        run_inside(base.folder, workshop_plan(base.folder), command, standard_input="\0".join(executables))


def _patch_command(base: Base) -> list[str]:
    # DT_RPATH of the program, not DT_RUNPATH: it holds for the libraries that libraries ask for, too.
    places = ["--set-interpreter", f"{base.runtime}/lib/ld-linux-x86-64.so.2", "--set-rpath", f"{base.runtime}/lib"]
    return ["patchelf", "--force-rpath", *places]


def compile_modules(base: Base, trees: Sequence[Path]) -> None:
    """Compile Python modules below TREES, as Guix's packages have them: a store cannot be written to later."""
    libraries = [str(tree / "lib/python3.11") for tree in trees if (tree / "lib/python3.11").is_dir()]
    if not libraries:
        return
    # Files in a store have no meaningful times, so what is compiled is never checked against them.
    command = ["/usr/bin/python3.11", "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    # A few modules of any package are templates or tests of broken syntax: that ends with status 1 and is no harm.
    script = '"$@" >/dev/null 2>&1; exit 0'
    moved = ["-s", str(base.folder.items), "-p", "/gnu/store"]
    run_inside(base.folder, workshop_plan(base.folder), ["sh", "-c", script, "sh", *command, *moved, *libraries])


def _patch_script(base: Base, file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(64)
    if SHELL_LINE.match(start):
        mode = file.stat().st_mode
        text = SHELL_LINE.sub(b"#!" + base.busybox.encode() + b"/bin/sh", file.read_bytes(), count=1)
        file.write_bytes(text)
        file.chmod(mode)


def make_launcher(base: Base, target: Path, program: str, variables: Mapping[str, str]) -> None:
    """Compile a launcher at TARGET that sets VARIABLES and becomes PROGRAM, a path in the store.

    A name with ``!`` before it overrules what the caller has set.
    """
    listed = "".join(
        f'{{"{name.lstrip("!")}", "{value}", {int(name.startswith("!"))}}}, ' for name, value in variables.items()
    )
    target.unlink(missing_ok=True)
    compiler: list[str | Path] = ["tcc", f"-DVARIABLES={listed}", f'-DPROGRAM="{program}"', "-o", target, LAUNCHER]
    run_inside(base.folder, workshop_plan(base.folder), compiler)
    run_inside(base.folder, workshop_plan(base.folder), [*_patch_command(base), target])
