"""``guix-build-service doctor``: see whether the service could do its work here, and how well it keeps people apart.

With ``--json``, as one JSON object.  Ends with status 0 when everything is there and the configured isolation is reached.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from guix_build_service.git.git import LOCAL_SECONDS
from guix_build_service.isolation.levels import Finding, Report, State
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.local.door import connected
from guix_build_service.pipeline.guix import identity
from guix_build_service.program.application import BuildService
from guix_build_service.program.preparation import prepare_folder
from guix_build_service.settings.isolation import Isolation
from guix_environment.errors import GuixSpawnerError
from guix_environment.processes import run

_MARKS = {True: "ok", False: "NOT OK", None: "-"}

_HEALTH_SECONDS = 10.0
"""How long a running service may take to say how it is."""

JSON = "--json"
"""The word that asks for JSON; it is no setting of the service."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    needs: Mapping[str, tuple[bool | None, str]]
    """Everything that the service needs: whether it is there, None where nobody can tell, and what was found."""
    isolation: Report

    @property
    def good(self) -> bool:
        """Whether the service can do what it is configured for."""
        return (
            all(there is not False for there, _ in self.needs.values()) and self.isolation.reached >= self.isolation.wanted
        )

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "good": self.good,
            "needs": [{"name": name, "there": there, "said": said} for name, (there, said) in self.needs.items()],
            "isolation": {
                "wanted": self.isolation.wanted.word,
                "reached": self.isolation.reached.word,
                "findings": [finding.as_json() for finding in self.isolation.findings],
            },
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        needs = [f"{_MARKS[there]:7}{name}: {said}" for name, (there, said) in self.needs.items()]
        found = [line for finding in self.isolation.findings for line in self._shown(finding)]
        wanted, reached = self.isolation.wanted, self.isolation.reached
        asked = f"; {wanted.word} is asked for, and the service does not start" if reached < wanted else ""
        return [*needs, "", f"isolation: {reached.word}{asked}", *found]

    def _shown(self, finding: Finding) -> list[str]:
        held = finding.state is State.HELD
        mark = "ok" if held else "NOT OK" if finding.level <= self.isolation.wanted else "-"
        first = f"{mark:7}{finding.level.word} needs {finding.name}: {finding.said}"
        return [first] if held or not finding.remedy else [first, f"{'':9}{finding.remedy}"]


def doctor(service: BuildService, *, as_json: bool = False) -> int:
    """Print what is found, and return the exit status."""
    found = asyncio.run(examine(service))
    print(json.dumps(found.as_json(), indent=2) if as_json else "\n".join(found.lines()))
    return 0 if found.good else 1


async def examine(service: BuildService) -> Examination:
    """Find out what SERVICE, as it is configured, has to work with."""
    prepare_folder(service.folder)
    workshop = service.workshop()
    found: dict[str, tuple[bool | None, str]] = {}
    try:
        found["Guix's identity"] = (True, await asyncio.to_thread(identity, workshop.guix))
    except GuixSpawnerError as error:
        found["Guix's identity"] = (False, error.message)
    commands = {
        "Guix": (workshop.guix.version(), workshop.guix.environment()),
        "Guix's daemon": ((workshop.guix.program, "gc", "--list-failures"), workshop.guix.environment()),
        "Git": (workshop.git.command("--version").words, workshop.git.environment(None)),
    }
    for name, (words, environment) in commands.items():
        found[name] = await _try(words, environment)
    for name, folder in {
        "service_folder": service.folder,
        "records_folder": workshop.records.folder,
        "roots_folder": workshop.roots.folder,
    }.items():
        found[name] = await asyncio.to_thread(_writable, folder)
    if workshop.evaluation is not None:
        found["running manifests"] = await _runs_manifests(workshop.evaluation)
    found["the running service"] = await asyncio.to_thread(_running, service.folder)
    isolation = await Isolation(config=service.config).report(workshop.guix, service.folder, workshop.evaluation)
    return Examination(found, isolation)


def _running(folder: Path) -> tuple[bool | None, str]:
    """Return how the service of FOLDER is by its own word, as what the hub lets it do it alone can ask."""
    connection = HTTPConnection("localhost")
    try:
        connection.sock = connected(folder, _HEALTH_SECONDS)
        connection.request("GET", "/api/v1/health")
        health = dict(json.loads(connection.getresponse().read()))
    except (FileNotFoundError, ConnectionRefusedError):
        return None, "there is none; once it runs, it also tells what the hub does not let it do"
    except PermissionError:
        return None, "only root and its own account can ask it"
    except (OSError, HTTPException, ValueError) as error:
        return False, f"it does not say how it is: {error}"
    finally:
        connection.close()
    said = [str(sentence) for name, sentence in health.items() if name != "status" and sentence]
    return not said, " ".join(said) or "nothing keeps it from its work"


async def _runs_manifests(evaluation: Evaluation) -> tuple[bool, str]:
    try:
        await evaluation.packages({"manifest.scm": b"(specifications->manifest '())"}, "manifest.scm", {})
    except GuixSpawnerError as error:
        return False, f"{error.message} {error.hint}".strip()
    return True, "an empty one was run within walls"


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
