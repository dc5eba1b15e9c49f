"""``guix-build-service read FILE``: say what a manifest or a channels file says, as the service reads it.

Nothing of FILE is run, unless ``--evaluate`` says to run one that is no data, within the service's walls.  Needs neither the
service nor a hub nor a database.  Where there is a Guix, it says which packages the names stand for; with ``--no-guix``, or
without one, they are shown as they are written.  FILE is a channels file where its name begins with ``channels``.  Ends with
status 0 when everything was read and Guix has it, else with 1.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.jail.plan import chosen
from guix_build_service.manifest.allowed_channels import refusal
from guix_build_service.manifest.canonical import Entry, Kind, Named
from guix_build_service.manifest.channels import ChannelsReading, read_channels
from guix_build_service.manifest.grammar import NeighbourNeeded, Reading, read_manifest
from guix_build_service.manifest.reader import LARGEST_TEXT
from guix_build_service.pipeline.definitions import needed
from guix_build_service.pipeline.guix import Listed, listed, search_path, system
from guix_environment.errors import GuixSpawnerError, ManifestMissing, ManifestUnreadable, PackagesDefined
from guix_environment.guix_command import GuixCommand


@dataclass(frozen=True, slots=True)
class _Place:
    """Where FILE lies: in the folder of its repository, under a name."""

    root: Path
    name: str


def main(words: Sequence[str]) -> int:
    """Read the file that WORDS name, print what it says, and return the exit status."""
    parser = argparse.ArgumentParser(prog="guix-build-service read", description=__doc__.partition("\n\n")[0])
    parser.add_argument("file", type=Path, help="a manifest, or a channels file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--no-guix", action="store_true", help="do not ask Guix what the names stand for")
    parser.add_argument("--root", type=Path, help="the repository's folder; found by its .git unless given")
    parser.add_argument("--evaluate", action="store_true", help="run a manifest that is no data, within walls")
    parser.add_argument("--account", default="", help="with --evaluate: the account to run it as, for root")
    parser.add_argument("--guix-root", type=Path, default=Path("/"), help="with --evaluate: the system that has Guix")
    options = parser.parse_args(list(words))
    answer = _answer(options.file, options.root, ask=not options.no_guix)
    if options.evaluate and answer["kind"] == "manifest" and answer["refusals"]:
        answer = _evaluated(answer, options.file, options.root, options.account, options.guix_root)
    print(json.dumps(answer, indent=2, ensure_ascii=False) if options.json else _text(answer))
    return 1 if answer["refusals"] or answer.get("problem") else 0


def _answer(file: Path, root: Path | None, *, ask: bool) -> dict[str, object]:
    """Return what is known of FILE, as JSON."""
    kind = "channels" if file.name.startswith("channels") else "manifest"
    answer: dict[str, object] = {"file": str(file), "kind": kind, "level": None, "refusals": []}
    try:
        place = _place(file, root)
        reading = _read(place, kind)
    except ManifestUnreadable as error:
        return {**answer, "refusals": [_refusal(error, file)]}
    except ManifestMissing as error:
        missing = {"file": str(file), "line": None, "column": None, "reason": error.message, "hint": error.hint}
        return {**answer, "refusals": [missing]}
    answer["level"] = f"L{int(reading.level)}"
    if isinstance(reading, ChannelsReading):
        return answer | {"channels": [{**item.as_json(), "refused": refusal(item, ()) or None} for item in reading.channels]}
    answer["files"] = list(reading.files)
    answer["entries"] = [_entry(entry) for entry in reading.packages.entries]
    answer["packages"] = [_written(entry) for entry in reading.packages.entries]
    answer["resolved"] = False
    return answer | (_resolved(reading) if ask else {})


def _evaluated(
    answer: Mapping[str, object], file: Path, root: Path | None, account: str, guix_root: Path
) -> dict[str, object]:
    """Return what running FILE tells, of which ANSWER says why it is no data."""
    with _guix() as (command, folder):
        evaluation = Evaluation(command, account=account, root=guix_root)
        try:
            place = _place(file, root)
            files = files_below(place.root)
            found = asyncio.run(evaluation.packages(files, place.name, {}))
            packages = asyncio.run(listed(command, found, folder))
        except PackagesDefined as error:
            return {**answer, "problem": error.as_json(), **_definitions(evaluation, files, place.name, folder)}
        except GuixSpawnerError as error:
            return {**answer, "problem": error.as_json()}
    not_data = {"evaluated": True, "resolved": True, "refusals": [], "not_data": answer["refusals"]}
    return {**answer, **not_data, "packages": [_shown(item) for item in packages]}


def _definitions(evaluation: Evaluation, files: Mapping[str, bytes], manifest: str, folder: Path) -> dict[str, object]:
    """Return what it would take to build the packages that MANIFEST makes, or what keeps them from being built at all."""
    try:
        found = asyncio.run(needed(evaluation, files, manifest, folder))
    except GuixSpawnerError as error:
        return {"problem": error.as_json()}
    inspected = found.inspected
    return {"definitions": {"packages": found.own, "builds": inspected.new, "downloads_from": sorted(inspected.hosts)}}


def files_below(root: Path) -> dict[str, bytes]:
    """Return the files that a manifest of the folder ROOT may read when it is run."""
    found = {}
    for place, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - {".git"})
        for path in (Path(place, name) for name in sorted(names)):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST_TEXT:
                found[str(path.relative_to(root))] = path.stat().st_size
    return {name: (root / name).read_bytes() for name in chosen(found)}


@contextlib.contextmanager
def _guix() -> Iterator[tuple[GuixCommand, Path]]:
    """Give Guix as this account calls it, and a folder for files in between."""
    with tempfile.TemporaryDirectory(prefix="guix-build-service-read-") as name:
        folder = Path(name)
        kept = {key: os.environ[key] for key in ("GUIX_LOCPATH", "GUILE_LOAD_COMPILED_PATH") if key in os.environ}
        yield GuixCommand("guix", folder, os.environ.get("USER", "nobody"), search_path(), kept), folder


def _place(file: Path, root: Path | None) -> _Place:
    folder = file.absolute().parent
    found = root.absolute() if root else next((up for up in (folder, *folder.parents) if (up / ".git").exists()), folder)
    try:
        return _Place(found, str(file.absolute().relative_to(found)))
    except ValueError:
        raise ManifestMissing(f"{file} is not in the folder {found}.", hint="Give another --root.") from None


def _read(place: _Place, kind: str) -> Reading | ChannelsReading:
    text = _content(place.root / place.name)
    if text is None:
        raise ManifestMissing(f"{place.name} is no file of text, or larger than {LARGEST_TEXT // 1024} KiB.")
    files: dict[str, str | None] = {}
    while True:
        try:
            if kind == "channels":
                return read_channels(text, file=place.name, files=files)
            return read_manifest(text, file=place.name, files=files, system=system())
        except NeighbourNeeded as needed:
            path = place.root / needed.path
            # Links are not followed: in a repository they may lead anywhere.
            plain = path.resolve() == place.root.resolve() / needed.path
            files[needed.path] = _content(path) if plain else None


def _content(path: Path) -> str | None:
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
        return content.decode() if len(content) <= LARGEST_TEXT else None
    except (OSError, UnicodeDecodeError):
        return None


def _refusal(error: ManifestUnreadable, file: Path) -> dict[str, object]:
    details = error.details
    reason = error.message.partition(": ")[2] or error.message
    return {
        "file": details.get("file", str(file)),
        "line": details.get("line"),
        "column": details.get("column"),
        "reason": reason,
        "hint": error.hint,
    }


def _entry(entry: Entry) -> dict[str, object]:
    return {
        "specification": entry.shown,
        "kind": entry.kind.value,
        "named": entry.named.value,
        "module": list(entry.module) or None,
        "transformations": [dict(options) for options in entry.transformations],
        "file": entry.place.file if entry.place else None,
        "line": entry.place.line if entry.place else None,
    }


def _written(entry: Entry) -> dict[str, object]:
    specification, _, output = entry.specification.partition(":")
    if entry.named is not Named.SPECIFICATION:
        specification, output = entry.specification, ""
    return {
        "name": entry.name,
        "version": specification.partition("@")[2] or None,
        "output": entry.output or output or "out",
        "development": entry.kind is Kind.DEVELOPMENT,
    }


def _resolved(reading: Reading) -> dict[str, object]:
    """Return the packages as Guix lists them, or what keeps it from that; nothing where there is no Guix."""
    if shutil.which("guix", path=search_path()) is None:
        return {}
    with _guix() as (command, folder):
        try:
            found = asyncio.run(listed(command, reading.packages, folder))
        except GuixSpawnerError as error:
            return {"problem": error.as_json()}
    return {"resolved": True, "packages": [_shown(item) for item in found]}


def _shown(item: Listed) -> dict[str, object]:
    return {"name": item.name, "version": item.version, "output": item.output}


def _text(answer: dict[str, object]) -> str:
    """Return ANSWER as people read it."""
    how = f"level {answer['level']}" if answer["level"] else "run within walls" if answer.get("evaluated") else "not read"
    lines = [f"{answer['file']}: {answer['kind']}, {how}"]
    for item in _objects(answer, "packages"):
        version = item["version"] or ("(built with its development inputs)" if item.get("development") else "")
        lines.append(f"  {item['name']} {version} {item['output']}".replace("  ", " ").replace(" ", "  ", 1))
    for item in _objects(answer, "channels"):
        lines.append(f"  {item['name']} {item['url']} {item['commit'] or item['branch']} (line {item['line']})")
        if item["refused"]:
            lines.append(f"    not Guix's own: {item['refused']}")
    for item in _objects(answer, "refusals"):
        where = f"{item['file']}:{item['line']}:{item['column']}" if item["line"] else f"{item['file']}"
        lines += [f"refused: {where}: {item['reason']}", f"  {item['hint']}"]
    lines += _needs(answer.get("definitions"))
    problem = answer.get("problem")
    if isinstance(problem, dict):
        lines += [f"problem: {problem['message']}", f"  {problem.get('hint', '')}"]
    return "\n".join(lines)


def _needs(definitions: object) -> list[str]:
    """Return in lines what it would take to build the packages that a manifest makes."""
    if not isinstance(definitions, dict):
        return []
    names = {name: ", ".join(definitions[name]) for name in ("packages", "builds", "downloads_from")}
    lines = [f"makes: {names['packages']}, for which would be built: {names['builds']}"]
    lines += ["  where the administrator allows it: build_definitions_of or build_definitions_for"]
    hosts = f"  and the download from {names['downloads_from']}: download_definitions_from"
    return [*lines, hosts] if names["downloads_from"] else lines


def _objects(answer: dict[str, object], name: str) -> list[dict[str, object]]:
    found = answer.get(name)
    return list(found) if isinstance(found, list) else []
