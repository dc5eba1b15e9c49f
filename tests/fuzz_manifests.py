"""Texts without end for the reader of manifests: parts of the corpora, cut, doubled, exchanged and mixed with tokens.

python -m tests.fuzz_manifests 1000000 [SEED]     reads that many, and says how many were read, and how long the slowest took
"""

import contextlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from guix_build_service.manifest.channels import read_channels
from guix_build_service.manifest.grammar import VOCABULARY, NeighbourNeeded, read_manifest
from guix_environment.errors import ManifestUnreadable

CORPORA = Path(__file__).with_name("corpora")

TOKENS = [
    "(", ")", "[", "]", "'", "`", ",", ",@", "#;", "#|", "|#", "#!", "!#", ";", "\n", " ", '"', "\\", "#\\", "#:key", "#~",
    "#$", ".", "...", "<>", "_", "0", "-1", "99999999999", "1/2", "#t", "#f", "x", "sed", '"sed"', '"git:gui"', "'()",
    "else", "=>", "\0", "é", "\ud7ff", "(define x ", "(lambda (x) ", "(let loop ((x '())) ", "(loop x)", "(x x)",
    '(load "a.scm")', "(channel (name 'guix) ", "%default-channels",
    "(use-modules (srfi srfi-1) (ice-9 match) (guix transformations)) ",
]  # fmt: skip


def seeds() -> list[str]:
    """Return the texts of the corpora."""
    return [
        section.partition("\n")[2]
        for file in sorted(CORPORA.glob("*.txt"))
        for section in file.read_text().split("\n==== ")[1:]
    ]


@dataclass
class Mutator:
    """Makes texts of texts."""

    random: random.Random
    texts: list[str] = field(default_factory=seeds)

    def text(self) -> str:
        """Return one more text."""
        if self.random.random() < 0.15:
            return "".join(self.token() for _ in range(self.random.randint(0, 60)))
        text = self.random.choice(self.texts)
        for _ in range(self.random.randint(1, 5)):
            text = self.changed(text)
        return text[:20_000]

    def token(self) -> str:
        return self.random.choice(TOKENS) if self.random.random() < 0.7 else f" {self.random.choice(list(VOCABULARY))} "

    def changed(self, text: str) -> str:
        start = self.random.randint(0, len(text))
        end = min(len(text), start + self.random.choice([0, 1, 3, 10, 40, 200]))
        piece = text[start:end]
        match self.random.randint(0, 6):
            case 0:
                piece = ""
            case 1:
                piece = piece * self.random.choice([2, 3, 50])
            case 2:
                other = self.random.choice(self.texts)
                place = self.random.randint(0, len(other))
                piece = other[place : place + 80]
            case 3:
                depth = self.random.choice([1, 2, 30, 300])
                piece = "(list " * depth + piece + ")" * depth
            case 4:
                piece = self.token() + piece
            case 5:
                piece = piece[::-1]
            case 6:
                piece += "".join(self.token() for _ in range(self.random.randint(1, 8)))
        return text[:start] + piece + text[end:]


def try_one(text: str) -> str:
    """Read TEXT in both ways; return what came of it, and raise whatever must not come."""
    files = {"a.scm": text, "manifest.scm": text, "packages.scm": '(define languages \'("python"))'}
    try:
        packages = read_manifest(text, file="manifest.scm", files=files, system="x86_64-linux").packages
        again = read_manifest(packages.manifest()).packages
        assert again.entries == packages.entries, text
        outcome = "read"
    except ManifestUnreadable as error:
        outcome = "refused" if error.details["line"] and error.message else ""
    except NeighbourNeeded:
        outcome = "needs a file"
    with contextlib.suppress(ManifestUnreadable, NeighbourNeeded):
        read_channels(text, file="channels.scm", files=files)
    assert outcome, text
    return outcome


def fuzz(count: int, seed: int) -> dict[str, object]:
    """Read COUNT texts and return what came of them."""
    mutator = Mutator(random.Random(seed))
    outcomes: dict[str, int] = {}
    slowest = 0.0
    start = time.process_time()
    for number in range(count):
        if number and number % 10_000 == 0:
            print(f"{number} read", file=sys.stderr, flush=True)
        text = mutator.text()
        begun = time.process_time()
        outcome = try_one(text)
        slowest = max(slowest, time.process_time() - begun)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return {"texts": count, "seed": seed, **outcomes, "slowest": slowest, "seconds": time.process_time() - start}


if __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)))
