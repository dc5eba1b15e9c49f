"""Files that are either wholly there or not at all."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

LARGEST_JSON = 16 * 1024 * 1024
"""Bytes beyond which a JSON file is none of ours."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put CONTENT at PATH so that a reader, or a power cut, sees either the old file or the new one.

    The folder is made when it is not there. Blocks; call it in a thread from asynchronous code.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Mapping[str, object], *, mode: int = 0o644) -> None:
    """Put VALUE at PATH as JSON, atomically and always in the same order."""
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode(), mode=mode)


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object at PATH.

    Raises `FileNotFoundError`, or `ValueError` when the file is too large or holds no JSON object.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        raise ValueError(f"{path.name} is larger than {LARGEST_JSON} bytes")
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")  # noqa: TRY004 - one error for one damaged file
    return value
