"""The command ``import``: have a hub offer what a gallery says, as often as that is wanted."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from guix_build_service.commands.call import Call
from guix_build_service.commands.client import Client
from guix_build_service.commands.gallery_file import LARGEST_FILE, GalleryEntry, read_gallery
from guix_build_service.commands.outcomes import CommandMisused, ExitStatus, RefusedByService, SeveralSuch, exit_status_of
from guix_build_service.commands.terminal import short
from guix_build_service.commands.waiting import say_why, waited
from guix_build_service.commands.words import add_wait, command
from guix_build_service.local.started import Work
from guix_build_service.model.environments import BuildState
from guix_build_service.web.schemas.environments import EnvironmentAnswer
from guix_environment.errors import GuixSpawnerError


class Outcome(StrEnum):
    """What becomes of an entry."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of ENTRY, or would."""

    entry: GalleryEntry
    outcome: Outcome
    changes: Mapping[str, object]
    environment: EnvironmentAnswer | None
    error: GuixSpawnerError | None = None

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "line": self.entry.line,
            "repo": self.entry.request.repo,
            "outcome": self.outcome.value,
            "changes": sorted(self.changes),
            "environment": self.environment.model_dump(mode="json") if self.environment else None,
            "error": self.error.as_json() if self.error else None,
        }

    def text(self, *, would: bool) -> str:
        """Return it in one line, as what WOULD happen or as what did."""
        name = self.entry.request.name or (self.environment.name if self.environment else self.entry.request.repo)
        where = f" ({self.environment.id})" if self.environment else ""
        what = f"{'would be ' if would and self.outcome is not Outcome.UNCHANGED else ''}{self.outcome.value}"
        more = f": {', '.join(sorted(self.changes))}" if self.changes else ""
        state = f", {self.environment.state.value}" if self.environment and not would else ""
        why = f": {self.error.message} {self.error.hint}".rstrip() if self.error else ""
        return f"line {self.entry.line}: {short(name)}{where} {what}{more}{state}{why}"


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of this command."""
    parser = command(
        commands,
        "import",
        import_gallery,
        "add, change and build what a gallery lists",
        "Done again, it changes only what is different; what is no longer listed stays.",
        work=Work.BUILD,
    )
    parser.add_argument("file", type=Path, help="a YAML file, see “Galleries”")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_wait(parser)


def import_gallery(call: Call) -> ExitStatus:
    """Import."""
    entries = read_gallery(_text(call.options.file), str(call.options.file))
    dry = bool(call.options.dry_run)
    owner = call.client.caller().name
    results: list[Result] = []
    for entry in entries:
        result = _done(call.client, entry, owner, dry=dry)
        results.append(result)
        if not call.output.as_json:
            call.output.line(result.text(would=dry))
    statuses = [exit_status_of(result.error) for result in results if result.error]
    if (call.options.wait or call.builds_end_with_us()) and not dry:
        results, failed = _waited(call, results)
        statuses += failed
    if call.output.as_json:
        call.output.give([result.as_json() for result in results], "")
    return statuses[0] if statuses else ExitStatus.DONE


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise CommandMisused(f"{file} is larger than any gallery.", hint="Give a file of less than a megabyte.")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandMisused(f"{file} cannot be read: {error.strerror}.", hint="Give the name of a file.") from error
    except UnicodeDecodeError as error:
        raise CommandMisused(f"{file} is no text in UTF-8.", hint="Save it as UTF-8.") from error


def _done(client: Client, entry: GalleryEntry, owner: str, *, dry: bool) -> Result:
    """Do what ENTRY asks for on behalf of OWNER, or only say what that is."""
    found: EnvironmentAnswer | None = None
    changes: Mapping[str, object] = {}
    try:
        found = _existing(client, entry, owner)
        if found is None:
            return Result(entry, Outcome.ADDED, {}, None if dry else client.add(entry.request))
        changes = different(entry, found)
        outcome = Outcome.CHANGED if changes else Outcome.UNCHANGED
        if dry:
            return Result(entry, outcome, changes, found)
        if changes:
            client.change(found.id, changes)
        return Result(entry, outcome, changes, client.build(found.id))
    except (RefusedByService, SeveralSuch) as error:
        return Result(entry, Outcome.REFUSED, changes, found, error)


def _existing(client: Client, entry: GalleryEntry, owner: str) -> EnvironmentAnswer | None:
    """Return the environment that OWNER has of what ENTRY names.  Raises `SeveralSuch`."""
    listed = client.environments(repo=entry.place[0], owner=owner)
    found = [each for each in listed if (each.repo, each.ref, each.subdir) == entry.place]
    if len(found) > 1:
        found = [each for each in found if each.name == entry.request.name]
        if len(found) != 1:
            raise SeveralSuch(
                "You have several environments of this repository, ref and folder.", hint="Name the one that is meant."
            )
    return found[0] if found else None


def different(entry: GalleryEntry, found: EnvironmentAnswer) -> Mapping[str, object]:
    """Return what of the environment FOUND is not as ENTRY says, as the API's body for a change."""
    wanted = entry.request.model_dump(mode="json", include=entry.request.model_fields_set - {"repo", "ref", "subdir"})
    there = found.model_dump(mode="json")
    if sorted(wanted.get("groups", ())) == sorted(found.groups):
        wanted.pop("groups", None)  # in whatever order
    return {name: value for name, value in wanted.items() if value != there[name]}


def _waited(call: Call, results: list[Result]) -> tuple[list[Result], list[ExitStatus]]:
    """Wait for the builds of RESULTS; return what they are then, and an exit status for each that failed."""
    after: list[Result] = []
    failed: list[ExitStatus] = []
    for result in results:
        if result.environment is None or result.error is not None:
            after.append(result)
            continue
        environment = waited(call.client, call.output, result.environment)
        after.append(Result(result.entry, result.outcome, result.changes, environment))
        if environment.state in {BuildState.FAILED, BuildState.CANCELLED} and environment.build is not None:
            call.output.note(f"line {result.entry.line}: {environment.name}")
            say_why(call.output, environment.build)
            failed.append(ExitStatus.BUILD_FAILED)
    return after, failed
