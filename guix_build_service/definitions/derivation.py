"""Read a derivation: what the daemon is to build, in the one form in which Guix writes it (``guix/derivations.scm``)."""

import re
from dataclasses import dataclass

from guix_environment.errors import InvalidInput
from guix_environment.identifiers import StorePath

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Output:
    """One of the items that come of a build."""

    name: str
    path: StorePath
    algorithm: str
    """What its hash, known beforehand, is of; empty where it is not known."""
    digest: str


@dataclass(frozen=True, slots=True)
class Derivation:
    """A build: everything that the daemon knows of it."""

    outputs: tuple[Output, ...]
    inputs: tuple[tuple[StorePath, tuple[str, ...]], ...]
    """Derivations that are built before, each with those of its outputs that are there then."""
    sources: tuple[StorePath, ...]
    system: str
    builder: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]

    @property
    def fixed(self) -> bool:
        """Whether the hash of what comes of it is known beforehand: the daemon gives such a build the network."""
        return any(output.algorithm or output.digest for output in self.outputs)

    @property
    def references(self) -> frozenset[StorePath]:
        """All that it refers to."""
        return frozenset(self.sources) | {path for path, _ in self.inputs}


def read_derivation(text: str) -> Derivation:
    """Return the derivation that TEXT is.  Raises `InvalidInput` for anything that Guix does not write."""
    reader = _Reader(text)
    reader.expect("Derive(")
    outputs = tuple(_output(reader.strings(4, "(", ")")) for _ in reader.items())
    reader.expect(",")
    inputs = tuple(reader.input() for _ in reader.items())
    reader.expect(",")
    sources = tuple(StorePath(text) for text in reader.texts())
    reader.expect(",")
    system = reader.string()
    reader.expect(",")
    builder = reader.string()
    reader.expect(",")
    arguments = reader.texts()
    reader.expect(",")
    variables = tuple((name, value) for name, value in (reader.strings(2, "(", ")") for _ in reader.items()))
    reader.expect(")")
    if reader.offset != len(text) or len(dict(variables)) != len(variables):
        raise InvalidInput("This is no derivation.")
    return Derivation(outputs, inputs, sources, system, builder, arguments, variables)


def _output(words: tuple[str, ...]) -> Output:
    name, path, algorithm, digest = words
    return Output(name, StorePath(path), algorithm, digest)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0

    def expect(self, word: str) -> None:
        if not self.text.startswith(word, self.offset):
            raise InvalidInput(f"This is no derivation: {word} is missing at {self.offset}.")
        self.offset += len(word)

    def string(self) -> str:
        match = _STRING.match(self.text, self.offset)
        if match is None:
            raise InvalidInput(f"This is no derivation: a string is missing at {self.offset}.")
        self.offset = match.end()
        return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), match[1])

    def items(self) -> "_Items":
        return _Items(self)

    def texts(self) -> tuple[str, ...]:
        return tuple(self.string() for _ in self.items())

    def strings(self, count: int, opening: str, closing: str) -> tuple[str, ...]:
        self.expect(opening)
        found = []
        for number in range(count):
            if number:
                self.expect(",")
            found.append(self.string())
        self.expect(closing)
        return tuple(found)

    def input(self) -> tuple[StorePath, tuple[str, ...]]:
        self.expect("(")
        path = StorePath(self.string())
        self.expect(",")
        outputs = self.texts()
        self.expect(")")
        return path, outputs


class _Items:
    """Goes through a list in brackets, whose items whoever goes through it reads."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.first = True

    def __iter__(self) -> "_Items":
        self.reader.expect("[")
        return self

    def __next__(self) -> None:
        if self.reader.text.startswith("]", self.reader.offset):
            self.reader.offset += 1
            raise StopIteration
        if not self.first:
            self.reader.expect(",")
        self.first = False
