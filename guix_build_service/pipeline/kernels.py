"""The kernels of a profile, rewritten so that each starts with its profile's variables and nothing of the server's.

A kernel specification says which program to start; the program needs the profile's search paths, which the server must not
have.  So each specification is written anew with the variables in its ``env``, with its program named inside the profile,
and behind the session's own launcher, which takes the server's secrets out of the environment (`session_layout`).
"""

import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guix_environment.errors import InvalidInput
from guix_environment.files import write_json
from guix_environment.identifiers import KernelName, StorePath, VariableName
from guix_environment.records import Kernel
from guix_environment.session_layout import KERNEL_LAUNCHER

LARGEST_SPECIFICATION = 64 * 1024
LARGEST_LOGO = 512 * 1024
MOST_KERNELS = 50

_STORE = "/gnu/store/"
_LOGO = re.compile(r"logo-(?:32x32|64x64|svg)\.(?:png|svg)")
_READ_BY_LAUNCHER = ("BASH_ENV", "ENV", "GCONV_PATH", "GLIBC_TUNABLES", "LD_")
"""How variables begin that have a package's code run in the launcher, which still has what is the server's alone.

Those that the profile itself sets the launcher sets again, for the kernel."""

_INTERRUPT_MODES = frozenset({"signal", "message"})


@dataclass(frozen=True, slots=True)
class Specification:
    """A kernel specification as a package ships it (jupyter-client's documentation, "Making kernels for Jupyter")."""

    folder: Path
    kernel: Kernel
    argv: tuple[str, ...]
    interrupt_mode: str
    debugger: bool
    variables: Mapping[str, str]


def find_kernels(profile: StorePath) -> list[Specification]:
    """Return the kernels in PROFILE by name; what is damaged, too large or leads out of the store is left out.  Blocks."""
    folder = Path(profile, "share/jupyter/kernels")
    found = []
    for entry in sorted(folder.iterdir())[:MOST_KERNELS] if folder.is_dir() else []:
        try:
            found.append(_read(entry))
        except (OSError, ValueError, RecursionError, InvalidInput):
            continue
    return found


def write_kernels(profile: StorePath, variables: Mapping[VariableName, str], folder: Path) -> tuple[Kernel, ...]:
    """Write PROFILE's kernels below FOLDER, one folder each, and return them.  Blocks."""
    kernels = []
    for specification in find_kernels(profile):
        target = folder / specification.kernel.name
        write_json(target / "kernel.json", rewritten(specification, profile, variables))
        for logo in sorted(specification.folder.iterdir()):
            if _LOGO.fullmatch(logo.name):
                _copy_logo(logo, target / logo.name)
        kernels.append(specification.kernel)
    return tuple(kernels)


def rewritten(specification: Specification, profile: StorePath, variables: Mapping[VariableName, str]) -> dict[str, object]:
    """Return the content of the kernel's new ``kernel.json``."""
    program, *arguments = specification.argv
    environment = {**specification.variables, **{str(name): value for name, value in variables.items()}}
    for name in [name for name in environment if name.startswith(_READ_BY_LAUNCHER)]:
        del environment[name]
    # Where a kernel looks for others and for its configuration is the server's business.
    environment.pop("JUPYTER_PATH", None)
    environment.pop("JUPYTER_CONFIG_PATH", None)
    return {
        "argv": [KERNEL_LAUNCHER, _inside(profile, program), *arguments],
        "display_name": specification.kernel.display_name,
        "language": specification.kernel.language,
        "interrupt_mode": specification.interrupt_mode,
        # jupyter_client fills in ${NAME} from the server's variables, so that no dollar may stay as it is.
        "env": {name: value.replace("$", "$$") for name, value in sorted(environment.items())},
        "metadata": {"debugger": specification.debugger},
    }


def _inside(profile: StorePath, program: str) -> str:
    """Return PROGRAM as the profile has it, where it has it: then the program knows which profile it is of."""
    candidate = Path(profile, "bin", Path(program).name)
    return str(candidate) if candidate.exists() or not program.startswith("/") else program


def _read(folder: Path) -> Specification:
    name = KernelName(folder.name)
    value = json.loads(_content(folder / "kernel.json", LARGEST_SPECIFICATION))
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - one error for one damaged file
    argv, environment, metadata = value.get("argv"), value.get("env") or {}, value.get("metadata")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise ValueError("no command")
    if not isinstance(environment, dict):
        raise ValueError("no variables")  # noqa: TRY004 - as above
    mode = value.get("interrupt_mode")
    return Specification(
        folder=folder,
        kernel=Kernel(name, _shown(value.get("display_name"), name), _shown(value.get("language"), "")),
        argv=tuple(argv),
        interrupt_mode=mode if mode in _INTERRUPT_MODES else "signal",
        debugger=isinstance(metadata, dict) and metadata.get("debugger") is True,
        variables={str(VariableName(key)): str(text) for key, text in environment.items()},
    )


def _shown(value: object, otherwise: str) -> str:
    text = value if isinstance(value, str) else otherwise
    return "".join(character for character in text if character.isprintable())[:100]


def _content(file: Path, largest: int) -> bytes:
    """Return the content of FILE, which must be a regular file of the store."""
    real = Path(os.path.realpath(file))
    if not str(real).startswith(_STORE):
        raise ValueError("leads out of the store")
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("no regular file")
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError("too large")
    return content


def _copy_logo(logo: Path, target: Path) -> None:
    try:
        content = _content(logo, LARGEST_LOGO)
    except (OSError, ValueError):
        return
    target.write_bytes(content)
    target.chmod(0o644)


def remove_folder(folder: Path) -> None:
    """Remove FOLDER and all in it, if it is there.  Blocks."""
    shutil.rmtree(folder, ignore_errors=True)
