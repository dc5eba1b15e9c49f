"""Whole manifests, hostile ones and such as people write: each is read as it says, or refused where and why it says."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from guix_build_service.manifest.canonical import Entry, Kind, Named
from guix_build_service.manifest.grammar import NeighbourNeeded, Reading, read_manifest
from guix_environment.errors import ManifestUnreadable

CORPORA = Path(__file__).parents[2] / "corpora"


@dataclass(frozen=True)
class Sample:
    name: str
    said: tuple[str, str]
    text: str
    files: Mapping[str, str]


def samples(file: str) -> list[Sample]:
    """Return the manifests in FILE of the corpora."""
    found = []
    for section in (CORPORA / file).read_text().split("\n==== ")[1:]:
        heading, _, body = section.partition("\n")
        name, *said = (part.strip() for part in heading.split(" | "))
        text, *others = body.split("\n++++ ")
        files = {path: content for path, _, content in (other.partition("\n") for other in others)}
        found.append(Sample(name, (said[0], said[1]), text, files))
    return found


HOSTILE = samples("hostile-manifests.txt")
BENIGN = samples("manifests.txt")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Give the names of what Python does with the machine meanwhile."""
    seen: list[str] = []
    active = True

    def hook(event: str, _arguments: object) -> None:
        if active and event.startswith(("open", "os.", "subprocess.", "socket.", "exec", "compile", "import", "ctypes.")):
            seen.append(event)

    sys.addaudithook(hook)
    try:
        yield seen
    finally:
        active = False


def shown(entry: Entry) -> str:
    name = f"={entry.shown}" if entry.named is not Named.SPECIFICATION else entry.shown
    return f"development {name}" if entry.kind is Kind.DEVELOPMENT else name


def read(sample: Sample) -> Reading:
    return read_manifest(
        sample.text,
        file="manifest.scm",
        files={**sample.files, "manifest.scm": sample.text},
        system="x86_64-linux",
    )


def test_the_corpora_are_whole() -> None:
    assert len(HOSTILE) >= 60
    assert len(BENIGN) >= 30
    for corpus in (HOSTILE, BENIGN):
        assert len({sample.name for sample in corpus}) == len(corpus)


@pytest.mark.parametrize("sample", HOSTILE, ids=lambda sample: sample.name)
def test_a_hostile_manifest_is_refused_with_line_and_reason(sample: Sample, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    text = sample.text.replace("CANARY", str(canary))
    with watched() as seen, pytest.raises(ManifestUnreadable) as raised:
        read_manifest(text, file="manifest.scm", files={"manifest.scm": text}, system="x86_64-linux")
    assert (str(raised.value.details["line"]), raised.value.details["file"]) == (sample.said[0], "manifest.scm")
    assert sample.said[1] in raised.value.message
    assert raised.value.hint
    assert raised.value.message.isprintable()
    assert not canary.exists()
    assert not seen


@pytest.mark.parametrize("sample", BENIGN, ids=lambda sample: sample.name)
def test_a_manifest_as_people_write_it_is_read(sample: Sample) -> None:
    reading = read(sample)
    assert " ".join(shown(entry) for entry in reading.packages.entries) == sample.said[1]
    assert f"L{int(reading.level)}" == sample.said[0]


@pytest.mark.parametrize("sample", BENIGN, ids=lambda sample: sample.name)
def test_the_manifest_that_we_write_says_the_same(sample: Sample) -> None:
    packages = read(sample).packages
    assert read_manifest(packages.manifest()).packages.entries == packages.entries


@pytest.mark.parametrize("sample", [sample for sample in BENIGN if sample.files], ids=lambda sample: sample.name)
def test_a_file_that_is_not_at_hand_is_asked_for_and_one_that_is_none_refused(sample: Sample) -> None:
    (path,) = sample.files
    with pytest.raises(NeighbourNeeded) as needed:
        read_manifest(sample.text, file="manifest.scm")
    assert needed.value.path == path
    with pytest.raises(ManifestUnreadable, match="has no file"):
        read_manifest(sample.text, file="manifest.scm", files={path: None})
