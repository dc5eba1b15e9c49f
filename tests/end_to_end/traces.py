"""What an installation leaves on the machine: records, links that keep store items, jobs' folders, processes."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from guix_environment.process_identity import ProcessIdentity, identify

ROOTS = Path("/var/guix/profiles/per-user")


@dataclass(frozen=True)
class Traces:
    """What is there at one moment."""

    records: frozenset[str]
    """Everything directly below the records' environments, and every version of them."""
    roots: frozenset[str]
    """Links that keep what was built from the collector."""
    jobs: frozenset[str]
    processes: frozenset[ProcessIdentity]

    def beyond(self, before: "Traces") -> dict[str, frozenset[object]]:
        """Return what is there now and was not BEFORE, by kind."""
        kinds = ("records", "roots", "jobs", "processes")
        new = {kind: frozenset(getattr(self, kind)) - frozenset(getattr(before, kind)) for kind in kinds}
        return {kind: things for kind, things in new.items() if things}


def traces_of(state: Path) -> Traces:
    """Return the traces of the installation that keeps everything in STATE."""
    records = state / "records" / "environments"
    return Traces(
        records=frozenset(str(path) for pattern in ("*", "*/versions/*") for path in records.glob(pattern)),
        roots=frozenset(str(path) for folder in roots_folders(state) for path in folder.iterdir()),
        jobs=frozenset(str(path) for path in (state / "service" / "builds").glob("*")),
        processes=processes_of(state),
    )


def roots_folders(state: Path) -> list[Path]:
    """Return the folders of the links that keep what the installation's environments are made of."""
    service = hashlib.sha256(str(state / "service").encode()).hexdigest()[:12]
    return list(ROOTS.glob(f"*/guix-build-service/environments/{service}"))


def processes_of(state: Path) -> frozenset[ProcessIdentity]:
    """Return the processes that have STATE in their command line or environment."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:
                continue
            identity = identify(int(folder.name)) if os.fsencode(state) in said else None
            found |= {identity} if identity else set()
    return frozenset(found)
