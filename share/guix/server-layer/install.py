# SPDX-License-Identifier: GPL-3.0-or-later
"""Install wheels as a virtual environment in the store; run by Guix's build of the server layer, with Guix's Python.

Below the output, ``lib/server-layer`` becomes a virtual environment of its own: interpreter, packages, Jupyter's data and
configuration.  ``bin`` shows the few commands that start a server, and nothing else of it, so that a profile with the server
layer puts no second ``python3`` on anybody's ``PATH``.

Compiled code in wheels expects a machine's own loader and C++ run time. Here it gets Guix's: executables Guix's loader, and
all of it a search path to ``libstdc++`` and ``libgcc_s`` where it asks for them.
"""

import argparse
import compileall
import importlib.metadata
import os
import py_compile
import shutil
import subprocess  # noqa: TID251 - runs in a Guix build, outside of the project's processes
import sys
import tempfile
from pathlib import Path

COMMANDS = ("jupyterhub-singleuser", "jupyter-lab", "jupyter-server")
"""What the output's ``bin`` shows."""

C_LIBRARY = frozenset(
    f"{name}.so.{version}"
    for name, version in [
        ("libc", 6),
        ("libdl", 2),
        ("libm", 6),
        ("libpthread", 0),
        ("libresolv", 2),
        ("librt", 1),
        ("libutil", 1),
    ]
) | {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
"""What Guix's loader finds by itself: the libraries of its own package, glibc."""

ISOLATION = """\
import sys, types; sys.modules.setdefault("sitecustomize", types.ModuleType("sitecustomize"))
"""
"""A line for the interpreter's start: Guix's ``sitecustomize`` would follow ``GUIX_PYTHONPATH``, which in a session is the
environment's.  The variable itself stays, for terminals and kernels."""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    for name in ("output", "python", "patchelf", "libraries", "configuration", "installer"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--without", required=True)
    parser.add_argument("wheels", type=Path, nargs="+")
    options = parser.parse_args()
    # Nothing is compiled to bytecode on the way: all of it is, in one way, at the end.
    sys.dont_write_bytecode = True
    venv = options.output / "lib/server-layer"
    packages = make_venv(venv, options.python)
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, str(link(options.installer, Path(folder))))
        for wheel in options.wheels:
            install(link(wheel, Path(folder)), venv, packages)
    isolate(venv, packages)
    patch_all(venv, options.patchelf, loader(options.patchelf, options.python), options.libraries)
    check_requirements(packages, frozenset(options.without.split(",")))
    shutil.copytree(options.configuration, venv, dirs_exist_ok=True)
    compileall.compile_dir(
        packages, quiet=1, force=True, workers=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    commands = options.output / "bin"
    commands.mkdir()
    for name in COMMANDS:
        (commands / name).symlink_to(venv / "bin" / name)


def link(item: Path, folder: Path) -> Path:
    """Return a link to the store's ITEM in FOLDER under its own name, which for a wheel has a meaning."""
    name = item.name[33:]
    (folder / name).symlink_to(item)
    return folder / name


def make_venv(venv: Path, python: Path) -> Path:
    """Make an empty virtual environment of PYTHON and return where its packages go."""
    packages = venv / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin/python3").symlink_to(python / "bin/python3")
    version = ".".join(map(str, sys.version_info[:3]))
    (venv / "pyvenv.cfg").write_text(f"home = {python}/bin\ninclude-system-site-packages = false\nversion = {version}\n")
    return packages


def install(wheel: Path, venv: Path, packages: Path) -> None:
    """Install WHEEL, after checking it against its own record."""
    from installer import install as install_wheel
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    schemes = {
        "purelib": packages,
        "platlib": packages,
        "scripts": venv / "bin",
        "data": venv,
        "headers": venv / "include",
    }
    destination = SchemeDictionaryDestination(
        {name: str(path) for name, path in schemes.items()},
        interpreter=str(venv / "bin/python3"),
        script_kind="posix",
    )
    with WheelFile.open(wheel) as source:
        source.validate_record()
        install_wheel(source, destination, additional_metadata={"INSTALLER": b"guix\n"})


def isolate(venv: Path, packages: Path) -> None:
    """Make every command, and the interpreter itself, deaf to the variables that other Pythons are set up with."""
    (packages / "isolation.pth").write_text(ISOLATION)
    plain, isolated = (f"#!{venv}/bin/python3{option}\n".encode() for option in ("", " -I"))
    for script in sorted((venv / "bin").iterdir()):
        content = b"" if script.is_symlink() else script.read_bytes()
        if content.startswith(plain):
            script.write_bytes(isolated + content.removeprefix(plain))
    for name in COMMANDS:
        if not (venv / "bin" / name).read_bytes().startswith(isolated):
            sys.exit(f"{name} does not start with the interpreter of the virtual environment")


def patchelf(command: Path, *arguments: object) -> str:
    """Run patchelf and return what it prints; fail when it fails."""
    words = [str(command), *map(str, arguments)]
    ended = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE)  # noqa: S603 - Guix's own words
    return ended.stdout.strip()


def loader(command: Path, python: Path) -> Path:
    """Return the loader that PYTHON itself starts with."""
    return Path(patchelf(command, "--print-interpreter", (python / "bin/python3").resolve()))


def patch_all(venv: Path, command: Path, interpreter: Path, libraries: Path) -> None:
    """Patch all compiled code below VENV, then fail unless each file will find every library that it needs."""
    files = [path for path in sorted(venv.rglob("*")) if is_compiled(path)]
    for file in files:
        patch(file, command, interpreter, libraries)
    lost = [
        f"{file.relative_to(venv)} needs {name}"
        for file in files
        for name in patchelf(command, "--print-needed", file).split()
        if name not in C_LIBRARY and not any((folder / name).exists() for folder in search_path(command, file))
    ]
    if lost:
        sys.exit("libraries that nothing provides:\n" + "\n".join(lost))


def is_compiled(path: Path) -> bool:
    """Tell whether PATH is an ELF file that is linked to others."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(18)
    # The type, two bytes at 16: 2 an executable, 3 a shared object (elf(5)); relocatable files and core dumps are neither.
    return head[:4] == b"\x7fELF" and head[16] in {2, 3}


def search_path(command: Path, file: Path) -> list[Path]:
    """Return the folders in which FILE looks for libraries."""
    text = patchelf(command, "--print-rpath", file)
    return [Path(folder.replace("$ORIGIN", str(file.parent))) for folder in text.split(":") if folder]


def patch(file: Path, command: Path, interpreter: Path, libraries: Path) -> None:
    """Give FILE Guix's loader if it is an executable, and the path to the C++ run time if it needs that."""
    file.chmod(file.stat().st_mode | 0o200)
    if has_interpreter(file, command):
        patchelf(command, "--set-interpreter", interpreter, file)
    if any((libraries / name).exists() for name in patchelf(command, "--print-needed", file).split()):
        path = patchelf(command, "--print-rpath", file)
        # RPATH and not RUNPATH: with the latter, the executable's own search path would no longer help this file.
        new = ":".join(filter(None, [path, str(libraries)]))
        patchelf(command, "--force-rpath", "--set-rpath", new, file)


def has_interpreter(file: Path, command: Path) -> bool:
    """Tell whether FILE is started by a loader, as executables are."""
    words = [str(command), "--print-interpreter", str(file)]
    ended = subprocess.run(words, check=False, capture_output=True)  # noqa: S603 - Guix's own words
    return ended.returncode == 0


def check_requirements(packages: Path, without: frozenset[str]) -> None:
    """Fail unless every package has what it requires, in a version that it accepts, WITHOUT those left out on purpose."""
    sys.path.insert(0, os.fspath(packages))
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found = {
        canonicalize_name(distribution.metadata["Name"]): distribution
        for distribution in importlib.metadata.distributions(path=[os.fspath(packages)])
    }
    missing = []
    pending = [(name, "") for name in found]
    seen = set()
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in found[name].requires or []:
            requirement = Requirement(text)
            wanted = canonicalize_name(requirement.name)
            if wanted in without or not (requirement.marker is None or requirement.marker.evaluate({"extra": extra})):
                continue
            if wanted not in found or not requirement.specifier.contains(found[wanted].version, prereleases=True):
                missing.append(f"{name} requires {text}")
            else:
                pending += [(wanted, wanted_extra) for wanted_extra in requirement.extras]
    if missing:
        sys.exit("the lock is not complete:\n" + "\n".join(sorted(missing)))


if __name__ == "__main__":
    main()
