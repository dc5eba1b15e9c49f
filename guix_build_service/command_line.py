"""The command ``guix-build-service``: the service itself, and what its administrator does besides.

guix-build-service [serve] [--BuildService.TRAIT=VALUE …]     run the service (what the hub does)
guix-build-service server-layer [--BuildService.…]            build JupyterLab and the tools of every session
guix-build-service doctor [--json] [--BuildService.…]         see whether the service could do its work here
guix-build-service read FILE [--json] [--no-guix] [--root …]  say what a manifest or a channels file says
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from guix_build_service import read_command
from guix_build_service.application import BuildService
from guix_build_service.doctor import JSON, doctor
from guix_build_service.server_definitions import definitions_folder, hub_series
from guix_build_service.server_layer import ServerProfileSettings, ensure_server_profile
from guix_environment.errors import GuixSpawnerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what ARGUMENTS say and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else "serve"
    if name == "read":
        # Needs nothing of the service, which may not even be set up.
        return read_command.main(words)
    command = COMMANDS.get(name)
    if command is None:
        print(f"guix-build-service: there is no command {name}; there are {', '.join(COMMANDS)}, read.", file=sys.stderr)
        return 2
    if name == "serve" and {"-h", "--help"} & set(words):
        print(__doc__)
    service = BuildService.instance()
    service.initialize([word for word in words if word != JSON])
    try:
        return doctor(service, as_json=JSON in words) if name == "doctor" else command(service)
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


COMMANDS: Mapping[str, Callable[[BuildService], int]] = {"serve": serve, "server-layer": server_layer, "doctor": doctor}
