"""Stand-ins made of wheels: which wheel stands for which Guix package, fetched with hashes and unpacked."""

from __future__ import annotations

import configparser
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from guixlab.errors import ExitCode, LabError
from guixlab.folder import Folder, write_atomically
from guixlab.machine import run_inside, workshop_plan
from guixlab.stand_ins.catalogue import PROJECTS
from guixlab.stand_ins.debian import SITE_PACKAGES
from guixlab.stand_ins.lines import Output

LOCK = Path(__file__).resolve().parent / "wheels.lock"
PIP = ("/usr/bin/python3.11", "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps")
PIP_OPTIONS = ("--only-binary=:all:", "--no-cache-dir")
DOWNLOADS = 4


@dataclass(frozen=True)
class Wheel:
    """The wheel that stands for one version of a Guix package."""

    package: str
    version: str
    project: str
    wheel_version: str
    file: str
    sha256: str

    @property
    def key(self) -> tuple[str, str]:
        """What it is looked up by."""
        return self.package, self.version


def read_lock(text: str) -> dict[tuple[str, str], Wheel]:
    """The wheels of a lock: one JSON object a line."""
    wheels = [Wheel(**json.loads(line)) for line in text.splitlines() if line.strip()]
    return {wheel.key: wheel for wheel in wheels}


def render_lock(wheels: Iterable[Wheel]) -> str:
    """The text of a lock, sorted so that changes read well."""
    return "".join(json.dumps(asdict(wheel)) + "\n" for wheel in sorted(wheels, key=lambda wheel: wheel.key))


def project_of(package: str) -> str:
    """The package index's name for a Guix package such as ``python-pandas``."""
    return PROJECTS.get(package) or package.removeprefix("python-")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch_locked(folder: Folder, wheels: Sequence[Wheel]) -> None:
    """Download a group of wheels, no two of one project; pip checks the hashes."""
    requirements = folder.wheels / f"requirements-{wheels[0].sha256[:16]}.txt"
    requirements.write_text(
        "".join(f"{wheel.project}=={wheel.wheel_version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels)
    )
    command: list[str | Path] = [
        *PIP,
        *PIP_OPTIONS,
        "--require-hashes",
        "--dest",
        folder.wheels,
        "--requirement",
        requirements,
    ]
    try:
        run_inside(folder, workshop_plan(folder), command)
    except LabError as error:
        reason = error.message.strip().splitlines()[-1]
        raise LabError(
            f"The Python package index that pip is set to did not give the wheels of {LOCK.name}: {reason}",
            ExitCode.NO_ARCHIVE,
        ) from error
    finally:
        requirements.unlink(missing_ok=True)


def group(wheels: Sequence[Wheel], groups: int) -> list[list[Wheel]]:
    """Split wheels into at least GROUPS lists of about equal length, with no project twice in one list."""
    lists: list[list[Wheel]] = [[] for _ in range(groups)]
    for wheel in wheels:
        suited = [one for one in lists if all(other.project != wheel.project for other in one)]
        if not suited:
            suited = [[]]
            lists += suited
        min(suited, key=len).append(wheel)
    return [one for one in lists if one]


def fetch(folder: Folder, outputs: Sequence[Output]) -> tuple[dict[str, Path], list[str]]:
    """The wheel's file for each output's store path, and the outputs that no wheel can be had for.

    Wheels in the lock come with the lock's hash.  For others, the index is asked for Guix's version, or any.
    """
    folder.wheels.mkdir(exist_ok=True)
    lock = read_lock(LOCK.read_text()) if LOCK.exists() else {}
    locked = [lock[output.name, output.version] for output in outputs if (output.name, output.version) in lock]
    absent = [wheel for wheel in locked if not (folder.wheels / wheel.file).exists()]
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        list(pool.map(lambda wheels: _fetch_locked(folder, wheels), group(absent, DOWNLOADS)))
        others = [output for output in outputs if (output.name, output.version) not in lock]
        found = dict(
            zip((output.path for output in others), pool.map(lambda one: _fetch_any(folder, one), others), strict=True)
        )
    files: dict[str, Path] = {}
    missing = []
    for output in outputs:
        known = lock.get((output.name, output.version)) or found.get(output.path)
        if known is None:
            missing.append(f"{output.name}@{output.version}")
        else:
            files[output.path] = folder.wheels / known.file
    return files, missing


def _fetch_any(folder: Folder, output: Output) -> Wheel | None:
    """Ask the index for a wheel of Guix's version, else of any version."""
    project = project_of(output.name)
    place = folder.wheels / f"{output.name}-{output.version}.new"
    for requirement in (f"{project}=={output.version}", project):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            run_inside(folder, workshop_plan(folder), [*PIP, *PIP_OPTIONS, "--dest", place, requirement])
        except LabError:
            continue
        file = next(place.glob("*.whl")).rename(folder.wheels / next(place.glob("*.whl")).name)
        place.rmdir()
        return Wheel(output.name, output.version, project, file.name.split("-")[1], file.name, _digest(file))
    shutil.rmtree(place, ignore_errors=True)
    return None


def make_from_wheel(wheel: Path, python: str, tree: Path) -> None:
    """Fill TREE with a wheel, laid out as Guix's build system lays out Python packages."""
    packages = tree / SITE_PACKAGES
    packages.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    for data in packages.glob("*.data"):
        for kind, target in (("data", tree), ("purelib", packages), ("platlib", packages), ("scripts", tree / "bin")):
            if (data / kind).is_dir():
                shutil.copytree(data / kind, target, dirs_exist_ok=True)
        shutil.rmtree(data)
    interpreter = f"{python}/bin/python3"
    for listing in packages.glob("*.dist-info/entry_points.txt"):
        _write_scripts(listing, tree / "bin", interpreter)
    for script in (tree / "bin").glob("*"):
        content = script.read_bytes()
        if content.startswith(b"#!python"):
            script.write_bytes(b"#!" + interpreter.encode() + b"\n" + content.split(b"\n", 1)[1])
        script.chmod(0o755)
    # A wheel's kernel says just `python`; Guix's kernels say which.
    for kernel in tree.rglob("kernel.json"):
        kernel.write_text(kernel.read_text().replace('"python"', f'"{interpreter}"', 1))


def _write_scripts(listing: Path, target: Path, interpreter: str) -> None:
    entries = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    entries.optionxform = str  # type: ignore[assignment,method-assign]  # names of programs keep their case
    entries.read_string(listing.read_text())
    for name, value in entries.items("console_scripts") if entries.has_section("console_scripts") else []:
        module, _, function = value.split("[")[0].strip().partition(":")
        target.mkdir(exist_ok=True)
        text = f"#!{interpreter}\nimport sys\nfrom {module} import {function.split('.')[0]}\nsys.exit({function}())\n"
        (target / name).write_text(text)


def lock_outputs(folder: Folder, outputs: Sequence[Output]) -> str:
    """Write the lock anew for OUTPUTS, keeping what it says of others, and tell how many there are."""
    folder.wheels.mkdir(exist_ok=True)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        found = [wheel for wheel in pool.map(lambda output: _fetch_any(folder, output), outputs) if wheel]
    if not found:
        raise LabError("The package index gave no wheel at all; nothing was changed.", ExitCode.NO_ARCHIVE)
    kept = read_lock(LOCK.read_text()) if LOCK.exists() else {}
    write_atomically(LOCK, render_lock({**kept, **{wheel.key: wheel for wheel in found}}.values()))
    return f"{LOCK.name} holds {len(found)} wheels of {len(outputs)} packages."
