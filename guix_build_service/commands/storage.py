"""The command that tells what an environment holds of the disk."""

import argparse
from datetime import UTC, datetime

from guix_build_service.commands.call import Call
from guix_build_service.commands.finding import environment_meant
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import size, table
from guix_build_service.commands.words import ENVIRONMENT, command
from guix_build_service.local.started import Work
from guix_build_service.web.schemas.storage import ShareAnswer, StorageAnswer, VersionStorageAnswer

HEAD = ("VERSION", "SIZE", "ALONE", "SHARED", "FREES", "IN A SESSION", "USED (UTC)")

UNKNOWN = "?"
"""What stands for what the service does not know."""


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command's parser."""
    parser = command(
        commands,
        "storage",
        show_storage,
        "show what an environment of yours holds of the disk, and what deleting it would free",
        "What others need too is not freed, nor what running sessions hold.",
        work=Work.LOOK,
    )
    parser.add_argument("environment", help=ENVIRONMENT)


def show_storage(call: Call) -> ExitStatus:
    """Show."""
    found = call.client.storage(environment_meant(call.client, call.options.environment).id)
    rows = [_row(each.version, each) for each in found.versions]
    call.output.give(found.model_dump(mode="json"), table(HEAD, [*rows, _row("together", found)]))
    return ExitStatus.DONE


def _row(name: str, found: VersionStorageAnswer | StorageAnswer) -> tuple[str, ...]:
    session = {True: "yes", False: "no", None: UNKNOWN}[found.in_session]
    return name, *_sizes(found.bytes), session, _moment(found.used)


def _sizes(share: ShareAnswer | None) -> tuple[str, ...]:
    if share is None:
        return (UNKNOWN,) * 4
    return tuple(size(number) for number in (share.size, share.alone, share.shared, share.frees))


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if moment is not None else "not seen"
