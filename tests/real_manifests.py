"""What is read of manifests and channels files that people have published, and whether Guix says the same of them.

python tools/with_guix.py python -m tests.real_manifests FOLDER     prints the table of tests/corpora/real-manifests.md

FOLDER has the files, each as REPOSITORY/PATH, and ``sources.txt`` with one line ``REPOSITORY PATH COMMIT`` for each.  The
files themselves are not kept here: they are other people's.  Where there is no Guix, nothing is compared.
"""

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.manifest.channels import read_channels
from guix_build_service.manifest.evaluation import Level
from guix_build_service.manifest.grammar import NeighbourNeeded, read_manifest
from guix_build_service.pipeline.guix import Listed, search_path, system
from guix_environment.errors import ManifestUnreadable
from tests.service.manifest.test_against_guix import evaluated, ours
from tests.service.manifest.test_corpora import Sample


@dataclass(frozen=True)
class Published:
    """One file as it was published, and what is read of it."""

    repository: str
    path: str
    commit: str
    text: str
    files: Mapping[str, str | None]
    level: str
    """L0 to L3, or empty where it is refused."""
    reason: str
    """Why it is refused."""

    @property
    def channels(self) -> bool:
        """Whether it names channels, not packages."""
        return Path(self.path).name.startswith("channels")


def published(folder: Path) -> list[Published]:
    """Return all files of FOLDER, read."""
    lines = (folder / "sources.txt").read_text().splitlines()
    return [_published(folder, *line.split()) for line in sorted(lines, key=str.lower) if line.strip()]


def _published(folder: Path, repository: str, path: str, commit: str) -> Published:
    root = folder / repository
    text = (root / path).read_text()
    files: dict[str, str | None] = {}
    level = reason = ""
    while not level and not reason:
        try:
            level = f"L{int(_level(text, path, files))}"
        except NeighbourNeeded as needed:
            neighbour = root / needed.path
            files[needed.path] = neighbour.read_text() if neighbour.is_file() else None
        except ManifestUnreadable as error:
            reason = error.message.partition(": ")[2]
    return Published(repository, path, commit, text, files, level, reason)


def _level(text: str, path: str, files: Mapping[str, str | None]) -> Level:
    if Path(path).name.startswith("channels"):
        return read_channels(text, file=path, files=files).level
    return read_manifest(text, file=path, files=files, system=system()).level


def said_by_guix(files: Sequence[Published]) -> list[str]:
    """Return for each of FILES what Guix makes of it, beside what is read."""
    manifests = [file for file in files if not file.channels]
    with tempfile.TemporaryDirectory() as name:
        theirs, found = asyncio.run(_compared(manifests, Path(name)))
    outcomes = {
        (file.repository, file.path): _outcome(file, expected, mine)
        for file, expected, mine in zip(manifests, theirs, found, strict=True)
    }
    return [outcomes.get((file.repository, file.path), "") for file in files]


async def _compared(
    manifests: Sequence[Published], folder: Path
) -> tuple[list[list[Listed] | None], list[list[Listed] | None]]:
    """Return the packages that Guix finds when it runs MANIFESTS, and those that it finds for what is read of them."""
    samples, places = [], []
    for number, manifest in enumerate(manifests):
        root = folder / f"repository-{number}"
        files = {path: text for path, text in manifest.files.items() if text is not None}
        for path, content in {**files, manifest.path: manifest.text}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        places.append(root / manifest.path)
        # One that is refused is not read again.
        samples.append(Sample(manifest.path, ("", ""), manifest.text if manifest.level else "", files))
    return await evaluated(places, folder), await ours(samples, folder)


def _outcome(file: Published, expected: list[Listed] | None, found: list[Listed] | None) -> str:
    if not file.level:
        return "has packages for it" if expected is not None else "fails"
    if found != expected:
        return "DIFFERS"
    return "the same packages" if expected is not None else "fails, as is foreseen"


def table(files: Sequence[Published], guix: Sequence[str]) -> str:
    """Return what is read of FILES, and what GUIX says of each, for people."""
    rows = [
        f"| {file.repository} | `{file.path}` | {file.commit[:12]} | {file.level or 'refused'} | {file.reason} | {said} |"
        for file, said in zip(files, guix, strict=True)
    ]
    heads = ["| repository | file | commit | read | why not | Guix |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*heads, *rows])


def summary(files: Sequence[Published], guix: Sequence[str]) -> str:
    """Return how many of FILES are read, and how often GUIX says the same."""
    lines = []
    for title, channels in (("Manifests", False), ("Channels files", True)):
        chosen = [file for file in files if file.channels is channels]
        levels = Counter(file.level for file in chosen if file.level)
        shares = ", ".join(f"{level} {count}" for level, count in sorted(levels.items()))
        lines.append(f"{title}: {sum(levels.values())} of {len(chosen)} are read ({shares}).")
    counts = Counter(said for said in guix if said)
    lines.append("Guix: " + (", ".join(f"{said}: {count}" for said, count in sorted(counts.items())) or "not asked") + ".")
    return "\n\n".join(lines)


if __name__ == "__main__":
    FILES = published(Path(sys.argv[1]))
    GUIX = said_by_guix(FILES) if shutil.which("guix", path=search_path()) else [""] * len(FILES)
    print(summary(FILES, GUIX), table(FILES, GUIX), sep="\n\n")
