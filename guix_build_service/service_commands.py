"""What the service's administrator does on its machine: run it, build the server layer, see whether it could work.

Each takes the service's own settings, such as ``--BuildService.service_folder=FOLDER``.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from guix_build_service.application import BuildService, prepare_folder
from guix_build_service.git import LOCAL_SECONDS
from guix_build_service.pipeline.guix import identity
from guix_build_service.server_definitions import definitions_folder, hub_series
from guix_build_service.server_layer import ServerProfileSettings, ensure_server_profile
from guix_environment.errors import GuixSpawnerError
from guix_environment.processes import run


def main(name: str, words: Sequence[str]) -> int:
    """Do the command NAME, one of `COMMANDS`, with the settings in WORDS, and return the exit status."""
    service = BuildService.instance()
    service.initialize(list(words))
    try:
        return COMMANDS[name](service)
    except GuixSpawnerError as error:
        print(f"guix-build-service: {error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 1


def serve(service: BuildService) -> int:
    """Run the service."""
    if "JUPYTERHUB_API_TOKEN" not in os.environ:
        print(
            "guix-build-service: JupyterHub starts this program; see c.JupyterHub.services in the documentation.",
            file=sys.stderr,
        )
        return 1
    service.start()
    return 0


def server_layer(service: BuildService) -> int:
    """Build the server profile and write its record."""
    workshop, records = service.workshop(), Path(service.records_folder).absolute()
    settings = ServerProfileSettings(
        definitions=definitions_folder(),
        series=hub_series(),
        records=records,
        roots=service.roots / "server",
        logs=records.parent / "logs",
        guix=workshop.guix,
    )

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    record = asyncio.run(ensure_server_profile(settings, tell))
    tell(f"The server layer is {record.profile}.")
    return 0


def doctor(service: BuildService) -> int:
    """Say of everything that the service needs whether it is there."""
    findings = asyncio.run(examine(service))
    for name, (good, said) in findings.items():
        print(f"{'ok' if good else 'NOT OK':7}{name}: {said}")
    return 0 if all(good for good, _ in findings.values()) else 1


async def examine(service: BuildService) -> Mapping[str, tuple[bool, str]]:
    """Return, for everything that the service needs, whether it is there and what was found."""
    prepare_folder(service.folder)
    workshop = service.workshop()
    findings: dict[str, tuple[bool, str]] = {}
    try:
        findings["Guix's identity"] = (True, await asyncio.to_thread(identity, workshop.guix))
    except GuixSpawnerError as error:
        findings["Guix's identity"] = (False, error.message)
    commands = {
        "Guix": (workshop.guix.version(), workshop.guix.environment()),
        "Guix's daemon": ((workshop.guix.program, "gc", "--list-failures"), workshop.guix.environment()),
        "Git": (workshop.git.command("--version").words, workshop.git.environment(None)),
    }
    for name, (words, environment) in commands.items():
        findings[name] = await _try(words, environment)
    for name, folder in {
        "service_folder": service.folder,
        "records_folder": workshop.records.folder,
        "roots_folder": workshop.roots.folder,
    }.items():
        findings[name] = await asyncio.to_thread(_writable, folder)
    return findings


async def _try(words: Sequence[str], environment: Mapping[str, str]) -> tuple[bool, str]:
    try:
        done = await run(words, environment=environment, timeout=LOCAL_SECONDS)
    except OSError as error:
        return False, str(error.strerror)
    said = (done.output + done.errors).decode(errors="replace").strip().partition("\n")[0]
    return done.succeeded, said or ("answers" if done.succeeded else f"ended with status {done.status}")


def _writable(folder: Path) -> tuple[bool, str]:
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return os.access(there, os.W_OK), f"{folder}{'' if there == folder else ' (to be made)'}"


COMMANDS: Mapping[str, Callable[[BuildService], int]] = {"serve": serve, "server-layer": server_layer, "doctor": doctor}
