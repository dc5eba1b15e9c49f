"""What the service's administrator does on its machine: run it, build the server layer, see whether it could work.

Each takes the service's own settings, such as ``--BuildService.service_folder=FOLDER``.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from guix_build_service.local.turn import held
from guix_build_service.program import serving
from guix_build_service.program.application import BuildService
from guix_build_service.program.doctor import JSON, doctor
from guix_build_service.server_layer.definitions import definitions_folder, hub_series
from guix_build_service.server_layer.profile import ServerProfileSettings, ensure_server_profile
from guix_build_service.store import Store
from guix_environment.errors import GuixSpawnerError


def main(name: str, words: Sequence[str]) -> int:
    """Do the command NAME, ``doctor`` or one of `COMMANDS`, with the settings in WORDS, and return the exit status."""
    service = BuildService.instance()
    service.initialize([word for word in words if word != JSON])
    try:
        if name == "doctor":
            return doctor(service, as_json=JSON in words)
        return COMMANDS[name](service)
    except GuixSpawnerError as error:
        print(f"guix-build-service: {error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 1


def serve(service: BuildService) -> int:
    """Run the service."""
    if "JUPYTERHUB_API_TOKEN" not in os.environ:
        print(
            "guix-build-service: JupyterHub starts the service; see c.JupyterHub.services in the documentation. "
            "What you ask of a running one begins with a command, such as list; see --help.",
            file=sys.stderr,
        )
        return 1
    serving.start(service)
    return 0


def downgrade(service: BuildService) -> int:
    """Take the database back to the schema that is named, for an earlier release."""
    if len(service.extra_args) != 1 or not service.extra_args[0].isalnum():
        print("guix-build-service: name the schema to go back to, such as: downgrade 0005", file=sys.stderr)
        return 2
    with held(service.folder) if service.is_alone_with_database else contextlib.nullcontext():
        asyncio.run(Store.downgrade(service.database_address, service.extra_args[0]))
    print(f"The database has schema {service.extra_args[0]} now.", file=sys.stderr)
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


COMMANDS: Mapping[str, Callable[[BuildService], int]] = {
    "serve": serve,
    "server-layer": server_layer,
    "downgrade": downgrade,
}
