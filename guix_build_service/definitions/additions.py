"""Write down what is to be added to the store, for our own program that adds it (``pipeline/scheme/lower.scm``)."""

from collections.abc import Sequence
from pathlib import Path

from guix_build_service.definitions.archive import restore
from guix_build_service.definitions.recorder import Added, AddedText, Recorded
from guix_build_service.manifest.canonical import quoted
from guix_environment.identifiers import StorePath

INDEX = "index.scm"


def write_additions(recorded: Recorded, paths: Sequence[StorePath], folder: Path) -> None:
    """Write what was RECORDED at PATHS, in their order, below FOLDER, which is not there yet.  Blocks.

    ``index.scm`` is a list of ``(PATH text FILE REFERENCE ...)``, and of ``(PATH KIND FILE)`` for files, whose KIND says
    whether modes count (``tree``) or not (``file``).  Added in order, each must get the PATH that it has here.
    """
    folder.mkdir()
    lines = [_written(path, recorded.items[path], folder / str(number)) for number, path in enumerate(paths)]
    (folder / INDEX).write_text("".join(["(", *(f"{line}\n" for line in lines), ")\n"]))


def _written(path: StorePath, added: Added, file: Path) -> str:
    if isinstance(added, AddedText):
        file.write_bytes(added.content)
        kind, references = "text", added.references
    else:
        restore(added.tree, file)
        kind, references = "tree" if added.whole else "file", ()
    words = [quoted(path), kind, quoted(str(file)), *(quoted(reference) for reference in references)]
    return f"({' '.join(words)})"
