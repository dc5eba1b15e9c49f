"""Stand-ins made of Debian packages: the files below ``/usr`` become those of the item."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from guixlab.errors import ExitCode, LabError
from guixlab.stand_ins.catalogue import FROM_DEBIAN, LAUNCHED, ONLY_PROGRAMS
from guixlab.stand_ins.lines import Output
from guixlab.stand_ins.workshop import Base, copy_into, make_launcher, unpack

PARTS = ("bin", "sbin", "lib", "libexec", "share", "include")
DROPPED = (
    *(f"share/{name}" for name in ("bug", "doc", "info", "lintian", "locale", "man", "menu")),
    *(f"lib/{name}" for name in ("binfmt.d", "mime", "python3", "sysctl.d", "systemd")),
)
SITE_PACKAGES = "lib/python3.11/site-packages"
AUXILIARY = "usr/share/guile/site/3.0/gnu/packages/aux-files"

Finish = Callable[[Base, Path, Output, Path], None]


def make_from_debian(base: Base, output: Output, tree: Path, scratch: Path) -> None:
    """Fill TREE with the stand-in for OUTPUT; SCRATCH is an empty place beside it."""
    files = unpack(base.folder, FROM_DEBIAN[output.key], scratch)
    tree.mkdir(parents=True)
    _copy_parts(files, tree)
    if finish := FINISH.get(output.key):
        finish(base, tree, output, files)
    if only := ONLY_PROGRAMS.get(output.name):
        for other in [program for program in (tree / "bin").iterdir() if program.name not in only]:
            other.unlink()
    for name, variables in LAUNCHED.get(output.name, {}).items():
        launch(base, tree, output.path, name, variables)
    for part in PARTS:
        if (tree / part).is_dir() and not any((tree / part).iterdir()):
            (tree / part).rmdir()


def _copy_parts(files: Path, tree: Path) -> None:
    for root in (files, files / "usr"):
        for part in PARTS:
            copy_into(root / part, tree / part)
    for part in DROPPED:
        shutil.rmtree(tree / part, ignore_errors=True)


def launch(base: Base, tree: Path, path: str, program: str, variables: Mapping[str, str]) -> None:
    """Put a launcher in the place of a program, which moves to ``libexec``."""
    real = tree / "libexec/real" / program
    real.parent.mkdir(parents=True, exist_ok=True)
    (tree / "bin" / program).rename(real)
    values = {name: value.replace("ITEM", path).replace("RUNTIME", base.runtime) for name, value in variables.items()}
    make_launcher(base, tree / "bin" / program, f"{path}/libexec/real/{program}", values)


def _finish_bash(base: Base, tree: Path, output: Output, files: Path) -> None:
    del base, output, files
    (tree / "bin/sh").unlink(missing_ok=True)
    (tree / "bin/sh").symlink_to("bash")
    (tree / "bin/bashbug").unlink(missing_ok=True)


def _finish_gcc_library(base: Base, tree: Path, output: Output, files: Path) -> None:
    del base, output, files
    flatten_libraries(tree)


def flatten_libraries(tree: Path) -> None:
    """Guix has libraries in ``lib``, Debian one directory further down."""
    deeper = tree / "lib/x86_64-linux-gnu"
    copy_into(deeper, tree / "lib")
    shutil.rmtree(deeper, ignore_errors=True)


def _finish_git(base: Base, tree: Path, output: Output, files: Path) -> None:
    del files
    (tree / "libexec").mkdir(exist_ok=True)
    (tree / "lib/git-core").rename(tree / "libexec/git-core")
    variables = {
        "GIT_EXEC_PATH": f"{output.path}/libexec/git-core",
        "GIT_TEMPLATE_DIR": f"{output.path}/share/git-core/templates",
    }
    for link in (tree / "bin").iterdir():
        if link.is_symlink() and link.readlink().name == "git":
            link.unlink()
            make_launcher(base, link, f"{output.path}/libexec/git-core/{link.name}", variables)
    make_launcher(base, tree / "bin/git", f"{output.path}/libexec/git-core/git", variables)
    if not (tree / "libexec/git-core/git").is_file():
        shutil.copy2(tree / "bin/git", tree / "libexec/git-core/git")


def _finish_guile(base: Base, tree: Path, output: Output, files: Path) -> None:
    del files
    executable = next(
        file
        for file in sorted(tree.rglob("guile*"))
        if file.is_file() and not file.is_symlink() and file.open("rb").read(4) == b"\x7fELF"
    )
    (tree / "libexec").mkdir(exist_ok=True)
    executable.rename(tree / "libexec/guile")
    (tree / "bin").mkdir(exist_ok=True)
    for old in (tree / "bin").iterdir():
        old.unlink()
    item = output.path
    variables = {
        "LOCPATH": f"{base.runtime}/lib/locale",
        "!GCONV_PATH": f"{base.runtime}/lib/gconv",
        "!GUILE_SYSTEM_PATH": f"{item}/share/guile/3.0:{item}/share/guile/site/3.0",
        "!GUILE_SYSTEM_COMPILED_PATH": f"{item}/lib/x86_64-linux-gnu/guile/3.0/ccache",
    }
    make_launcher(base, tree / "bin/guile", f"{item}/libexec/guile", variables)


def _finish_certificates(base: Base, tree: Path, output: Output, files: Path) -> None:
    del base, output
    for entry in tree.iterdir():
        shutil.rmtree(entry)
    target = tree / "etc/ssl/certs"
    target.mkdir(parents=True)
    for certificate in sorted((files / "usr/share/ca-certificates").rglob("*.crt")):
        shutil.copyfile(certificate, target / f"{certificate.stem}.pem")


def _finish_ncurses(base: Base, tree: Path, output: Output, files: Path) -> None:
    del output, files
    copy_into(base.folder.debian / "lib/terminfo", tree / "share/terminfo")


def _finish_python(base: Base, tree: Path, output: Output, files: Path) -> None:
    del output, files
    for name in ("python3", "python"):
        (tree / "bin" / name).unlink(missing_ok=True)
        (tree / "bin" / name).symlink_to("python3.11")
    library = tree / "lib/python3.11"
    (library / "sitecustomize.py").unlink(missing_ok=True)
    (library / "EXTERNALLY-MANAGED").unlink(missing_ok=True)
    site = library / "site-packages"
    site.mkdir()
    (site / "README").write_text("This directory contains packages that every Python program of this item can use.\n")
    # Guix's own, at the place where Guix installs it: `site` of a virtual environment never sees it.
    shutil.copyfile(base.folder.guix_root / AUXILIARY / "python/sitecustomize.py", site / "sitecustomize.py")
    # Debian's Python installs into and looks into `dist-packages`, any other into `site-packages`.
    _replace(library / "site.py", {'"dist-packages"': '"site-packages"'})
    _replace_in_program(tree / "bin/python3.11", b"dist-packages", b"site-packages")
    _replace(library / "sysconfig.py", {"prefix_scheme = 'posix_local'": "prefix_scheme = 'posix_prefix'"})


def _replace(file: Path, texts: Mapping[str, str]) -> None:
    """Replace each text in FILE; one that is not there means that Debian's file changed, and is told."""
    content = file.read_text()
    for old, new in texts.items():
        if old not in content:
            raise LabError(f"{file.name} does not hold {old!r} any more.", ExitCode.STAND_INS_FAILED)
        content = content.replace(old, new)
    file.write_text(content)


def _replace_in_program(program: Path, old: bytes, new: bytes) -> None:
    """Replace a constant by one of the same length: the interpreter holds compiled copies of some modules."""
    content = program.read_bytes()
    if old not in content or len(old) != len(new):
        raise LabError(f"{program.name} does not hold {old!r} any more.", ExitCode.STAND_INS_FAILED)
    program.write_bytes(content.replace(old, new))


def _finish_which(base: Base, tree: Path, output: Output, files: Path) -> None:
    del base, output, files
    (tree / "bin/which.debianutils").rename(tree / "bin/which")


FINISH: dict[str, Finish] = {
    "bash": _finish_bash,
    "bash-minimal": _finish_bash,
    "gcc:lib": _finish_gcc_library,
    "git": _finish_git,
    "git-minimal": _finish_git,
    "guile": _finish_guile,
    "ncurses": _finish_ncurses,
    "nss-certs": _finish_certificates,
    "python": _finish_python,
    "which": _finish_which,
}
