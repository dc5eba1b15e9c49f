"""Fills the farm's store with stand-ins for packages and all that profiles of them need."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from guixlab.errors import ExitCode, LabError
from guixlab.folder import Contents, Folder, read_json, remove_tree, write_atomically
from guixlab.host import free_gigabytes, require_space
from guixlab.machine import SCHEME, run_guile
from guixlab.provision import wanted_stamps
from guixlab.stand_ins import wheels
from guixlab.stand_ins.catalogue import DEFAULT_SPECIFICATIONS, DEFAULT_VARIABLES, FROM_DEBIAN, LEFT_OUT
from guixlab.stand_ins.debian import make_from_debian
from guixlab.stand_ins.lines import Output, Wanted, read_wanted
from guixlab.stand_ins.r import RPackages, make_r
from guixlab.stand_ins.runtime import ensure_base
from guixlab.stand_ins.store import put, valid_paths
from guixlab.stand_ins.workshop import Base, compile_modules, patch_executables


@dataclass
class Report:
    """What `farm` did: the outputs made, and what it has nothing for."""

    made: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0


def ask_guix(folder: Folder, specifications: Sequence[str]) -> Wanted:
    """Have Guix work out what profiles of these packages are made of."""
    without = (f"-{beginning}" for beginning in LEFT_OUT)
    return read_wanted(run_guile(folder, folder.farm, "plan.scm", *without, *DEFAULT_VARIABLES, *specifications))


def _stamp(specifications: Sequence[str]) -> str:
    lock = wheels.LOCK.read_bytes() if wheels.LOCK.exists() else b""
    parts = [
        (SCHEME / "plan.scm").read_text(),
        wanted_stamps(),
        sorted(specifications),
        DEFAULT_VARIABLES,
        LEFT_OUT,
        hashlib.sha256(lock).hexdigest(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def farm(folder: Folder, specifications: Sequence[str]) -> Report:
    """Make the stand-ins for SPECIFICATIONS, or for the default list, that the farm does not hold yet."""
    if platform.machine() != "x86_64":
        raise LabError(
            f"Stand-ins are made for x86-64 and this machine is {platform.machine()}; with --substitutes=official, "
            "Guix's own substitute servers are used.",
            ExitCode.STAND_INS_FAILED,
        )
    began = time.monotonic()
    report = Report()
    chosen = tuple(specifications) or DEFAULT_SPECIFICATIONS
    with folder.locked("stand-ins"):
        done = read_json(folder.stand_ins_stamp)
        stamp = _stamp(chosen)
        if stamp in done:
            report.missing = list(done[stamp])
            return report
        wanted = ask_guix(folder, chosen)
        unknown = [f"{name} (Guix has no such package)" for name in wanted.unknown]
        valid = valid_paths(folder)
        lacking = [output for output in wanted.outputs if output.path not in valid]
        if lacking:
            require_space(folder.path, min(2.0, free_gigabytes()))
            _make(folder, wanted, lacking, report)
        report.missing += unknown
        write_atomically(folder.stand_ins_stamp, json.dumps({**done, stamp: report.missing}))
    report.seconds = time.monotonic() - began
    return report


def _make(folder: Folder, wanted: Wanted, lacking: list[Output], report: Report) -> None:
    remove_tree(folder.items)
    folder.items.mkdir(parents=True)
    base = ensure_base(folder)
    maker = _Maker(base, wanted)
    python_outputs = [one for one in lacking if one.output == "out" and one.name.startswith("python-")]
    trees: dict[str, Path] = {}
    with ThreadPoolExecutor(1) as downloads:
        fetched = downloads.submit(wheels.fetch, folder, python_outputs)
        for output in lacking:
            if output not in python_outputs:
                _make_one(folder, output, maker.choose(output), trees, report)
        _make_wheels(folder, python_outputs, fetched, maker, trees, report)
    patch_executables(base, list(trees.values()))
    compile_modules(base, list(trees.values()))
    referable = {base.runtime, base.busybox, *(output.path for output in wanted.outputs)}
    put(folder, trees, referable)
    report.made += [Path(path).name[33:] for path in trees]
    remove_tree(folder.items)
    # The hub remembers for a while that it was told there is none.
    shutil.rmtree(folder.hub(Contents.STAND_INS).state / "substitute/cache", ignore_errors=True)


Make = Callable[[Path, Path], None]


def _make_one(folder: Folder, output: Output, make: Make | None, trees: dict[str, Path], report: Report) -> None:
    if make is None:
        report.missing.append(f"{output.name}@{output.version}")
        return
    tree, scratch = folder.items / output.base, folder.items / f"{output.base}.scratch"
    try:
        make(tree, scratch)
    except (OSError, StopIteration) as error:
        raise LabError(f"The stand-in for {output.key} cannot be made: {error}", ExitCode.STAND_INS_FAILED) from error
    shutil.rmtree(scratch, ignore_errors=True)
    trees[output.path] = tree


def _make_wheels(
    folder: Folder,
    outputs: list[Output],
    fetched: Future[tuple[dict[str, Path], list[str]]],
    maker: _Maker,
    trees: dict[str, Path],
    report: Report,
) -> None:
    files, missing = fetched.result()
    report.missing += missing
    for output in outputs:
        if file := files.get(output.path):
            _make_one(folder, output, maker.from_wheel(file), trees, report)


class _Maker:
    """Knows which recipe makes which output."""

    def __init__(self, base: Base, wanted: Wanted) -> None:
        self.base = base
        self.r_packages = RPackages(base.folder, wanted)
        self.python = next((output.path for output in wanted.outputs if output.key == "python"), "")

    def from_wheel(self, wheel: Path) -> Make:
        """What makes a stand-in of WHEEL."""
        return lambda tree, _: wheels.make_from_wheel(wheel, self.python, tree)

    def choose(self, output: Output) -> Make | None:
        """What makes OUTPUT, or None when there is nothing to make it of."""
        base, folder = self.base, self.base.folder
        if output.name == "r-minimal":
            return lambda tree, scratch: make_r(base, output, tree, scratch)
        if output.key in FROM_DEBIAN:
            return lambda tree, scratch: make_from_debian(base, output, tree, scratch)
        if output.output != "out":
            return _make_nothing
        if output.name.startswith("r-") and self.r_packages.can_make(output):
            return lambda tree, scratch: self.r_packages.make(output, tree, scratch)
        if output.name in ("glibc-locales", "glibc-utf8-locales"):
            source = folder.farm.store / Path(base.runtime).name / "lib/locale"
            return lambda tree, _: _make_locales(source, tree, output.version)
        if output.name == "mkfontdir":
            return lambda tree, _: _make_font_command(tree, base.busybox)
        if output.name in ("glib", "gcc", "readline"):
            return _make_nothing
        return None


def _make_nothing(tree: Path, scratch: Path) -> None:
    """Outputs that Guix builds along with others and that nobody asks for."""
    del scratch
    tree.mkdir()


def _make_locales(source: Path, tree: Path, version: str) -> None:
    shutil.copytree(source, tree / "lib/locale" / version)
    for directory in (tree, *(entry for entry in tree.rglob("*") if entry.is_dir())):
        directory.chmod(0o755)


def _make_font_command(tree: Path, busybox: str) -> None:
    (tree / "bin").mkdir(parents=True)
    command = tree / "bin/mkfontdir"
    command.write_text(f'#!{busybox}/bin/sh\nexec mkfontscale -b -s -l "$@"\n')
    command.chmod(0o755)


def lock_wheels(folder: Folder, specifications: Sequence[str]) -> str:
    """Write ``wheels.lock`` anew for the Python packages of SPECIFICATIONS, or of the default list."""
    wanted = ask_guix(folder, tuple(specifications) or DEFAULT_SPECIFICATIONS)
    outputs = [output for output in wanted.outputs if output.output == "out" and output.name.startswith("python-")]
    return wheels.lock_outputs(folder, outputs)
