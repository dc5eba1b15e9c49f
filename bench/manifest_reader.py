"""How long it takes to know which packages a manifest names: read as data, and run by Guix itself.

The manifests are those of the tests' corpus, in all forms that are read.  Guix evaluates them in one process, which loads it
once, as many would share it at best; and one of them in a process of its own, as `guix shell -m` has to.
"""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.frame import OURS, Bar, Extent, Result, interleave
from guix_build_service.manifest.grammar import read_manifest
from tests.service.manifest.test_against_guix import EVALUATE
from tests.service.manifest.test_corpora import BENIGN, Sample

MILLISECONDS = 5.0
TIMES_FASTER = 100.0

MOST_ROUNDS = 5
"""Guix takes so long for one that more would keep the machine for half an hour."""

ALONE, TOGETHER = "guix, one manifest", "guix, all in one process"


def measure(extent: Extent) -> Result:
    """Measure all ways with the same manifests, as often as EXTENT says."""
    samples = [sample for sample in BENIGN if not sample.files]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "evaluate.scm"
        script.write_text(EVALUATE)
        files = []
        for number, sample in enumerate(samples):
            files.append(folder / f"{number}.scm")
            files[-1].write_text(sample.text)
        ways = {
            OURS: partial(_read, samples),
            ALONE: partial(_evaluated, script, files[:1]),
            TOGETHER: partial(_evaluated, script, files),
        }
        measured = interleave(ways, min(extent.rounds, MOST_ROUNDS))
    figures = measured.figures
    ours, guix = figures[OURS].median, figures[TOGETHER].median
    return Result(
        "manifest-reader",
        "milliseconds for a manifest",
        figures.pop(OURS),
        figures,
        [
            Bar("milliseconds", ours, at_most=MILLISECONDS),
            Bar("times faster than Guix, all in one process", guix / ours, at_least=TIMES_FASTER),
        ],
        {"manifests": len(samples), "disturbed": measured.disturbed},
    )


def _read(samples: Sequence[Sample]) -> float:
    start = time.perf_counter()
    for sample in samples:
        read_manifest(sample.text, file="manifest.scm", system="x86_64-linux")
    return (time.perf_counter() - start) / len(samples) * 1000


def _evaluated(script: Path, files: Sequence[Path]) -> float:
    start = time.perf_counter()
    subprocess.run(["guix", "repl", "--", script, script.with_name("answers"), *files], check=True, capture_output=True)
    return (time.perf_counter() - start) / len(files) * 1000
