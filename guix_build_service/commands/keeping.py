"""The commands about what is kept: gc, pin, unpin, export."""

import argparse
from pathlib import Path

from guix_build_service.commands.call import Call
from guix_build_service.commands.finding import environment_meant
from guix_build_service.commands.outcomes import CommandMisused, ExitStatus, NothingSuch
from guix_build_service.commands.terminal import short, size, table
from guix_build_service.commands.words import ENVIRONMENT, command
from guix_build_service.local.started import Work
from guix_build_service.web.schemas.environments import EnvironmentAnswer
from guix_build_service.web.schemas.retention import DecisionAnswer, RetentionAnswer

VERSION = "the version's id, as `show` prints it; else the current one"
HEAD = ("FREES", "USED (UTC)", "OWNER", "ENVIRONMENT", "COMMIT", "WHY")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of these commands."""
    gc = command(
        commands,
        "gc",
        let_go,
        "let go of profiles that nobody uses, by the hub's rules; for administrators",
        "Records, manifests and logs stay, and Guix's collector makes the room later. What is pinned or in a session stays.",
    )
    gc.add_argument("--dry-run", action="store_true", help="only say what would go, why, and what that frees")
    gc.add_argument("--unused-days", type=_days, metavar="DAYS", help="in the place of Retention.unused_days; 0 for never")
    gc.add_argument(
        "--unused-current-days",
        type=_days,
        metavar="DAYS",
        help="in the place of Retention.unused_current_days; 0 for never",
    )
    gc.add_argument("--yes", action="store_true", help="do not ask")

    pin = command(commands, "pin", pin_version, "keep a version's profile, however long nobody uses it")
    unpin = command(commands, "unpin", pin_version, "keep a version's profile no longer than others")
    for parser, pinned in ((pin, True), (unpin, False)):
        parser.set_defaults(pinned=pinned)
        parser.add_argument("environment", help=ENVIRONMENT)
        parser.add_argument("version", nargs="?", help=VERSION)

    export = command(
        commands,
        "export",
        export_version,
        "write the files that make a version again on another machine",
        "With --json they are printed, and none is written unless --into is given.",
        work=Work.LOOK,
    )
    export.add_argument("environment", help=ENVIRONMENT)
    export.add_argument("version", nargs="?", help=VERSION)
    export.add_argument("--into", metavar="FOLDER", help="the folder for the files; else the current one")


def let_go(call: Call) -> ExitStatus:
    """Let go, or say what would go."""
    options = call.options
    rules = {name: value for name in ("unused_days", "unused_current_days") if (value := getattr(options, name)) is not None}
    found = call.client.retention(rules)
    if options.dry_run or not found.profiles:
        return _told(call, found)
    if not options.yes and not call.ask(f"Let go of {_profiles(found)}, which frees {size(found.frees)}?"):
        call.output.note("All of them stay.")
        return ExitStatus.REFUSED
    return _told(call, call.client.let_go(rules))


def _told(call: Call, found: RetentionAnswer) -> ExitStatus:
    """Tell what is FOUND, and return whether all of it could be decided."""
    rows = [_row(each) for each in found.profiles]
    call.output.give(found.model_dump(mode="json"), table(HEAD, rows) if rows else "")
    if found.hindrance:
        call.output.note(found.hindrance)
    elif rows:
        call.output.note(f"{_profiles(found)}, {size(found.frees)} together.")
    else:
        call.output.note("There is nothing to let go of.")
    return ExitStatus.REFUSED if found.hindrance else ExitStatus.DONE


def _profiles(found: RetentionAnswer) -> str:
    return f"{len(found.profiles)} profile{'' if len(found.profiles) == 1 else 's'}"


def _row(decision: DecisionAnswer) -> tuple[str, ...]:
    last = decision.versions[-1]
    more = f" and {len(decision.versions) - 1} more" if len(decision.versions) > 1 else ""
    freed = size(decision.frees) if decision.frees is not None else "?"
    return freed, f"{decision.used:%Y-%m-%d %H:%M}", last.owner, f"{short(last.name)}{more}", last.commit[:7], decision.why


def pin_version(call: Call) -> ExitStatus:
    """Pin or unpin."""
    found = environment_meant(call.client, call.options.environment)
    version = call.client.pin(found.id, _version(call, found), pinned=call.options.pinned)
    kept = "is always kept" if version.pinned else "is kept as long as others"
    call.output.give(version.model_dump(mode="json"), f"Version {version.id} of {short(found.name)} {kept}.")
    return ExitStatus.DONE


def export_version(call: Call) -> ExitStatus:
    """Export."""
    found = environment_meant(call.client, call.options.environment)
    exported = call.client.export(found.id, _version(call, found))
    into = call.options.into
    if not call.output.as_json or into is not None:
        folder = Path(into or ".")
        texts = {"manifest.scm": exported.manifest, "channels.scm": exported.channels}
        _write(folder, {name: text for name, text in texts.items() if text})
    call.output.give(exported.model_dump(mode="json"), exported.command)
    return ExitStatus.DONE


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write TEXTS as files into FOLDER, all or none where one is there already.  Raises `CommandMisused`."""
    there = [name for name in texts if (folder / name).exists() or (folder / name).is_symlink()]
    if there:
        raise CommandMisused(
            f"There is a {there[0]} in {folder} already, which is not overwritten.", hint="Give another folder by --into."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise CommandMisused(f"The files cannot be written into {folder}: {error.strerror}.") from error


def _version(call: Call, found: EnvironmentAnswer) -> str:
    """Return the version that is meant.  Raises `NothingSuch` for an environment that has none yet."""
    if call.options.version:
        return str(call.options.version)
    if found.version is None:
        raise NothingSuch(f"{short(found.name)} has no version yet.", hint=f"guix-build-service build {found.id} makes one.")
    return found.version.id


def _days(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 36500:
        raise argparse.ArgumentTypeError(f"this is no number of days: {text[:40]!r}")
    return number
