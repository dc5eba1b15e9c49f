"""The second step for a manifest that makes packages itself: what would be built for them is read before any of it is.

Guix says in the jail what it would build.  Which of that Guix would build anyway, for packages of its own, is asked outside,
where nothing of the repository's is.  The rest is inspected.  Only what passes is added to the store, with the profile.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from guix_build_service.definitions.additions import INDEX, write_additions
from guix_build_service.definitions.answer import defined, derivations
from guix_build_service.definitions.inspection import Allowance, Graph, Inspected, inspect
from guix_build_service.definitions.lowering import lowered
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.manifest.canonical import PackageList
from guix_build_service.pipeline.guix import own_derivations, system
from guix_environment.threads import uninterrupted


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a manifest that makes packages asks for."""

    packages: PackageList
    inspected: Inspected
    additions: Path
    """The index of what must be added to the store before they can be built."""

    @property
    def own(self) -> tuple[str, ...]:
        """The packages that only the manifest has."""
        return tuple(entry.specification for entry in self.packages.entries if entry.definition is not None)


async def definitions(
    evaluation: Evaluation, files: Mapping[str, bytes], manifest: str, folder: Path, marks: Mapping[str, str]
) -> Definitions:
    """Return what MANIFEST, one of FILES, asks for, its own packages included, where they may be built.

    What they are built of is written below FOLDER.  Raises `DefinitionsRefused`, `EvaluationFailed`, `GuixUnavailable`,
    `BuildFailure`.
    """
    recorded, said = await lowered(await evaluation.jail(), files, manifest, marks)
    packages = await asyncio.to_thread(defined, said)
    graph = await asyncio.to_thread(Graph, recorded)
    guixs = await own_derivations(evaluation.guix, graph.names(), folder, marks)
    allowance = Allowance(system(), evaluation.download_hosts)
    inspected = await asyncio.to_thread(inspect, graph, derivations(packages), guixs, allowance)
    additions = folder / "additions"
    await uninterrupted(write_additions, recorded, inspected.additions, additions)
    return Definitions(packages, inspected, additions / INDEX)


async def needed(evaluation: Evaluation, files: Mapping[str, bytes], manifest: str, folder: Path) -> Definitions:
    """Return what `definitions` would, if everything could be downloaded that is by https from anywhere."""
    return await definitions(replace(evaluation, download_hosts=("*",)), files, manifest, folder, {})
