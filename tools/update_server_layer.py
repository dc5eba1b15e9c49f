"""Update, or check, the lock files of the server layer: which wheels the single-user server is made of.

    python tools/update_server_layer.py            resolve anew, verify every file, write share/guix/server-layer/lock-*.json
    python tools/update_server_layer.py --check    without network: is each lock complete, consistent and in its normal form?

There is one lock for each JupyterHub series that is supported, all with the same JupyterLab. uv resolves, for the Python of
Guix and the systems below, and asks whatever index it is configured for; a lock holds no host, only the path that the Python
Package Index gives every file (the file's own hash), and the Guix package puts Guix's own address of that index before it.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

FOLDER = Path(__file__).resolve().parent.parent / "share/guix/server-layer"
SCHEMA = 1
PYTHON = (3, 11)
"""The Python of Guix that the wheels are for."""

SERIES = {
    "5": ("jupyterhub==5.5.*", "jupyterlab==4.6.*", "jupyter-server-proxy==4.*"),
    "6": ("jupyterhub==6.1.*", "jupyterlab==4.6.*", "jupyter-server-proxy==4.*"),
}

EXCLUDED = {
    "ipykernel": "Kernels come from the environments. JupyterLab and jupyter-server only mention it: a server of its own "
    "Python would show up as a kernel in every session.",
    "certipy": "Makes the hub's own certificates (internal_ssl); a single-user server is handed finished ones. With it goes "
    "cryptography, 15 MB, which jupyterhub.crypto does without where no auth state is kept.",
    "oauthlib": "The hub's side of OAuth; the single-user server's side is in jupyterhub.services.auth.",
    "pamela": "The hub's PAMAuthenticator.",
    "pydantic": "The hub's REST API for sharing.",
    "rfc3987-syntax": "Checks the format “iri” in JSON schemas, which no schema of Jupyter's asks for, and makes its parser "
    "when it is imported: half of the time that a server takes to start. jsonschema does without.",
}
"""What the resolver leaves out, with all that only these need, and why a session does without."""

BUILD_TOOL = "installer"
"""Installs the others while Guix builds the layer, and is not part of it."""

GLIBC = 34
"""Wheels for manylinux_2_34 and older: Guix 1.5 has glibc 2.41, and Debian 12, which stands in for it in tests, 2.36."""

SYSTEMS = {"aarch64-linux": "aarch64", "x86_64-linux": "x86_64"}
"""Guix's name of each system and the wheels' name of its processor."""

PATH_FORM = re.compile(r"packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/")


@dataclass(frozen=True, order=True)
class Wheel:
    """One file of a lock."""

    name: str
    version: str
    file: str
    path: str
    """Where the file is, from the root of the server that holds the index's files."""
    sha256: str
    systems: tuple[str, ...]
    """Guix's names of the systems that this file is for."""


def tags(system: str) -> list[Tag]:
    """Return the tags of wheels that Guix's Python can load on SYSTEM, best first."""
    machine = SYSTEMS[system]
    older_names = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    platforms = []
    for minor in range(GLIBC, 4, -1):
        platforms.append(f"manylinux_2_{minor}_{machine}")
        if minor in older_names:
            platforms.append(f"{older_names[minor]}_{machine}")
    interpreter = f"cp{PYTHON[0]}{PYTHON[1]}"
    return [*cpython_tags(PYTHON, [interpreter], platforms), *compatible_tags(PYTHON, interpreter, platforms)]


def choose(files: Iterable[Mapping[str, object]], system: str) -> Mapping[str, object]:
    """Return the one of an index's FILES that suits SYSTEM best; raises `LookupError` where none does."""
    ranks = {tag: rank for rank, tag in enumerate(tags(system))}
    ranked = []
    for file in files:
        wheel_tags = parse_wheel_filename(file_name(file))[3]
        rank = min((ranks[tag] for tag in wheel_tags if tag in ranks), default=None)
        if rank is not None:
            ranked.append((rank, file_name(file), file))
    if not ranked:
        raise LookupError(f"no wheel for {system} among {[file_name(file) for file in files]}")
    return min(ranked, key=lambda entry: entry[:2])[2]


def file_name(file: Mapping[str, object]) -> str:
    """Return the name of a FILE of pylock.toml (PEP 751: a name, or the last part of the address)."""
    return str(file.get("name") or urlsplit(str(file["url"])).path.rpartition("/")[2])


def resolve(requirements: Iterable[str], system: str) -> dict[Wheel, str]:
    """Have uv find versions that go together on SYSTEM; return the file of each with its address."""
    with tempfile.TemporaryDirectory() as folder:
        overrides, lock = Path(folder, "overrides.txt"), Path(folder, "pylock.toml")
        overrides.write_text("".join(f'{name} ; python_version < "3"\n' for name in EXCLUDED))
        command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header"]
        command += ["--format=pylock.toml", f"--output-file={lock}", f"--override={overrides}"]
        command += ["--only-binary=:all:", f"--python-version={PYTHON[0]}.{PYTHON[1]}"]
        command += [f"--python-platform={SYSTEMS[system]}-manylinux_2_{GLIBC}"]
        subprocess.run(command, input="\n".join(requirements), text=True, check=True)
        packages = tomllib.loads(lock.read_text())["packages"]
    wheels = {}
    for package in packages:
        file = choose(package["wheels"], system)
        address = str(file["url"])
        hashes = file["hashes"]
        assert isinstance(hashes, dict)
        path = urlsplit(address).path.lstrip("/")
        wheel = Wheel(package["name"], package["version"], file_name(file), path, hashes["sha256"], (system,))
        wheels[wheel] = address
    return wheels


def verify(wheel: Wheel, address: str) -> None:
    """Fetch the file of WHEEL and raise `ValueError` when it is not what the index says."""
    with urllib.request.urlopen(address, timeout=120) as answer:
        found = hashlib.file_digest(answer, "sha256").hexdigest()
    if found != wheel.sha256:
        raise ValueError(f"{wheel.file} has the SHA-256 {found}, and its index says {wheel.sha256}")


def merged(found: Iterable[Wheel]) -> list[Wheel]:
    """Return the wheels of all systems, one entry for each file, in order."""
    systems: dict[tuple[str, str, str, str, str], set[str]] = {}
    for wheel in found:
        entry = (wheel.name, wheel.version, wheel.file, wheel.path, wheel.sha256)
        systems.setdefault(entry, set()).update(wheel.systems)
    return sorted(Wheel(*entry, tuple(sorted(names))) for entry, names in systems.items())


def update(series: str) -> Path:
    """Resolve SERIES anew and write its lock; returns where."""
    addresses: dict[Wheel, str] = {}
    pins: list[str] = []
    for system in SYSTEMS:
        found = resolve([*SERIES[series], BUILD_TOOL, *pins], system)
        addresses |= found
        # The same versions on every system, as far as a system needs them.
        pins = sorted({f"{wheel.name}=={wheel.version}" for wheel in addresses})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(verify, addresses, addresses.values()))
    lock = FOLDER / f"lock-{series}.json"
    lock.write_text(serialised(series, merged(addresses)))
    return lock


def serialised(series: str, wheels: Iterable[Wheel]) -> str:
    """Return the text of a lock file."""
    value = {
        "schema": SCHEMA,
        "series": series,
        "python": f"{PYTHON[0]}.{PYTHON[1]}",
        "requirements": list(SERIES[series]),
        "excluded": EXCLUDED,
        "build-tool": BUILD_TOOL,
        "wheels": [asdict(wheel) for wheel in wheels],
    }
    return json.dumps(value, indent=1) + "\n"


def read(lock: Path) -> list[Wheel]:
    """Return the wheels of a LOCK file; raises `ValueError` or `TypeError` when it is none."""
    entries = json.loads(lock.read_text())["wheels"]
    return [Wheel(**{**entry, "systems": tuple(entry["systems"])}) for entry in entries]


def problems(series: str, lock: Path) -> list[str]:
    """Return what is wrong with the LOCK file of SERIES, as sentences; nothing when it is as `update` would write it."""
    try:
        wheels = read(lock)
    except (OSError, ValueError, TypeError, KeyError) as error:
        return [f"cannot be read: {error}"]
    found = [problem for wheel in wheels for problem in wheel_problems(wheel)]
    if lock.read_text() != serialised(series, merged(wheels)):
        found.append("is not in its normal form, or was resolved from other requirements than this program's")
    for system in SYSTEMS:
        versions = [(wheel.name, wheel.version) for wheel in wheels if system in wheel.systems]
        names = [name for name, _ in versions]
        found += [f"has two files of {name} for {system}" for name in sorted({n for n in names if names.count(n) > 1})]
        for text in (*SERIES[series], BUILD_TOOL):
            wanted = Requirement(text)
            if not any(name == wanted.name and wanted.specifier.contains(version) for name, version in versions):
                found.append(f"lacks {text} for {system}")
    return found


def wheel_problems(wheel: Wheel) -> list[str]:
    """Return what is wrong with the entry of one WHEEL."""
    name, version, _, wheel_tags = parse_wheel_filename(wheel.file)
    found = []
    if (name, str(version)) != (canonicalize_name(wheel.name), wheel.version):
        found.append("is not the version that its entry says")
    if wheel.name in EXCLUDED:
        found.append("is left out on purpose, and yet there")
    if not re.fullmatch(r"[0-9a-f]{64}", wheel.sha256):
        found.append("has no SHA-256")
    if not PATH_FORM.fullmatch(wheel.path.removesuffix(wheel.file)):
        found.append("is not where the index puts its files")
    unsuitable = [name for name in wheel.systems if name not in SYSTEMS or wheel_tags.isdisjoint(tags(name))]
    found += [f"cannot be loaded on {name}" for name in unsuitable]
    return [f"{wheel.file} {problem}" for problem in found]


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, ask nobody: only look")
    options = parser.parse_args()
    os.chdir(FOLDER)
    failed = False
    for series in SERIES:
        if not options.check:
            print(f"resolving for JupyterHub {series}", flush=True)
            update(series)
        lock = FOLDER / f"lock-{series}.json"
        for problem in problems(series, lock):
            failed = True
            print(f"{lock.name} {problem}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
