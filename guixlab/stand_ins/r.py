"""R and its packages in Guix's layout, from Debian's ``r-base-core`` and ``r-cran-*``."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from guixlab.errors import ExitCode, LabError
from guixlab.folder import Folder
from guixlab.stand_ins.lines import Output, Wanted
from guixlab.stand_ins.runtime import render_font_configuration
from guixlab.stand_ins.workshop import Base, copy_into, find_archive, make_launcher, unpack

LIBRARIES = ("usr/lib/R/site-library", "usr/lib/R/library")
DEPENDENCY = re.compile(r"\b(r-(?:cran|bioc)-[a-z0-9.+-]+)")
# Packages that came with later versions than Debian's, whose dependants there do without: nothing stands in.
WITHOUT_CONTENTS = ("r-otel", "r-s7")
# As long as `/usr/bin/which`, which R's code has compiled in and hands to a shell.
WHICH = "STANDIN_WHICH"


def debian_name(guix_name: str) -> str:
    """Debian's package for a Guix package such as ``r-ggplot2``."""
    return f"r-cran-{guix_name.removeprefix('r-')}"


def make_r(base: Base, output: Output, tree: Path, scratch: Path) -> None:
    """R itself: ``lib/R`` is R_HOME, and ``R`` and ``Rscript`` know it."""
    files = unpack(base.folder, ("r-base-core",), scratch)
    home = tree / "lib/R"
    tree.mkdir(parents=True)
    shutil.copytree(files / "usr/lib/R", home, symlinks=True)
    # Debian keeps the configuration in /etc and the rest in /usr/share.
    for link in [entry for entry in (home / "etc").iterdir() if entry.is_symlink()]:
        source = files / str(link.readlink()).lstrip("/")
        link.unlink()
        if source.is_file():
            shutil.copy2(source, link)
    (home / "COPYING").unlink(missing_ok=True)
    for part in ("share", "doc", "include"):
        (home / part).unlink(missing_ok=True)
        copy_into(files / "usr/share/R" / part, home / part)
    path = f"{output.path}/lib/R"
    _write_configuration(base, home)
    _relocate_scripts(home, path)
    fonts = tree / "share/fontconfig/fonts.conf"
    fonts.parent.mkdir(parents=True)
    fonts.write_text(render_font_configuration(f"{base.runtime}/share/fonts"))
    replace_in_lazy_load(home / "library/base/R/base.rdb", b"/usr/bin/which", f"${WHICH}".encode())
    variables = {
        f"!{WHICH}": f"{base.busybox}/bin/which",
        "FONTCONFIG_FILE": f"{output.path}/share/fontconfig/fonts.conf",
        "TZDIR": f"{base.runtime}/share/zoneinfo",
    }
    (tree / "bin").mkdir()
    make_launcher(base, tree / "bin/R", f"{path}/bin/R", variables)
    shutil.copy2(files / "usr/lib/R/bin/Rscript", home / "bin/Rscript.real")
    for place in (tree / "bin/Rscript", home / "bin/Rscript"):
        make_launcher(base, place, f"{path}/bin/Rscript.real", {**variables, "!RHOME": path})


def replace_in_lazy_load(database: Path, old: bytes, new: bytes) -> None:
    """Replace a constant by one of the same length in R's compiled code.

    Each entry of such a database is its length when unpacked (four bytes, big endian) and a zlib stream; an index
    elsewhere has offsets and lengths, so the new stream is made as long as the old one with bytes behind its end.
    """
    content = bytearray(database.read_bytes())
    position, changed = 0, 0
    while position < len(content):
        stream = zlib.decompressobj()
        value = stream.decompress(bytes(content[position + 4 :]))
        length = len(content) - position - 4 - len(stream.unused_data)
        if old in value:
            packed = zlib.compress(value.replace(old, new), 9)
            if len(old) != len(new) or len(packed) > length:
                raise LabError(f"{database.name} cannot hold {new!r}.", ExitCode.STAND_INS_FAILED)
            content[position + 4 : position + 4 + length] = packed.ljust(length, b"\0")
            changed += 1
        position += 4 + length
    if not changed:
        raise LabError(f"{database.name} does not hold {old!r} any more.", ExitCode.STAND_INS_FAILED)
    database.write_bytes(content)


def _write_configuration(base: Base, home: Path) -> None:
    template = base.folder.debian / "usr/share/R/etc/Renviron"
    source = next((file for file in (home / "etc/Renviron", home / "etc/Renviron.ucf", template) if file.is_file()), None)
    lines = source.read_text().splitlines() if source else []
    # Guix's R looks where R_LIBS_SITE says, which a profile sets, and nowhere else.
    kept = [line for line in lines if not line.startswith(("R_LIBS_SITE", "R_LIBS_USER"))]
    kept += ["R_LIBS_SITE=${R_LIBS_SITE-'NULL'}", "R_LIBS_USER=${R_LIBS_USER-'%U'}"]
    text = re.sub(r"(?<![\w/])/(?:usr/)?bin/", "", "\n".join(kept))
    (home / "etc/Renviron").write_text(text + "\n")
    (home / "etc/Renviron.ucf").unlink(missing_ok=True)
    (home / "etc/ldpaths").write_text("# Libraries are found through the programs' own search path.\n")
    (home / "etc/Rprofile.site").write_text("")


def _relocate_scripts(home: Path, path: str) -> None:
    changes = {
        "/usr/share/R/share": f"{path}/share",
        "/usr/share/R/include": f"{path}/include",
        "/usr/share/R/doc": f"{path}/doc",
        "SED=/bin/sed": "SED=sed",
    }
    for script in [*(home / "bin").iterdir(), home / "etc/Renviron", home / "etc/Makeconf"]:
        if not script.is_file() or script.is_symlink() or script.open("rb").read(4) == b"\x7fELF":
            continue
        text = script.read_text(errors="surrogateescape")
        if script.name == "R":
            # The script's own search for R_HOME, from the assignment to the end of its conditional.
            text = re.sub(r"^R_HOME_DIR=.*?^fi$", f"R_HOME_DIR={path}", text, count=1, flags=re.S | re.M)
        for old, new in changes.items():
            text = text.replace(old, new)
        mode = script.stat().st_mode
        script.write_text(re.sub(r"/usr/lib/R\b", path, text), errors="surrogateescape")
        script.chmod(mode)


def dependencies(folder: Folder, package: str) -> tuple[str, ...]:
    """The R packages that a Debian package depends on directly."""
    command = ["dpkg-deb", "--field", str(find_archive(folder, package)), "Depends"]
    return tuple(DEPENDENCY.findall(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def bundled(package: str, propagated: frozenset[str], depends: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The Debian packages that the stand-in for PACKAGE holds: itself, and what only Debian's version needs.

    PROPAGATED are the Debian names of what every profile with it holds anyway; DEPENDS the direct dependencies by name.
    """
    found: list[str] = []
    queue = [package]
    while queue:
        current = queue.pop(0)
        if current in found:
            continue
        found.append(current)
        queue += [name for name in depends.get(current, ()) if name not in propagated]
    return tuple(found)


class RPackages:
    """Makes stand-ins for R packages, knowing which others come with each of them."""

    def __init__(self, folder: Folder, wanted: Wanted) -> None:
        archives = folder.debian / "var/cache/apt/archives"
        self.folder = folder
        self.available = {file.name.split("_")[0] for file in archives.glob("r-cran-*.deb")}
        self.depends = {name: dependencies(folder, name) for name in self.available}
        self.propagated = wanted.propagated
        self.r = next((output.path for output in wanted.outputs if output.key == "r-minimal"), "")

    def can_make(self, output: Output) -> bool:
        """Whether Debian has it, or nothing is to stand in for it."""
        return output.name in WITHOUT_CONTENTS or debian_name(output.name) in self.available

    def make(self, output: Output, tree: Path, scratch: Path) -> None:
        """Fill TREE with the stand-in for an R package."""
        library = tree / "site-library"
        library.mkdir(parents=True)
        if output.name in WITHOUT_CONTENTS:
            return
        propagated = frozenset(debian_name(name) for name in self.propagated.get(output.name, ()))
        packages = bundled(debian_name(output.name), propagated, self.depends)
        files = unpack(self.folder, [name for name in packages if name in self.available], scratch)
        for place in LIBRARIES:
            copy_into(files / place, library)
        for link in [entry for entry in library.rglob("*") if entry.is_symlink()]:
            resolve(link, (files, self.folder.debian))
        if output.name == "r-irkernel":
            self._install_kernel(tree)

    def _install_kernel(self, tree: Path) -> None:
        kernel = tree / "share/jupyter/kernels/ir"
        shutil.copytree(tree / "site-library/IRkernel/kernelspec", kernel)
        specification = kernel / "kernel.json"
        # As Guix's package does it: the interpreter's full path.
        specification.write_text(specification.read_text().replace('["R",', f'["{self.r}/bin/R",'))


def resolve(link: Path, trees: Sequence[Path]) -> None:
    """Put the file in the place of a link that leads into one of Debian's TREES, or drop a link to nothing."""
    target = str(link.readlink())
    if not target.startswith("/"):
        if not link.exists():
            link.unlink()
        return
    link.unlink()
    source = next((place for tree in trees if (place := tree / target.lstrip("/")).exists()), None)
    if source and source.is_dir():
        shutil.copytree(source, link, ignore_dangling_symlinks=True)
    elif source:
        shutil.copy2(source, link)
