"""How long a build takes of which nothing is there, beside `guix package` typed by hand with the same packages.

Before each measurement the store is the same one: it holds nothing of the profile, of what that is made from, and of all
their derivations, but what something else on the machine holds. After each, exactly the items that it brought are removed
with ``guix gc --delete``, so nobody else should build meanwhile. They come from the same servers again, and are built again.
What Guix remembers of these servers' offers stays, for both.

Ours is measured from the request at the API until the version is ready, which is more than Guix does: the repository is
fetched, its manifest read, and the version published. The other way is one process of Guix from its start to its end.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.frame import OURS, Bar, Extent, Figures, Measured, Result, interleave, say
from bench.requests import build_of
from bench.service import Service, running_service
from tests.git_server import GitServer, serve_git

TIMES_AS_LONG = 1.10

MOST_ROUNDS = 7
"""Each takes a minute or two, most of it to remove what the one before brought."""

GUIX_PACKAGE = "guix package"

PACKAGES = ("python", "python-ipykernel", "python-pandas", "python-matplotlib")
"""What a usual notebook needs, its kernel included, so that the service adds nothing."""

FEW_PACKAGES = ("sed", "which")
"""Enough to see that it works."""

STORE = Path("/gnu/store")


def measure(extent: Extent) -> Result:
    """Build the packages both ways in turn, as often as EXTENT says."""
    return asyncio.run(_measure(extent))


async def _measure(extent: Extent) -> Result:
    packages = PACKAGES if extent.rounds > 1 else FEW_PACKAGES
    names = " ".join(f'"{name}"' for name in packages)
    with tempfile.TemporaryDirectory(prefix="bench-cold-build-") as folder, serve_git(Path(folder)) as git:
        async with running_service(git_host=git.host) as service:
            ground = _Ground(Path(folder), git, service, f"(specifications->manifest (list {names}))\n")
            measured = await asyncio.to_thread(_interleaved, ground, asyncio.get_running_loop(), extent)
    figures = measured.figures
    ours = figures.pop(OURS)
    return Result(
        "cold-build",
        "seconds until the profile is there, of which nothing was",
        ours,
        figures,
        [
            Bar("times as long as guix package", ours.median / figures[GUIX_PACKAGE].median, at_most=TIMES_AS_LONG),
            Bar("items that each measurement brought, at least", min(ground.brought), at_least=1),
        ],
        {
            "packages": list(packages),
            "items brought": Figures.of(ground.brought).as_json(),
            "load": round(os.getloadavg()[0], 1),
            "disturbed": measured.disturbed,
        },
    )


def _interleaved(ground: "_Ground", loop: asyncio.AbstractEventLoop, extent: Extent) -> Measured:
    """Measure from a thread, as the service's requests need the LOOP."""

    def ours() -> float:
        return ground.restored(lambda: asyncio.run_coroutine_threadsafe(ground.by_service(), loop).result())

    say("removing what the profile needs…")
    ground.begin()
    return interleave({OURS: ours, GUIX_PACKAGE: lambda: ground.restored(ground.by_hand)}, min(extent.rounds, MOST_ROUNDS))


@dataclass
class _Ground:
    """One store, and both ways to have the packages of MANIFEST in it."""

    folder: Path
    git: GitServer
    service: Service
    manifest: str
    brought: list[float] = field(default_factory=list)
    """How many items each measurement brought."""
    turn: int = 0

    def begin(self) -> None:
        """Remove what the profile needs and is made from, as far as nothing else holds it."""
        before = _items()
        with self._package() as profile:
            item = str(profile.resolve())
            derivations = _guix("gc", "--derivers", item).split()
            needed = set(_guix("gc", "--requisites", item, *derivations).split())
        _remove(needed | (_items() - before))

    def restored(self, way: Callable[[], float]) -> float:
        """Return the seconds that WAY took, with the store as it was before."""
        before = _items()
        seconds = way()
        new = _items() - before
        self.brought.append(len(new))
        _remove(new)
        return seconds

    def by_hand(self) -> float:
        """Have Guix make a profile, then let go of it."""
        began = time.perf_counter()
        with self._package():
            return time.perf_counter() - began

    async def by_service(self) -> float:
        """Ask the service for an environment, then have it forgotten."""
        self.turn += 1
        name = f"cold-{self.turn}"
        await asyncio.to_thread(self.git.commit, name, {"manifest.scm": self.manifest, "notebook.ipynb": "{}"})
        began = time.perf_counter()
        asked = await self.service.ask("POST", "environments", {"repo": self.git.url(name)})
        ended = await self.service.finished(build_of(asked))
        seconds = time.perf_counter() - began
        if ended["state"] != "ready":
            raise RuntimeError(str(ended))
        await self.service.ask("DELETE", f"environments/{asked['id']}")
        return seconds

    @contextmanager
    def _package(self) -> Iterator[Path]:
        """Give the profile that Guix makes of the manifest; it is held until the context ends."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            manifest, profile = Path(name, "manifest.scm"), Path(name, "profile")
            manifest.write_text(self.manifest)
            _guix("package", f"--profile={profile}", f"--manifest={manifest}")
            yield profile


def _items() -> set[str]:
    """Return what is in the store."""
    return {f"{STORE}/{item.name}" for item in STORE.iterdir() if item.name[:1] != "." and item.suffix != ".lock"}


def _remove(items: set[str]) -> None:
    """Remove those of ITEMS that nothing holds."""
    if dead := sorted(items & set(_guix("gc", "--list-dead").split())):
        _guix("gc", "--delete", *dead)


def _guix(*words: str) -> str:
    # In a session of its own, as in a terminal, and as by the service: a busy kernel shares its time between sessions.
    done = subprocess.run(["guix", *words], capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise RuntimeError(f"guix {words[0]}: {done.stderr[-2000:]}")
    return done.stdout
